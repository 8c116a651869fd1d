//! What an app has in the servers: finding it, and removing it.

use std::collections::{BTreeMap, BTreeSet};

use redis::{RedisError, Value};
use scaleout_core::{Error, ErrorKind, Remnant};

use crate::{
    config::RedisConfig,
    discover::Places,
    error::{Right, from_redis, missing_right, set_user},
    keys::{self, Keys, Kind},
    link::Link,
};

/// Keys that one step of a `SCAN` looks at.
const SCAN_COUNT: usize = 1000;

/// Keys whose sizes are asked for at once.
const SIZES_AT_ONCE: usize = 500;

impl RedisConfig {
    /// What this app has in the store, whether its nodes run or not; nothing is changed.
    ///
    /// Those are the keys that nodes of the app write, of any layout. On a Cluster all masters are asked. The user
    /// needs `scan` beside what a node needs, `hlen` and `memory|usage` for the sizes of all of them.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn remnants(&self) -> Result<Vec<Remnant>, Error> {
        let mut remnants = Vec::new();
        for server in self.servers().await? {
            let found = self.found_on(&server).await?;
            remnants.extend(self.sized(&server, &found).await?);
        }
        Ok(remnants)
    }

    /// Removes what [`remnants`](Self::remnants) lists, all messages included, and returns what was removed.
    ///
    /// Nodes of the app that still run make it anew, and tell their subscriptions of a gap. Keys that no node would
    /// write stay, even where their names begin alike.
    ///
    /// # Errors
    /// The first thing that could not be removed; what was removed before stays removed.
    ///
    /// # Cancel safety
    /// When the future is dropped, some of it may be removed.
    pub async fn remove_remnants(&self) -> Result<Vec<Remnant>, Error> {
        let mut removed = Vec::new();
        for server in self.servers().await? {
            let found = self.found_on(&server).await?;
            let remnants = self.sized(&server, &found).await?;
            // Those of a group go at once, so that a node finds all of them, or none. They are in one slot.
            let mut groups = BTreeMap::<u16, Vec<&str>>::new();
            for Found { group, key, .. } in &found {
                groups.entry(*group).or_default().push(key);
            }
            for keys in groups.values() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                let doing = format!("removing {} and what belongs to it", keys[0]);
                server.query(&unlink).await.map_err(|error| from_redis(error, &doing, self))?;
            }
            removed.extend(remnants);
        }
        Ok(removed)
    }

    /// Connections to all servers that hold keys, which were looked at as a node looks at them.
    async fn servers(&self) -> Result<Vec<Link>, Error> {
        self.check()?;
        let key = Keys::new(&self.key_prefix, &self.app, 0).meta();
        let mut servers = Vec::new();
        for target in Places::default().masters(self, &key).await? {
            servers.push(Link::connect(self, &target, &format!("scaleout:{}", self.app), None).await?);
        }
        Ok(servers)
    }

    /// The keys of the app on one server.
    async fn found_on(&self, server: &Link) -> Result<Vec<Found>, Error> {
        let doing = format!("listing the keys of the app {}", self.app);
        let keys = scan(self, server, usize::MAX).await.map_err(|error| {
            if missing_right(&error) == Some(Right::Command) {
                let fix = format!(
                    "{doing}: the user may not run SCAN, which no node needs: {} +scan",
                    set_user(self)
                );
                return Error::new(ErrorKind::Unauthorized, fix).with_source(error);
            }
            from_redis(error, &doing, self)
        })?;
        let found = keys.keys.into_iter().filter_map(|key| {
            let (group, kind) = keys::parse(&self.key_prefix, &self.app, &key)?;
            Some(Found { group, kind: kind?, key })
        });
        let mut found: Vec<Found> = found.collect();
        found.sort();
        Ok(found)
    }

    /// What the keys hold, as far as the user may ask.
    async fn sized(&self, server: &Link, found: &[Found]) -> Result<Vec<Remnant>, Error> {
        let mut remnants = Vec::with_capacity(found.len());
        for found in found.chunks(SIZES_AT_ONCE) {
            let mut asks = redis::pipe();
            for Found { key, kind, .. } in found {
                let length = match kind {
                    Kind::Stream(_) => "XLEN",
                    Kind::Meta | Kind::Last(_) => "HLEN",
                    Kind::Epoch => "STRLEN",
                };
                asks.cmd(length).arg(key).cmd("MEMORY").arg("USAGE").arg(key);
            }
            let answers = server.run(&asks).await;
            let answers = answers.map_err(|error| from_redis(error, "asking for the sizes of keys", self))?;
            for (Found { key, kind, .. }, sizes) in found.iter().zip(answers.chunks(2)) {
                let mut holds = Vec::new();
                if let (Some(unit), Some(Value::Int(count))) = (kind.unit(), sizes.first()) {
                    let (one, many) = unit;
                    holds.push(format!("{} {}", grouped(*count), if *count == 1 { one } else { many }));
                }
                if let Some(Value::Int(bytes)) = sizes.get(1) {
                    holds.push(bytes_text(u64::try_from(*bytes).unwrap_or(0)));
                }
                remnants.push(Remnant::new(kind.data_type(), key, holds.join(", ")));
            }
        }
        Ok(remnants)
    }
}

/// A key of the app.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    group: u16,
    kind: Kind,
    key: String,
}

/// What a server has under the app's prefix.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) keys: BTreeSet<String>,
    /// Whether all keys of the server were looked at.
    pub(crate) is_complete: bool,
}

/// The keys of a server that begin as those of the app do, in `steps` of a `SCAN` at most.
pub(crate) async fn scan(config: &RedisConfig, server: &Link, steps: usize) -> Result<Scanned, RedisError> {
    let pattern = format!("{}*", escaped(&format!("{}:{{{}:", config.key_prefix, config.app)));
    let (mut scanned, mut cursor) = (Scanned::default(), "0".to_owned());
    for _ in 0..steps {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
        let answer = server.query(&command).await?;
        let (next, keys): (String, Vec<Vec<u8>>) = redis::from_redis_value(answer)?;
        // One that is no text is none of ours, and only shown.
        scanned.keys.extend(keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()));
        if next == "0" {
            scanned.is_complete = true;
            break;
        }
        cursor = next;
    }
    Ok(scanned)
}

/// `text` as a pattern that fits nothing else.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

impl Kind {
    /// The type of its value, in the words of Redis.
    fn data_type(self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Meta | Self::Last(_) => "hash",
            Self::Epoch => "string",
        }
    }

    /// What is counted in it.
    fn unit(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Stream(_) => Some(("entry", "entries")),
            Self::Meta | Self::Last(_) => Some(("field", "fields")),
            Self::Epoch => None,
        }
    }
}

/// `1204` as `1,204`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes for people: `3.1 MiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_for_people() {
        let texts: Vec<_> = [0, 999, 1_204, 1_234_567].into_iter().map(grouped).collect();
        assert_eq!(texts, ["0", "999", "1,204", "1,234,567"]);
        let texts: Vec<_> = [5, 1024, 3_250_586, 5 << 30].into_iter().map(bytes_text).collect();
        assert_eq!(texts, ["5 bytes", "1.0 KiB", "3.1 MiB", "5.0 GiB"]);
    }

    #[test]
    fn a_pattern_fits_its_text_alone() {
        assert_eq!(escaped("a*[b-c]?\\"), r"a\*\[b\-c\]\?\\");
    }
}
