//! The keys of an app in a Redis server.
//!
//! The streams of a group share a hash tag, so that they live in one slot of a cluster and one `XREAD` reaches them all:
//!
//! ```text
//! <prefix>:{<app>:<group>}:meta              hash: "layout", and per stream "<epoch> <server> <after> <since>"
//! <prefix>:{<app>:<group>}:epoch             string: the greatest epoch of the group's streams
//! <prefix>:{<app>:<group>}:stream:<s>        stream: frames (field f) and openings (fields o, a)
//! <prefix>:{<app>:<group>}:last:<s>:<epoch>  hash: node to the greatest frame number the history holds of it
//! ```

use std::str::FromStr;

use scaleout_core::AppName;

/// The keys of one group of streams.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    base: String,
}

impl Keys {
    /// `prefix` and `app` are of a checked configuration: neither holds a brace.
    pub(crate) fn new(prefix: &str, app: &AppName, group: u16) -> Self {
        Self { base: format!("{prefix}:{{{app}:{group}}}:") }
    }

    pub(crate) fn meta(&self) -> String {
        format!("{}meta", self.base)
    }

    pub(crate) fn epoch(&self) -> String {
        format!("{}epoch", self.base)
    }

    pub(crate) fn stream(&self, stream: u16) -> String {
        format!("{}stream:{stream}", self.base)
    }

    /// A key that nobody writes, on which rights are tried.
    pub(crate) fn examined(&self) -> String {
        format!("{}examined", self.base)
    }

    /// What every [`last`](Self::last) begins with.
    pub(crate) fn last_prefix(&self) -> String {
        format!("{}last:", self.base)
    }

    pub(crate) fn last(&self, stream: u16, epoch: u64) -> String {
        format!("{}last:{stream}:{epoch}", self.base)
    }
}

/// What a key of an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Meta,
    Epoch,
    /// Of this stream.
    Stream(u16),
    /// Of this stream.
    Last(u16),
}

/// The group of `key`, and what it is, as far as it has a name that nodes give; `None` if it is not of this app.
pub(crate) fn parse(prefix: &str, app: &AppName, key: &str) -> Option<(u16, Option<Kind>)> {
    let rest = key.strip_prefix(prefix)?.strip_prefix(":{")?.strip_prefix(app.as_str())?.strip_prefix(':')?;
    let (group, rest) = rest.split_once("}:")?;
    Some((number(group)?, kind(rest)))
}

/// What the part of a key behind the group is.
fn kind(rest: &str) -> Option<Kind> {
    match rest {
        "meta" => return Some(Kind::Meta),
        "epoch" => return Some(Kind::Epoch),
        _ => {}
    }
    let (name, rest) = rest.split_once(':')?;
    match name {
        "stream" => number(rest).map(Kind::Stream),
        "last" => {
            let (stream, epoch) = rest.split_once(':')?;
            number::<u64>(epoch)?;
            number(stream).map(Kind::Last)
        }
        _ => None,
    }
}

/// A number as it is written in keys: digits alone, none of them needless.
fn number<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shares_one_hash_tag() {
        let keys = Keys::new("scaleout", &"chat".parse().expect("a name"), 3);
        assert_eq!(keys.stream(7), "scaleout:{chat:3}:stream:7");
        assert_eq!(keys.last(7, 12), "scaleout:{chat:3}:last:7:12");
        assert!(keys.last(7, 12).starts_with(&keys.last_prefix()));
        assert_eq!(keys.meta(), "scaleout:{chat:3}:meta");
    }

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let app = "chat".parse().expect("a name");
        let keys = Keys::new("scaleout", &app, 3);
        for (key, kind) in [
            (keys.meta(), Kind::Meta),
            (keys.epoch(), Kind::Epoch),
            (keys.stream(7), Kind::Stream(7)),
            (keys.last(7, 12), Kind::Last(7)),
        ] {
            assert_eq!(parse("scaleout", &app, &key), Some((3, Some(kind))), "{key}");
        }
    }

    #[test]
    fn what_nodes_do_not_write_is_no_key_of_theirs() {
        let app = "chat".parse().expect("a name");
        for rest in [
            "",
            "other",
            "stream:",
            "stream:01",
            "stream:70000",
            "last:1",
            "last:1:x",
            "meta:1",
            "stream:1:2",
        ] {
            assert_eq!(
                parse("scaleout", &app, &format!("scaleout:{{chat:0}}:{rest}")),
                Some((0, None)),
                "{rest}"
            );
        }
        for key in [
            "scaleout:{chat2:0}:meta",
            "scaleout:{cha:0}:meta",
            "scaleout2:{chat:0}:meta",
            "my-scaleout:{chat:0}:meta",
            "scaleout:{chat:00}:meta",
            "scaleout:{chat:x}:meta",
            "scaleout:{chat:0}meta",
            "scaleout:chat:0:meta",
        ] {
            assert_eq!(parse("scaleout", &app, key), None, "{key}");
        }
    }
}
