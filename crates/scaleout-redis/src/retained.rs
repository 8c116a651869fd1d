//! What the server retains of a stream.

use redis::Value;
use scaleout_core::{Epoch, Error, ErrorKind, PayloadId, Retained, provider::Place};

use crate::{entry_id::place_of, error::from_redis, group::Group, writer::Writer};

/// The ids alone: what commands answer would hold two frames.
const RETAINED: &str = include_str!("retained.lua");

const DOING: &str = "asking Redis what it retains";

impl Group {
    /// What is there of the newest epoch of the stream at place `lane`; by the connection that commands go over.
    pub(crate) async fn retained(&self, lane: usize) -> Result<Retained, Error> {
        let key = &self.lanes[lane].key;
        let writer = self.writer_in_time().await?;
        let mut retained = self.ask_retained(&writer, key).await?;
        if retained.is_none() {
            // Flushed, or expired: it is opened anew.
            self.reopen(&writer).await?;
            retained = self.ask_retained(&writer, key).await?;
        }
        retained.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("{DOING}: {key} goes as soon as it is there"))
        })
    }

    async fn ask_retained(&self, writer: &Writer, key: &str) -> Result<Option<Retained>, Error> {
        let mut command = redis::cmd("EVAL");
        command.arg(RETAINED).arg(1).arg(key);
        let answer = writer.link.query(&command).await;
        let answer = answer.map_err(|error| self.failed(writer, error, &format!("{DOING} of {key}")))?;
        retained_of(answer, |error| from_redis(error, DOING, &self.config))
    }
}

/// The ids in the answer of the script; none where there is no stream.
fn retained_of(
    answer: Value,
    failed: impl Fn(redis::RedisError) -> Error,
) -> Result<Option<Retained>, Error> {
    let ids: Vec<String> = redis::from_redis_value(answer).map_err(|error| failed(error.into()))?;
    if ids.is_empty() {
        return Ok(None);
    }
    let malformed = || Error::new(ErrorKind::Unsupported, format!("{DOING}: the answer has an unknown form"));
    let [last, first] = ids.as_slice() else { return Err(malformed()) };
    let last = place_of(last).ok_or_else(malformed)?;
    let first = match first.as_str() {
        "-" => None,
        first => Some(place_of(first).ok_or_else(malformed)?),
    };
    // The opening of the epoch is an entry, and no payload.
    let id = |place: Place| (place.id > 0).then_some(PayloadId(place.id));
    Ok(Some(Retained { epoch: Epoch(last.epoch), first: first.and_then(id), last: id(last) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> Result<Option<Retained>, Error> {
        let ids = ids.iter().map(|id| Value::BulkString(id.as_bytes().to_vec())).collect();
        retained_of(Value::Array(ids), |error| from_redis_in_test(&error))
    }

    fn from_redis_in_test(error: &redis::RedisError) -> Error {
        Error::new(ErrorKind::Unsupported, error.to_string())
    }

    #[test]
    fn the_opening_of_an_epoch_is_no_payload() {
        let retained = |first: Option<u64>, last: Option<u64>| {
            Some(Retained { epoch: Epoch(7), first: first.map(PayloadId), last: last.map(PayloadId) })
        };
        assert_eq!(of(&["7-0", "-"]).expect("an answer"), retained(None, None));
        assert_eq!(of(&["7-9", "7-3"]).expect("an answer"), retained(Some(3), Some(9)));
        assert_eq!(of(&["7-9", "-"]).expect("an answer"), retained(None, Some(9)));
        assert_eq!(of(&[]).expect("an answer"), None);
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for ids in [&["7-0"][..], &["x", "-"], &["7-1", "x"], &["7-1", "7-1", "7-1"]] {
            assert!(of(ids).is_err(), "{ids:?}");
        }
    }
}
