//! What nodes of a cluster say to each other, version 1.
//!
//! ```text
//! byte  version, 1
//! byte  kind
//!    0  heartbeat   number incarnation, byte flags (1: asks for the members), number presence version, about
//!    1  goodbye     number incarnation
//!    2  expulsion   node, number incarnation
//!    3  members     number count, of each: node, number incarnation, number presence version, about
//!    4  cast        target, text subject, rest payload
//!    5  request     target, number id, number deadline in ms, text subject, rest payload
//!    6  part        number id, rest payload
//!    7  finish      number id, number parts before it, byte 1 and rest payload, or byte 0
//!    8  failure     number id, byte reason (0 no handler, 1 failed, 2 dropped), text why
//!
//! about   number start in µs since 1970, number lease in ms, text label, text role, text version
//! target  byte 0 others, 1 all, 2 and a node
//! ```
//!
//! The fields are those of [`codec`](crate::codec). All but the last three go to the channel `$cluster/{name}`, those to
//! the channel of the node that asked: `$cluster/{name}/{node}/{n}`, with the node as 32 hexadecimal digits and the least n
//! that puts it on the same stream. Bytes behind the last field of kinds 0 to 3 are of a later release, and skipped.

use std::time::Duration;

use bytes::Bytes;
use scaleout_core::NodeId;

use crate::{
    Target,
    codec::{DecodeError, Reader, Writer},
};

const VERSION: u8 = 1;

/// Bytes of a label, role, version or subject at most.
pub(crate) const MAX_TEXT_BYTES: usize = 255;

/// What the bus knows of a silent node goes back that far.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(300);

/// Members in one message at most; more take several.
pub(crate) const MAX_MEMBERS: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wire {
    Heartbeat { state: NodeState, hello: bool },
    Goodbye { incarnation: u64 },
    Expulsion { node: NodeId, incarnation: u64 },
    Members(Vec<(NodeId, NodeState)>),
    Cast { target: Target, subject: Bytes, payload: Bytes },
    Request { target: Target, id: u64, deadline: Duration, subject: Bytes, payload: Bytes },
    Part { id: u64, payload: Bytes },
    Finish { id: u64, parts: u64, last: Option<Bytes> },
    Failure { id: u64, reason: Reason, why: String },
}

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) incarnation: u64,
    pub(crate) presence_version: u64,
    pub(crate) about: About,
}

/// What of it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) started_at_micros: u64,
    pub(crate) lease: Duration,
    pub(crate) label: String,
    pub(crate) role: String,
    pub(crate) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    NoHandler,
    Failed,
    Dropped,
}

const HELLO: u8 = 1;

pub(crate) fn heartbeat(state: &NodeState, hello: bool) -> Vec<u8> {
    let mut writer = begin(0, 64);
    writer.number(state.incarnation);
    writer.byte(if hello { HELLO } else { 0 });
    writer.number(state.presence_version);
    write_about(&mut writer, &state.about);
    writer.into_vec()
}

pub(crate) fn goodbye(incarnation: u64) -> Vec<u8> {
    let mut writer = begin(1, 16);
    writer.number(incarnation);
    writer.into_vec()
}

pub(crate) fn expulsion(node: NodeId, incarnation: u64) -> Vec<u8> {
    let mut writer = begin(2, 32);
    writer.node(node);
    writer.number(incarnation);
    writer.into_vec()
}

pub(crate) fn members(members: &[(NodeId, NodeState)]) -> Vec<u8> {
    let mut writer = begin(3, 80 * members.len());
    writer.number(members.len() as u64);
    for (node, state) in members {
        writer.node(*node);
        writer.number(state.incarnation);
        writer.number(state.presence_version);
        write_about(&mut writer, &state.about);
    }
    writer.into_vec()
}

#[inline]
pub(crate) fn cast(target: Target, subject: &str, payload: &[u8]) -> Vec<u8> {
    // To the byte: what is more costs a second allocation where it becomes `Bytes`.
    let target_len = if let Target::Node(_) = target { 17 } else { 1 };
    let subject_len = subject.len() + if subject.len() < 0x80 { 1 } else { 2 };
    let mut writer = begin(4, target_len + subject_len + payload.len());
    write_target(&mut writer, target);
    writer.text(subject);
    writer.rest(payload);
    writer.into_vec()
}

pub(crate) fn request(target: Target, id: u64, deadline: Duration, subject: &str, payload: &[u8]) -> Vec<u8> {
    let mut writer = begin(5, 48 + subject.len() + payload.len());
    write_target(&mut writer, target);
    writer.number(id);
    writer.number(millis(deadline));
    writer.text(subject);
    writer.rest(payload);
    writer.into_vec()
}

pub(crate) fn part(id: u64, payload: &[u8]) -> Vec<u8> {
    let mut writer = begin(6, 16 + payload.len());
    writer.number(id);
    writer.rest(payload);
    writer.into_vec()
}

pub(crate) fn finish(id: u64, parts: u64, last: Option<&[u8]>) -> Vec<u8> {
    let mut writer = begin(7, 32 + last.map_or(0, <[u8]>::len));
    writer.number(id);
    writer.number(parts);
    writer.byte(u8::from(last.is_some()));
    writer.rest(last.unwrap_or_default());
    writer.into_vec()
}

pub(crate) fn failure(id: u64, reason: Reason, why: &str) -> Vec<u8> {
    let mut writer = begin(8, 32 + why.len());
    writer.number(id);
    writer.byte(match reason {
        Reason::NoHandler => 0,
        Reason::Failed => 1,
        Reason::Dropped => 2,
    });
    writer.text(why);
    writer.into_vec()
}

/// Whether this is a cast to others: what the node that sent it need not read.
#[inline]
pub(crate) fn is_for_others(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, 4, 0, ..])
}

/// Reads a message.
#[inline]
pub(crate) fn read(bytes: Bytes) -> Result<Wire, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let kind = reader.byte()?;
    Ok(match kind {
        0 => {
            let incarnation = reader.number()?;
            let hello = reader.byte()? & HELLO != 0;
            let presence_version = reader.number()?;
            let about = read_about(&mut reader)?;
            Wire::Heartbeat { state: NodeState { incarnation, presence_version, about }, hello }
        }
        1 => Wire::Goodbye { incarnation: reader.number()? },
        2 => Wire::Expulsion { node: reader.node()?, incarnation: reader.number()? },
        3 => {
            // The count is not trusted with an allocation.
            let mut members = Vec::new();
            for _ in 0..reader.number()? {
                let (node, incarnation) = (reader.node()?, reader.number()?);
                let (presence_version, about) = (reader.number()?, read_about(&mut reader)?);
                members.push((node, NodeState { incarnation, presence_version, about }));
            }
            Wire::Members(members)
        }
        4 => {
            let (target, subject) = (read_target(&mut reader)?, reader.bytes()?);
            Wire::Cast { target, subject, payload: reader.rest() }
        }
        5 => {
            let (target, id) = (read_target(&mut reader)?, reader.number()?);
            let (deadline, subject) = (Duration::from_millis(reader.number()?), reader.bytes()?);
            Wire::Request { target, id, deadline, subject, payload: reader.rest() }
        }
        6 => Wire::Part { id: reader.number()?, payload: reader.rest() },
        7 => {
            let (id, parts) = (reader.number()?, reader.number()?);
            let last = match reader.byte()? {
                0 => None,
                1 => Some(reader.rest()),
                value => return Err(DecodeError::Unknown { field: "last part", value }),
            };
            Wire::Finish { id, parts, last }
        }
        8 => {
            let id = reader.number()?;
            let reason = match reader.byte()? {
                0 => Reason::NoHandler,
                1 => Reason::Failed,
                2 => Reason::Dropped,
                value => return Err(DecodeError::Unknown { field: "reason", value }),
            };
            Wire::Failure { id, reason, why: reader.text()?.to_owned() }
        }
        value => return Err(DecodeError::Unknown { field: "kind", value }),
    })
}

fn begin(kind: u8, capacity: usize) -> Writer {
    let mut writer = Writer::with_capacity(capacity + 2);
    writer.byte(VERSION);
    writer.byte(kind);
    writer
}

pub(crate) fn write_about(writer: &mut Writer, about: &About) {
    writer.number(about.started_at_micros);
    writer.number(millis(about.lease));
    writer.text(&about.label);
    writer.text(&about.role);
    writer.text(&about.version);
}

pub(crate) fn read_about(reader: &mut Reader) -> Result<About, DecodeError> {
    Ok(About {
        started_at_micros: reader.number()?,
        // Whatever it says: who is gone must not be kept for ever.
        lease: Duration::from_millis(reader.number()?).min(MAX_LEASE),
        label: reader.text()?.to_owned(),
        role: reader.text()?.to_owned(),
        version: reader.text()?.to_owned(),
    })
}

fn write_target(writer: &mut Writer, target: Target) {
    match target {
        Target::Others => writer.byte(0),
        Target::All => writer.byte(1),
        Target::Node(node) => {
            writer.byte(2);
            writer.node(node);
        }
    }
}

fn read_target(reader: &mut Reader) -> Result<Target, DecodeError> {
    Ok(match reader.byte()? {
        0 => Target::Others,
        1 => Target::All,
        2 => Target::Node(reader.node()?),
        value => return Err(DecodeError::Unknown { field: "target", value }),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> NodeState {
        let about = About {
            started_at_micros: 1_700_000_000_000_000,
            lease: Duration::from_secs(10),
            label: "web-1".into(),
            role: "web".into(),
            version: "1.2.3".into(),
        };
        NodeState { incarnation: 2, presence_version: 300, about }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let (node, payload) = (NodeId(7), Bytes::from_static(b"payload"));
        let subject = Bytes::from_static(b"s");
        let second = Duration::from_secs(1);
        let cases = [
            (heartbeat(&state(), true), Wire::Heartbeat { state: state(), hello: true }),
            (goodbye(3), Wire::Goodbye { incarnation: 3 }),
            (expulsion(node, 3), Wire::Expulsion { node, incarnation: 3 }),
            (members(&[(node, state())]), Wire::Members(vec![(node, state())])),
            (
                cast(Target::Node(node), "s", &payload),
                Wire::Cast { target: Target::Node(node), subject: subject.clone(), payload: payload.clone() },
            ),
            (
                request(Target::All, 9, second, "s", &payload),
                Wire::Request {
                    target: Target::All,
                    id: 9,
                    deadline: second,
                    subject,
                    payload: payload.clone(),
                },
            ),
            (part(9, &payload), Wire::Part { id: 9, payload: payload.clone() }),
            (finish(9, 2, Some(&payload)), Wire::Finish { id: 9, parts: 2, last: Some(payload) }),
            (finish(9, 2, None), Wire::Finish { id: 9, parts: 2, last: None }),
            (
                failure(9, Reason::Failed, "no"),
                Wire::Failure { id: 9, reason: Reason::Failed, why: "no".into() },
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes.clone().into()), Ok(expected.clone()));
            for len in 0..bytes.len() {
                // Payloads may be of any length; everything before them is needed.
                if let Ok(read) = read(Bytes::copy_from_slice(&bytes[..len])) {
                    assert_ne!(read, expected);
                }
            }
        }
    }

    #[test]
    fn a_cast_takes_no_more_room_than_it_has_bytes() {
        for target in [Target::All, Target::Others, Target::Node(NodeId(7))] {
            for len in [1, 127, 128, 255] {
                let bytes = cast(target, &"s".repeat(len), &[0; 300]);
                assert_eq!(bytes.capacity(), bytes.len(), "{target:?} {len}");
            }
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        assert_eq!(
            hex(&heartbeat(&state(), true)),
            "01000201ac02 8080f9c0c1c48203 904e057765622d310377656205312e322e33".replace(' ', "")
        );
        assert_eq!(hex(&cast(Target::Others, "io", b"x")), "010400 02696f 78".replace(' ', ""));
    }

    #[test]
    fn a_later_version_and_an_unknown_kind_are_told() {
        assert_eq!(read(Bytes::from_static(&[2, 0])), Err(DecodeError::Version(2)));
        let unknown = DecodeError::Unknown { field: "kind", value: 99 };
        assert_eq!(read(Bytes::from_static(&[1, 99])), Err(unknown));
    }

    #[test]
    fn a_lease_is_no_longer_than_a_config_may_have_it() {
        let mut state = state();
        state.about.lease = Duration::MAX;
        let Ok(Wire::Heartbeat { state, .. }) = read(heartbeat(&state, false).into()) else {
            panic!("it is a heartbeat")
        };
        assert_eq!(state.about.lease, MAX_LEASE);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(kind in 0..10_u8, rest: Vec<u8>) {
            let mut bytes = vec![VERSION, kind];
            bytes.extend(rest);
            drop(read(bytes.into()));
        }
    }
}
