//! Appending a frame, once.

use bytes::Bytes;
use redis::{RedisError, ServerErrorKind, Value};
use scaleout_core::{Error, ErrorKind, FrameId, provider::Place};

use crate::{
    entry_id::{entry_id, place_of},
    error::from_redis,
    group::{Group, Lane, Sent},
    writer::Writer,
};

/// How often a send looks at the streams again before it leaves it to the next one.
const MAX_LOOKS: usize = 8;

/// What became of an append.
enum Appended {
    At(Place),
    /// The stream is gone, or in a later epoch.
    Refused,
}

/// Why the server did not tell the epoch.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// It is a replica.
    pub(crate) is_read_only: bool,
}

/// Gives a connection up on which an answer is outstanding, unless it came.
struct Outstanding<'a>(Option<&'a Writer>);

impl Group {
    /// Appends `payload` to the stream at place `lane`, or does nothing if it is there (rule 9 of the contract).
    ///
    /// # Cancel safety
    /// When it is dropped with the append under way, the connection is replaced, and the old one ended before the
    /// store is asked what it holds.
    pub(crate) async fn send(&self, lane: usize, frame: FrameId, payload: Bytes) -> Result<(), Error> {
        let place = &self.lanes[lane];
        let mut sent = place.sending.lock().await;
        let mut looks = 0;
        loop {
            let writer = self.writer_in_time().await?;
            if writer.is_due(self) {
                self.reopen(&writer).await?;
            }
            let held = match self.held(&writer, lane, frame, &mut sent).await {
                Ok(held) => held,
                Err(error) if looks == 0 && is_stale(&error) => {
                    looks += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let epoch = writer.epoch(lane);
            if held < frame.after && (frame.number == 0 || held < frame.number) {
                // Within one epoch less can only be held by a store that forgot: it has to be a new one.
                let confirmed = sent.confirmed.get(&frame.node).copied();
                if looks < MAX_LOOKS && confirmed.is_some_and(|(of, number)| of == epoch && number > held) {
                    looks += 1;
                    place.forked(epoch);
                    self.reopen(&writer).await?;
                    continue;
                }
                return Err(Error::from(ErrorKind::Rewound { last: held }));
            }
            if frame.number <= held {
                return Ok(());
            }
            match self.append(&writer, lane, epoch, frame, &payload).await? {
                // An id that an earlier frame had: the store forgot, and is in an epoch of an earlier time, which
                // refuses nobody.
                Appended::At(at) if at <= sent.last && looks < MAX_LOOKS => {
                    looks += 1;
                    place.forked(epoch);
                    self.reopen(&writer).await?;
                }
                Appended::At(at) => {
                    place.saw(at);
                    sent.last = at;
                    sent.held.insert(frame.node, frame.number);
                    sent.confirmed.insert(frame.node, (at.epoch, frame.number));
                    return Ok(());
                }
                Appended::Refused if looks < MAX_LOOKS => {
                    looks += 1;
                    self.reopen(&writer).await?;
                }
                Appended::Refused => {
                    let problem =
                        "the epoch of a stream in Redis changes faster than a frame can be appended";
                    return Err(Error::new(ErrorKind::Unavailable, problem));
                }
            }
        }
    }

    /// The greatest frame number of a node that the store holds.
    async fn held(
        &self,
        writer: &Writer,
        lane: usize,
        frame: FrameId,
        sent: &mut Sent,
    ) -> Result<u64, Error> {
        if frame.number == 0 && self.epoch_changed(writer).await? {
            self.reopen(writer).await?;
        }
        let epoch = writer.epoch(lane);
        if sent.of != (writer.number, epoch) {
            sent.of = (writer.number, epoch);
            sent.held.clear();
        }
        if frame.number != 0
            && let Some(held) = sent.held.get(&frame.node)
        {
            return Ok(*held);
        }
        let key = self.keys.last(self.lanes[lane].stream.0, epoch);
        let mut command = redis::cmd("HGET");
        command.arg(&key).arg(frame.node.to_string());
        let doing = &format!("asking Redis what {key} holds of this node");
        let guard = Outstanding(Some(writer));
        let answer = writer.link.query(&command).await;
        guard.answered();
        let answer = answer.map_err(|error| self.failed(writer, error, doing))?;
        let held: Option<String> =
            redis::from_redis_value(answer).map_err(|error| from_redis(error.into(), doing, &self.config))?;
        let held = match held {
            None => 0,
            Some(text) => text.trim_start_matches('c').parse().map_err(|_| {
                Error::new(
                    ErrorKind::Config,
                    format!("{doing}: the hash holds something that is no frame number"),
                )
            })?,
        };
        sent.held.insert(frame.node, held);
        Ok(held)
    }

    /// Asks the server, which must be a master, whether the group is still in the epoch that this node knows.
    async fn epoch_changed(&self, writer: &Writer) -> Result<bool, Error> {
        let epoch = self.stored_epoch(writer).await.map_err(|refusal| refusal.error)?;
        Ok(epoch != Some(writer.greatest_epoch()))
    }

    /// The greatest epoch of the group in the store.
    ///
    /// It also says whether the server is a master, since asking renews the key's expiry.
    pub(crate) async fn stored_epoch(&self, writer: &Writer) -> Result<Option<u64>, Refusal> {
        let mut command = redis::cmd("GETEX");
        command.arg(self.keys.epoch()).arg("EX").arg(self.config.key_expiry.as_secs());
        let guard = Outstanding(Some(writer));
        let answer = writer.link.query(&command).await;
        guard.answered();
        let answer = answer.map_err(|error| Refusal {
            is_read_only: error.kind() == redis::ErrorKind::Server(ServerErrorKind::ReadOnly),
            error: self.failed(writer, error, "looking for a new epoch in Redis"),
        })?;
        // Something that is no number is no epoch that anybody knows.
        let epoch: Option<String> = redis::from_redis_value(answer).unwrap_or_default();
        Ok(epoch.and_then(|epoch| epoch.parse().ok()))
    }

    async fn append(
        &self,
        writer: &Writer,
        lane: usize,
        epoch: u64,
        frame: FrameId,
        payload: &Bytes,
    ) -> Result<Appended, Error> {
        let place = &self.lanes[lane];
        let stream = place.stream.0;
        let mut append = redis::Cmd::with_capacity(9, payload.len() + 128);
        append.arg("XADD").arg(&place.key).arg("NOMKSTREAM");
        match self.bound(place) {
            Bound::Floor(floor) => append.arg("MINID").arg("~").arg(entry_id(floor)),
            Bound::Entries(entries) => append.arg("MAXLEN").arg("~").arg(entries),
            Bound::None => &mut append,
        };
        append.arg(format!("{epoch}-*")).arg("f").arg(payload.as_ref());
        let mut commands = writer.link.begin();
        commands.add_command(append);
        commands.cmd("HSET").arg(self.keys.last(stream, epoch)).arg(frame.node.to_string()).arg(frame.number);
        commands.cmd("EXEC");
        place.used(epoch);
        let failed = |error| self.failed(writer, error, &format!("appending a frame to {}", place.key));
        let guard = Outstanding(Some(writer));
        let answers = writer.link.transaction(&commands).await;
        guard.answered();
        let answers = answers.map_err(failed)?;
        let unknown =
            || Error::new(ErrorKind::Unsupported, "appending a frame: the answer has an unknown form");
        let [multi, queued, counted, executed] = <[Value; 4]>::try_from(answers).map_err(|_| unknown())?;
        // The first error tells why; the last only that the transaction was dropped.
        for answer in [multi, queued, counted] {
            answer.extract_error().map_err(failed)?;
        }
        let results = match executed {
            Value::Array(results) => results,
            other => {
                other.extract_error().map_err(failed)?;
                return Err(unknown());
            }
        };
        let mut results = results.into_iter();
        let id = match results.next().unwrap_or(Value::Nil).extract_error() {
            Ok(Value::Nil) => return Ok(Appended::Refused),
            Ok(id) => id,
            Err(error) if is_older_epoch(&error) => return Ok(Appended::Refused),
            Err(error) => return Err(failed(error)),
        };
        // The frame is there. Without its number the store could not tell a copy, so that is an error all the same.
        if let Some(Err(error)) = results.next().map(Value::extract_error) {
            let doing = format!("counting a frame in {}", self.keys.last(stream, epoch));
            return Err(self.failed(writer, error, &doing));
        }
        let id: String = redis::from_redis_value(id).map_err(|_| unknown())?;
        Ok(Appended::At(place_of(&id).ok_or_else(unknown)?))
    }

    fn bound(&self, lane: &Lane) -> Bound {
        if !lane.is_received() {
            // Whoever only publishes does not know how large and old the entries are.
            return Bound::Entries(self.config.max_retained_entries);
        }
        lane.floor().map_or(Bound::None, Bound::Floor)
    }

    /// What an error says of the connection: an answer that came leaves it as good as it was.
    pub(crate) fn failed(&self, writer: &Writer, error: RedisError, doing: &str) -> Error {
        self.places.note(&error);
        let is_answer = matches!(error.kind(), redis::ErrorKind::Server(kind) if !is_elsewhere(kind))
            || matches!(error.kind(), redis::ErrorKind::Extension);
        if !is_answer {
            writer.fail();
        }
        from_redis(error, doing, &self.config)
    }
}

/// What goes with an append.
enum Bound {
    Floor(Place),
    Entries(usize),
    None,
}

impl Outstanding<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.0 {
            writer.fail();
        }
    }
}

/// Whether the server is not the one to ask any more.
fn is_elsewhere(kind: ServerErrorKind) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, MasterDown, Moved, ReadOnly};
    matches!(kind, Moved | Ask | ReadOnly | ClusterDown | MasterDown)
}

/// Whether a connection that idled turned out to be dead, so that nothing was sent yet.
fn is_stale(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// Redis has no code for it, only the text.
fn is_older_epoch(error: &RedisError) -> bool {
    error.to_string().contains("equal or smaller than the target stream top item")
}
