//! Opening: every stream of a group gets into an epoch of the store's very history.

use redis::{RedisError, Value};
use scaleout_core::{
    Error, ErrorKind,
    provider::{Head, Place},
};

use crate::{
    entry_id::{entry_id, place_of},
    error::from_redis,
    group::Group,
    link::Link,
};

/// It runs once per connection, and carries no payload.
const OPEN: &str = include_str!("open.lua");

/// What a node knows of a stream when it opens it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// The last entry it saw; a store that has less has forgotten.
    pub(crate) seen: Place,
    /// The epoch it appended in last.
    pub(crate) used: u64,
    /// The epoch that the store proved to be forked: it holds fewer of this node's frames than it confirmed there.
    pub(crate) forked: u64,
}

/// Brings every stream of the group into an epoch of this history, and tells where each stands, in the group's order.
///
/// A stream whose history may have been lost or replaced gets a new epoch, by exactly one of the nodes that ask.
pub(crate) async fn open(group: &Group, link: &Link) -> Result<Vec<Head>, Error> {
    let (config, keys) = (&group.config, &group.keys);
    let doing = "opening the streams in Redis";
    let mut command = redis::cmd("EVAL");
    command.arg(OPEN).arg(2 + group.lanes.len()).arg(keys.meta()).arg(keys.epoch());
    for lane in &group.lanes {
        command.arg(&lane.key);
    }
    command.arg(group.layout()).arg(config.key_expiry.as_secs()).arg(keys.last_prefix());
    for lane in &group.lanes {
        let known = lane.known();
        command.arg(lane.stream.0).arg(known.seen.epoch).arg(known.seen.id).arg(known.used).arg(known.forked);
    }
    let answer = match link.query(&command).await {
        Ok(answer) => answer,
        Err(error) => {
            group.places.note(&error);
            let doing = match failed_call(&error) {
                Some(call) => format!("{doing} ({})", call.to_ascii_lowercase()),
                None => doing.to_owned(),
            };
            let key = if is_wrong_type(&error) { wrong_key(group, link).await } else { None };
            let doing = key.map_or(doing, |key| format!("opening the streams in Redis: {key}"));
            return Err(from_redis(error, &doing, config));
        }
    };
    let malformed = || Error::new(ErrorKind::Unsupported, format!("{doing}: the answer has an unknown form"));
    let Value::Array(values) = answer else { return Err(malformed()) };
    let text = |value: &Value| -> Result<String, Error> {
        redis::from_redis_value_ref(value).map_err(|_| malformed())
    };
    if let [first, found] = values.as_slice()
        && text(first)? == "layout"
    {
        let (own, found) = (group.layout(), text(found)?);
        let problem = format!(
            "this node's layout differs from the one in Redis: its settings say {own:?}, the store says {found:?}; \
             all nodes of an app must agree, and another app name begins anew"
        );
        return Err(Error::new(ErrorKind::Config, problem));
    }
    if values.len() != 4 * group.lanes.len() {
        return Err(malformed());
    }
    let mut heads = Vec::with_capacity(group.lanes.len());
    for (lane, values) in group.lanes.iter().zip(values.chunks_exact(4)) {
        let epoch = text(&values[0])?;
        let last = place_of(&text(&values[1])?).ok_or_else(malformed)?;
        let after = match text(&values[2])?.as_str() {
            "-" => None,
            after => Some(place_of(after).ok_or_else(malformed)?),
        };
        if values[3] == Value::Int(1) {
            let after = after.map(entry_id);
            tracing::info!(app = %config.app, stream = lane.stream.0, epoch, after, "opened an epoch");
        }
        heads.push(Head { last, after });
    }
    Ok(heads)
}

/// The command of the script that a server says has failed; it tells the line, and seldom the command.
fn failed_call(error: &RedisError) -> Option<&'static str> {
    let text = error.detail()?.split_once("user_script:")?.1;
    let digits = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let line = text[..digits].parse::<usize>().ok()?.checked_sub(1)?;
    let call = OPEN.lines().nth(line)?.split_once("redis.call('")?.1;
    call.split('\'').next()
}

fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// The key that holds what no node wrote, where it is one that every opening uses.
async fn wrong_key(group: &Group, link: &Link) -> Option<String> {
    let ask = |name: &str, key: &str| redis::cmd(name).arg(key).take();
    let meta = group.keys.meta();
    let mut asks = vec![(ask("HGET", &meta).arg("layout").take(), meta)];
    asks.extend(group.lanes.iter().map(|lane| (ask("XLEN", &lane.key), lane.key.clone())));
    for (ask, key) in asks {
        if link.query(&ask).await.is_err_and(|error| is_wrong_type(&error)) {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_failed_is_known_by_its_line() {
        let at = OPEN.lines().position(|line| line.contains("'HGETALL'")).expect("a call") + 1;
        let text = format!("can't run this command script: 0a1b, on @user_script:{at}.");
        let error = |text: &str| redis::make_extension_error("NOPERM".into(), Some(text.into()));
        assert_eq!(failed_call(&error(&text)), Some("HGETALL"));
        for other in ["on @user_script:0.", "on @user_script:1.", "on @user_script:9999", "no script"] {
            assert_eq!(failed_call(&error(other)), None, "{other}");
        }
    }
}
