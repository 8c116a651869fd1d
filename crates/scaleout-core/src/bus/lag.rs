//! How far a node is behind, and how far from losing something.

use crate::{Position, Retained};

/// How far a node is behind the store on one stream, in payloads.
///
/// A node that is slow, or stands still, falls behind; once what it did not receive yet is no longer retained, it has a
/// [gap](crate::Gap). Divided by the payloads that the stream carries in a second, the headroom says how long that
/// takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Payloads of the newest epoch that it did not receive yet.
    pub behind: u64,
    /// Payloads that it has received and the store still retains: as many more may come before it loses one, at least.
    /// 0 where it may have lost some already, or did not learn of the newest epoch yet.
    pub headroom: u64,
}

impl Lag {
    /// That of a node which has received a stream up to `position`, where the store has `retained` of it.
    ///
    /// `None` where the node knows of a newer epoch than `retained` does. Where ids have holes, these count as payloads.
    #[must_use]
    pub fn of(retained: &Retained, position: Position) -> Option<Self> {
        // Ids begin at 0, so that this counts the payloads up to and with one.
        let up_to = |position: Position| match position.is_whole() {
            true => position.id.0.saturating_add(1),
            false => position.id.0,
        };
        let last = retained.last.map_or(0, |id| id.0.saturating_add(1));
        let first = retained.first.map_or(last, |id| id.0);
        let received = match position.epoch.cmp(&retained.epoch) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => up_to(position),
            std::cmp::Ordering::Greater => return None,
        };
        Some(Self { behind: last.saturating_sub(received), headroom: received.saturating_sub(first) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, PayloadId};

    fn retained(first: Option<u64>, last: Option<u64>) -> Retained {
        Retained { epoch: Epoch(2), first: first.map(PayloadId), last: last.map(PayloadId) }
    }

    #[test]
    fn what_was_not_received_is_behind_and_what_is_still_there_is_headroom() {
        let lag = Lag::of(&retained(Some(10), Some(29)), Position::behind(Epoch(2), PayloadId(24)));
        assert_eq!(lag, Some(Lag { behind: 5, headroom: 15 }));
        let lag = Lag::of(&retained(Some(10), Some(29)), Position::behind(Epoch(2), PayloadId(29)));
        assert_eq!(lag, Some(Lag { behind: 0, headroom: 20 }));
    }

    #[test]
    fn a_node_that_fell_off_has_no_headroom() {
        let lag = Lag::of(&retained(Some(10), Some(29)), Position::behind(Epoch(2), PayloadId(3)));
        assert_eq!(lag, Some(Lag { behind: 26, headroom: 0 }));
        let older = Lag::of(&retained(Some(0), Some(4)), Position::behind(Epoch(1), PayloadId(900)));
        assert_eq!(older, Some(Lag { behind: 5, headroom: 0 }));
        let newer = Lag::of(&retained(Some(0), Some(4)), Position::start_of(Epoch(3)));
        assert_eq!(newer, None, "the answer is older than what came since");
    }

    #[test]
    fn an_empty_stream_has_nothing_to_be_behind() {
        assert_eq!(
            Lag::of(&retained(None, None), Position::start_of(Epoch(2))),
            Some(Lag { behind: 0, headroom: 0 })
        );
        // All that there was is no longer retained.
        let lag = Lag::of(&retained(None, Some(4)), Position::behind(Epoch(2), PayloadId(4)));
        assert_eq!(lag, Some(Lag { behind: 0, headroom: 0 }));
    }
}
