//! What is there of the app already, and of others under its prefix.

use std::collections::HashMap;

use redis::{RedisError, Value};
use scaleout_core::{Error, Finding, provider::Body};

use crate::{
    config::RedisConfig,
    entries::range,
    error::{from_redis, missing_right},
    examine::{if_permitted, one_line},
    group::Group,
    keys::{self, Kind},
    link::Link,
    remnants::{Scanned, grouped, scan},
};

const SUBJECT: &str = "layout";

/// Steps of a `SCAN`: enough for hundreds of thousands of keys, and not for ever.
const SCAN_STEPS: usize = 300;

/// Keys that are named of those that are nobody's.
const NAMED: usize = 5;

/// Adds what is found of `groups` on their server.
pub(super) async fn look(
    config: &RedisConfig,
    link: &Link,
    groups: &[Group],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let (mut streams, mut entries) = (0, 0);
    for group in groups {
        let mut asks = redis::pipe();
        asks.cmd("HGETALL").arg(group.keys.meta());
        for lane in &group.lanes {
            asks.cmd("XINFO").arg("STREAM").arg(&lane.key);
        }
        let answers = link.run(&asks).await.map_err(|error| failed(error, config))?;
        let keys = std::iter::once(group.keys.meta()).chain(group.lanes.iter().map(|lane| lane.key.clone()));
        let mut answers = keys.zip(answers);
        if let Some((meta, answer)) = answers.next() {
            match value(config, &meta, answer)? {
                Held::Nothing => {}
                Held::Hidden => return Ok(()),
                Held::Foreign(finding) => {
                    findings.push(finding);
                    return Ok(());
                }
                Held::Value(meta) => {
                    let meta: HashMap<String, String> = redis::from_redis_value(meta).unwrap_or_default();
                    if let Some(found) = meta.get("layout").filter(|found| **found != group.layout()) {
                        findings.push(another(config, &group.layout(), found));
                        return Ok(());
                    }
                }
            }
        }
        for (key, answer) in answers {
            match value(config, &key, answer)? {
                Held::Nothing => {}
                Held::Hidden => return Ok(()),
                Held::Foreign(finding) => {
                    findings.push(finding);
                    return Ok(());
                }
                Held::Value(info) => {
                    let mut info: HashMap<String, Value> =
                        redis::from_redis_value(info).map_err(|error| failed(error.into(), config))?;
                    if let Some(Value::Int(length)) = info.get("length") {
                        entries += length;
                    }
                    let last = info.remove("last-entry").filter(|last| *last != Value::Nil);
                    let last =
                        last.map(|last| range(Value::Array(vec![last]))).transpose()?.unwrap_or_default();
                    if last.iter().any(|entry| matches!(entry.body, Body::Other)) {
                        findings.push(occupied(config, &key, "a stream whose last entry no node wrote"));
                        return Ok(());
                    }
                    streams += 1;
                }
            }
        }
    }
    let own = match (config.streams.get(), config.group_count().get()) {
        (1, _) => "1 stream".to_owned(),
        (streams, 1) => format!("{streams} streams"),
        (streams, groups) => format!("{streams} streams in {groups} groups"),
    };
    findings.push(Finding::ok(
        SUBJECT,
        match streams {
            0 => format!("nothing is there yet of the app {}: its first node makes {own}", config.app),
            _ => format!(
                "the app {} has {own} as in the settings, and {} entries here",
                config.app,
                grouped(entries)
            ),
        },
    ));
    match scan(config, link, SCAN_STEPS).await {
        Ok(scanned) => findings.extend(others(config, &scanned)),
        // No node needs it.
        Err(error) if missing_right(&error).is_some() => {}
        Err(error) => return Err(failed(error, config)),
    }
    Ok(())
}

/// What a key of the app holds.
enum Held {
    Nothing,
    /// The user may not ask, which is told as a missing right.
    Hidden,
    Value(Value),
    Foreign(Finding),
}

fn value(config: &RedisConfig, key: &str, answer: Value) -> Result<Held, Error> {
    match if_permitted(answer) {
        Ok(None) => Ok(Held::Hidden),
        Ok(Some(answer)) => Ok(Held::Value(answer)),
        Err(error) if error.code() == Some("WRONGTYPE") => {
            Ok(Held::Foreign(occupied(config, key, "a value of another type")))
        }
        Err(error) if error.detail().is_some_and(|detail| detail.contains("no such key")) => {
            Ok(Held::Nothing)
        }
        Err(error) => Err(failed(error, config)),
    }
}

fn failed(error: RedisError, config: &RedisConfig) -> Error {
    from_redis(error, "looking for what the app has in Redis", config)
}

/// Nodes of the app with another layout were here first.
fn another(config: &RedisConfig, own: &str, found: &str) -> Finding {
    let what = format!(
        "the app {} has another layout there: the settings say {own:?}, the store says {:?}",
        config.app,
        one_line(found)
    );
    let adopt = match layout_of(found) {
        Some((streams, groups)) => format!("set streams={streams} and groups={groups} on every node"),
        None => "use the release of scaleout that wrote it".into(),
    };
    let fix = format!(
        "{adopt}; or choose another app; or, where nobody needs what is there, stop its nodes and remove it: \
         `scaleout clean URL --app {}`",
        config.app
    );
    Finding::problem(SUBJECT, what, fix)
}

/// Streams and groups of a layout that this release knows.
fn layout_of(text: &str) -> Option<(u16, u16)> {
    let (streams, groups) = text.strip_prefix("v1 streams=")?.split_once(" groups=")?;
    Some((streams.parse().ok()?, groups.parse().ok()?))
}

/// Somebody who is no node uses a key that nodes need.
fn occupied(config: &RedisConfig, key: &str, holds: &str) -> Finding {
    Finding::problem(
        SUBJECT,
        format!("the key {key} of this app holds {holds}: somebody else uses it"),
        format!(
            "choose another key_prefix than {:?}, or another app; or, where nobody needs it: `UNLINK {key}`",
            config.key_prefix
        ),
    )
}

/// What has the app's prefix, and is nothing of this layout.
fn others(config: &RedisConfig, scanned: &Scanned) -> Option<Finding> {
    let groups = config.group_count().get();
    let is_ours = |key: &&String| {
        let fits = |stream: u16, group: u16| stream < config.streams.get() && stream % groups == group;
        match keys::parse(&config.key_prefix, &config.app, key) {
            Some((group, Some(Kind::Stream(stream) | Kind::Last(stream)))) => fits(stream, group),
            Some((group, Some(Kind::Meta | Kind::Epoch))) => group < groups,
            _ => false,
        }
    };
    let others: Vec<&String> = scanned.keys.iter().filter(|key| !is_ours(key)).collect();
    if others.is_empty() {
        return None;
    }
    let named: Vec<String> = others.iter().take(NAMED).map(|key| format!("{:?}", one_line(key))).collect();
    let more = match (others.len() - named.len(), scanned.is_complete) {
        (0, true) => String::new(),
        (more, true) => format!(" and {more} more"),
        (more, false) => format!(" and {more} more, of the keys of the server that were looked at"),
    };
    Some(Finding::warning(
        SUBJECT,
        format!(
            "under the prefix of this app are keys that are not of its layout, and only take memory: {}{more}",
            named.join(", ")
        ),
        "find out whose they are; where nobody needs them, `UNLINK` them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_as_groups_write_it() {
        assert_eq!(layout_of("v1 streams=8 groups=2"), Some((8, 2)));
        for other in ["", "v2 streams=8 groups=2", "v1 streams=x groups=1", "v1 streams=8"] {
            assert_eq!(layout_of(other), None, "{other}");
        }
    }
}
