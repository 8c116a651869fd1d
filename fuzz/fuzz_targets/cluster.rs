//! Any bytes are a message of a cluster or an error, and what it says can be said again.
#![no_main]
#![allow(dead_code, reason = "not all of these files is of use here")]

// The files themselves: what nodes say to each other is nobody else's interface.
#[path = "../../crates/scaleout-cluster/src/codec.rs"]
mod codec;
#[path = "../../crates/scaleout-cluster/src/presence/message.rs"]
mod presence;
#[path = "../../crates/scaleout-cluster/src/wire.rs"]
mod wire;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use scaleout_core::NodeId;

use self::wire::Wire;

/// As in the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    All,
    Others,
    Node(NodeId),
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(read) = wire::read(bytes.clone())
        && let Some(again) = write(&read)
    {
        assert_eq!(wire::read(again.into()), Ok(read));
    }
    if let Ok(delta) = presence::Delta::decode(bytes.clone()) {
        delta.changes.for_each(|_| {});
        assert_eq!(presence::Delta::decode(delta.encode().into()), Ok(delta));
    }
    if let Ok(page) = presence::Page::decode(bytes.clone()) {
        page.entries.for_each(|_| {});
        assert_eq!(presence::Page::decode(page.encode().into()), Ok(page));
    }
    if let Ok(ask) = presence::Ask::decode(bytes) {
        assert_eq!(presence::Ask::decode(ask.encode().into()), Ok(ask));
    }
});

fn write(read: &Wire) -> Option<Vec<u8>> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some(match read {
        Wire::Heartbeat { state, hello } => wire::heartbeat(state, *hello),
        Wire::Goodbye { incarnation } => wire::goodbye(*incarnation),
        Wire::Expulsion { node, incarnation } => wire::expulsion(*node, *incarnation),
        Wire::Members(members) => wire::members(members),
        // Of others a subject is only compared.
        Wire::Cast { target, subject, payload } => wire::cast(*target, text(subject)?, payload),
        Wire::Request { target, id, deadline, subject, payload } => {
            wire::request(*target, *id, *deadline, text(subject)?, payload)
        }
        Wire::Part { id, payload } => wire::part(*id, payload),
        Wire::Finish { id, parts, last } => wire::finish(*id, *parts, last.as_deref()),
        Wire::Failure { id, reason, why } => wire::failure(*id, *reason, why),
    })
}
