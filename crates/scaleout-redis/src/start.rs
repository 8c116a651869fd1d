//! Where a new reception begins.

use redis::Value;
use scaleout_core::{
    Error, Start,
    provider::{Body, Head, Place},
};

use crate::{
    entries::range,
    entry_id::entry_id,
    error::from_redis,
    group::{Group, Lane},
    link::Link,
};

/// The entry behind which a reception of `start` reads.
///
/// Ids have no holes, so that it is counted, epoch by epoch, without reading what lies between.
pub(crate) async fn start_of(
    group: &Group,
    link: &Link,
    lane: &Lane,
    head: Head,
    start: Start,
) -> Result<Place, Error> {
    let Start::Backlog { payloads } = start else { return Ok(head.last) };
    let mut wanted = payloads as u64;
    let Head { mut last, mut after } = head;
    if wanted <= last.id {
        return Ok(Place { id: last.id - wanted, ..last });
    }
    let length = ask(group, link, redis::cmd("XLEN").arg(&lane.key)).await?;
    if matches!(length, Value::Int(length) if u64::try_from(length).is_ok_and(|length| wanted >= length)) {
        return Ok(Place::START);
    }
    loop {
        // Its opening is an entry too, which carries nothing and is not counted.
        wanted -= last.id.min(wanted);
        let Some(earlier) = after else { return Ok(Place::START) };
        last = earlier;
        if wanted <= last.id {
            return Ok(Place { id: last.id - wanted, ..last });
        }
        let opening = entry_id(Place { id: 0, ..last });
        let found = ask(group, link, redis::cmd("XRANGE").arg(&lane.key).arg(&opening).arg(&opening)).await?;
        after = match range(found)?.pop().map(|entry| entry.body) {
            Some(Body::Opening { after }) => after,
            _ => return Ok(Place::START),
        };
    }
}

async fn ask(group: &Group, link: &Link, command: &redis::Cmd) -> Result<Value, Error> {
    link.query(command).await.map_err(|error| {
        group.places.note(&error);
        from_redis(error, "looking for the backlog in Redis", &group.config)
    })
}
