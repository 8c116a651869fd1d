//! Invariants 12 to 14: how a run ends, its budgets, its counters.

use super::{
    Findings, Invariant,
    recording::{End, Recording},
};

/// 12: at the end every stream of every node is up and every cursor at the head; in a long outage none is up.
pub(super) fn liveness(recording: &Recording, found: &mut Findings) {
    for (node, of_node) in recording.nodes.iter().enumerate() {
        for (stream, up) in of_node.up.iter().enumerate() {
            found.expect(*up, Invariant::Liveness, || {
                format!("node {node}, stream {stream} is not up at the end")
            });
        }
        for state in &of_node.states {
            found.expect(!state.up, Invariant::Liveness, || {
                format!(
                    "node {node}, stream {} says that it is up in an outage, at {:?}",
                    state.stream, state.at
                )
            });
        }
    }
    for (client, of_client) in recording.clients.iter().enumerate() {
        for End { stream, cursor, head: (epoch, id) } in &of_client.end {
            let at_head = cursor.is_some_and(|position| {
                position.is_whole() && (position.epoch, position.id) == (*epoch, *id)
            });
            found.expect(at_head, Invariant::Liveness, || {
                format!("client {client}, stream {stream}: the cursor is at {cursor:?}, the head is ({epoch}, {id})")
            });
        }
    }
}

/// 13: nothing exceeded its budget, and nothing was left after close.
pub(super) fn bounds(recording: &Recording, found: &mut Findings) {
    for (node, of_node) in recording.nodes.iter().enumerate() {
        for sample in &of_node.samples {
            found.expect(sample.used <= sample.limit, Invariant::Bounds, || {
                format!("node {node}: {} was {} of {}", sample.what, sample.used, sample.limit)
            });
        }
    }
    for (what, left) in &recording.left_over {
        found.expect(*left == 0, Invariant::Bounds, || format!("{left} {what} left after close"));
    }
}

/// 14: the counters equal what was observed.
pub(super) fn accounts(recording: &Recording, found: &mut Findings) {
    for (node, of_node) in recording.nodes.iter().enumerate() {
        for account in &of_node.accounts {
            found.expect(account.counted == account.observed, Invariant::Accounts, || {
                format!(
                    "node {node}: {} counts {}, observed {}",
                    account.what, account.counted, account.observed
                )
            });
        }
    }
}
