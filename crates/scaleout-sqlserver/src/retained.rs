//! What a stream retains.

use scaleout_core::{Epoch, Error, ErrorKind, PayloadId, Retained, provider::Place};

use crate::{
    error::Failure,
    link::{Call, Link},
    look,
    node::{MAX_LOOKS, Node, to_sql},
    reader::StoredRow,
    send::OTHER_EPOCH,
};

impl Node {
    /// The first and the last payload of the newest epoch of the stream at place `lane`.
    ///
    /// It takes the procedures that reading takes, so that a login that may do no more is enough, and objects of every
    /// version have them: `positions` says where the epoch begins and where the stream stands, and `read`, from there
    /// on, yields the first row that trim has left. That row comes with its payload; where nothing was trimmed it is the one
    /// that opens the epoch, which is no payload.
    pub(crate) async fn retained(&self, lane: usize) -> Result<Retained, Error> {
        let mut link = self.pool.lease().await?;
        for _ in 0..MAX_LOOKS {
            let positions = self.open(&mut link).await?;
            let lineage = &positions.streams[lane];
            let first = match self.first_behind(&mut link, lane, lineage.epoch, lineage.before()).await {
                Ok(first) => first,
                // Another epoch has begun meanwhile, or the objects are being made anew.
                Err(failure) if failure.number() == Some(OTHER_EPOCH) => continue,
                Err(failure) if look::is_missing(&failure) => {
                    self.forget_objects().await;
                    continue;
                }
                Err(failure) => return Err(self.failed(&link, failure, ASKING)),
            };
            // What was appended since `positions` may be all that trim has left.
            let first = first.filter(|first| first.epoch == lineage.epoch).map(|first| first.id);
            let last = first.unwrap_or(OPENING).max(lineage.last().id);
            let last = (last > OPENING).then_some(PayloadId(last));
            let first = match first {
                // All payloads are there that there were.
                Some(OPENING) => last.map(|_| PayloadId(OPENING + 1)),
                first => first.map(PayloadId),
            };
            return Ok(Retained { epoch: Epoch(lineage.epoch), first, last });
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the objects or the epoch of the schema change faster than they can be looked at",
        ))
    }

    /// The place of the first row behind the row `after`.
    async fn first_behind(
        &self,
        link: &mut Link,
        lane: usize,
        epoch: u64,
        after: i64,
    ) -> Result<Option<Place>, Failure> {
        let call = Call::new(&self.names.read)
            .with("@epoch", to_sql(epoch))
            .with(&self.names.after[lane], after)
            .with("@max_rows", 1)
            .with("@max_bytes", 0_i64);
        let row = link.call(call).await?.into_iter().flatten().next();
        Ok(row.map(StoredRow::read).transpose()?.map(|row| row.entry.place))
    }
}

/// The id of the row that opens an epoch.
const OPENING: u64 = 0;

const ASKING: &str = "asking what a stream retains";
