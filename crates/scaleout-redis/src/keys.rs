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

    /// What every [`last`](Self::last) begins with.
    pub(crate) fn last_prefix(&self) -> String {
        format!("{}last:", self.base)
    }

    pub(crate) fn last(&self, stream: u16, epoch: u64) -> String {
        format!("{}last:{stream}:{epoch}", self.base)
    }
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
}
