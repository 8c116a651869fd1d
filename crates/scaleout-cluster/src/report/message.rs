//! What a node says of itself when it is asked, version 1.
//!
//! ```text
//! ask       byte version, 1; byte flags (1: with the members); more is skipped. Empty: no flags.
//! report    byte version, 1
//!           number incarnation, about (as in a heartbeat)
//!           text release of scaleout-cluster, number uptime in ms, number clock in µs since 1970
//!           byte flags (1: ready)
//!           number count of streams, of each: byte flags (1: a position follows, 2: up),
//!             number epoch, number id, number index
//!           number count of counters, of each: number (published, received, delivered, gaps, faults)
//!           number count of members, of each: node, text label
//! ```
//!
//! The fields are those of [`codec`](crate::codec). A later release adds flags, counters, and fields behind the last
//! one, all of which an earlier one skips; what an earlier one did not send counts as 0.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use scaleout_core::{Epoch, NodeId, PayloadId, Position};

use super::{NodeReport, StreamReport};
use crate::{
    codec::{DecodeError, Reader, Writer},
    wire::{NodeState, read_about, write_about},
};

const VERSION: u8 = 1;

const WITH_MEMBERS: u8 = 1;
const READY: u8 = 1;
const HAS_POSITION: u8 = 1;
const UP: u8 = 2;

/// What is asked: whether with the members that the node knows.
pub(super) fn ask(with_members: bool) -> [u8; 2] {
    [VERSION, if with_members { WITH_MEMBERS } else { 0 }]
}

/// Whether the members are asked for too; of what a later release asks, this one answers what it knows.
pub(super) fn wants_members(ask: &[u8]) -> bool {
    ask.get(1).is_some_and(|flags| flags & WITH_MEMBERS != 0)
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) state: NodeState,
    pub(super) report: NodeReport,
    /// The members that the node knows, and what people call them.
    pub(super) members: Vec<(NodeId, String)>,
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { state, report, members } = self;
        let mut writer = Writer::with_capacity(128 + 20 * report.streams.len() + 40 * members.len());
        writer.byte(VERSION);
        writer.number(state.incarnation);
        write_about(&mut writer, &state.about);
        writer.text(&report.library_version);
        writer.number(u64::try_from(report.uptime.as_millis()).unwrap_or(u64::MAX));
        let since = report.clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        writer.number(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        writer.byte(if report.ready { READY } else { 0 });
        writer.number(report.streams.len() as u64);
        for stream in &report.streams {
            let up = if stream.up { UP } else { 0 };
            let Some(position) = stream.position else {
                writer.byte(up);
                continue;
            };
            writer.byte(up | HAS_POSITION);
            writer.number(position.epoch.0);
            writer.number(position.id.0);
            writer.number(position.index.into());
        }
        let counters = [report.published, report.received, report.delivered, report.gaps, report.faults];
        writer.number(counters.len() as u64);
        counters.into_iter().for_each(|counter| writer.number(counter));
        writer.number(members.len() as u64);
        for (node, label) in members {
            writer.node(*node);
            writer.text(label);
        }
        writer.into_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote, in this release or a later one.
    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let (incarnation, about) = (reader.number()?, read_about(&mut reader)?);
        let library_version = reader.text()?.to_owned();
        let uptime = Duration::from_millis(reader.number()?);
        let since = Duration::from_micros(reader.number()?);
        let clock = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
        let ready = reader.byte()? & READY != 0;
        // No count is trusted with an allocation.
        let mut streams = Vec::new();
        for _ in 0..reader.number()? {
            let flags = reader.byte()?;
            let position = if flags & HAS_POSITION == 0 { None } else { Some(read_position(&mut reader)?) };
            streams.push(StreamReport { up: flags & UP != 0, position });
        }
        let mut counters = [0; 5];
        for at in 0..reader.number()? {
            let counter = reader.number()?;
            if let Some(known) = usize::try_from(at).ok().and_then(|at| counters.get_mut(at)) {
                *known = counter;
            }
        }
        let [published, received, delivered, gaps, faults] = counters;
        let mut members = Vec::new();
        for _ in 0..reader.number()? {
            members.push((reader.node()?, reader.text()?.to_owned()));
        }
        let report = NodeReport {
            library_version,
            uptime,
            clock,
            ready,
            streams,
            published,
            received,
            delivered,
            gaps,
            faults,
        };
        Ok(Self { state: NodeState { incarnation, presence_version: 0, about }, report, members })
    }
}

fn read_position(reader: &mut Reader) -> Result<Position, DecodeError> {
    let (epoch, id) = (Epoch(reader.number()?), PayloadId(reader.number()?));
    let index = u32::try_from(reader.number()?).map_err(|_| DecodeError::Number)?;
    Ok(Position { epoch, id, index })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::About;

    fn answer() -> Answer {
        let about = About {
            started_at_micros: 1_700_000_000_000_000,
            lease: Duration::from_secs(10),
            label: "web-1".into(),
            role: "web".into(),
            version: "1.2.3".into(),
        };
        let position = Position::behind(Epoch(3), PayloadId(300));
        let report = NodeReport {
            library_version: "0.1.0".into(),
            uptime: Duration::from_millis(1_500),
            clock: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_001_500_000),
            ready: true,
            streams: vec![
                StreamReport { up: true, position: Some(position) },
                StreamReport { up: false, position: None },
            ],
            published: 1,
            received: 200,
            delivered: 3,
            gaps: 4,
            faults: 5,
        };
        let state = NodeState { incarnation: 2, presence_version: 0, about };
        Answer { state, report, members: vec![(NodeId(7), "web-2".into())] }
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_no_part_of_it_is() {
        let bytes = answer().encode();
        assert_eq!(Answer::decode(bytes.clone().into()), Ok(answer()));
        for len in 0..bytes.len() {
            assert_eq!(
                Answer::decode(Bytes::copy_from_slice(&bytes[..len])),
                Err(DecodeError::Short),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay() {
        let hex: String = answer().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "01 02 8080f9c0c1c48203 904e 057765622d31 03776562 05312e322e33 05302e312e30 dc0b \
                        e0c6d4c1c1c48203 01 02 0303ac02feffffff0f 00 05 01c801030405 01 \
                        07000000000000000000000000000000 057765622d32";
        assert_eq!(hex, expected.replace([' ', '\n'], ""));
        assert_eq!((ask(true), ask(false)), ([1, 1], [1, 0]));
    }

    #[test]
    fn what_a_later_release_adds_is_skipped() {
        let mut bytes = answer().encode();
        bytes.extend_from_slice(b"a field of later");
        assert_eq!(Answer::decode(bytes.into()), Ok(answer()));
        let mut of_version_2 = answer().encode();
        of_version_2[0] = 2;
        assert_eq!(Answer::decode(of_version_2.into()), Err(DecodeError::Version(2)));
        assert!(wants_members(&[9, 0xFF, 1, 2]), "a later ask has the flags in the same place");
        assert!(!wants_members(b""));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_report_or_an_error(rest: Vec<u8>) {
            let mut bytes = vec![VERSION];
            bytes.extend(rest);
            if let Ok(answer) = Answer::decode(bytes.into()) {
                prop_assert_eq!(Answer::decode(answer.encode().into()), Ok(answer));
            }
        }
    }
}
