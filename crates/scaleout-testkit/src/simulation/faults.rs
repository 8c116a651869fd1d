//! The faults that strike in a run, and their ends.

use std::{collections::BTreeMap, num::NonZeroU16, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use tokio::time::Instant;

use scaleout_core::{
    Epoch, ErrorKind, MemoryStore, NodeId, PayloadId, SendFault, StreamIndex,
    frame::{self, FrameHead},
};

use super::world::World;
use crate::recorder::layout;

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)*) => {
        /// A fault that a run may meet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$fault,)*];

            /// Its name in the [coverage](crate::checker::Coverage).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => concat!("fault: ", $name),)*
                }
            }
        }
    };
}

faults! {
    /// Every stream is down for a while.
    Outage = "outage",
    /// One stream is down for a while.
    StreamOutage = "outage of one stream",
    /// Every reception loses its link.
    Cut = "links cut",
    /// The store forgets everything.
    Flush = "flush",
    /// One stream forgets everything.
    FlushStream = "flush of one stream",
    /// The store forgets its last payloads.
    Failover = "failover",
    /// The store restarts and forgets nothing.
    Restart = "restart",
    /// Sends are refused.
    Refused = "send refused",
    /// Sends land, and fail all the same.
    Landed = "send landed, answer lost",
    /// Sends get lost.
    Lost = "send lost",
    /// Sends fail, and land later.
    LandsLate = "send lands late",
    /// What lands late is not compared with what is there.
    LandsUnchecked = "send lands late, unchecked",
    /// Sends land, and no answer comes.
    Silent = "no answer",
    /// Sends are slow.
    SlowSends = "slow sends",
    /// Receptions are slow.
    SlowReceives = "slow receptions",
    /// Sends hang for a while.
    Blocked = "sends blocked",
    /// Sends to one stream hang for a while.
    StreamBlocked = "sends of one stream blocked",
    /// Retention drops payloads.
    Trim = "trim",
    /// Receptions yield payloads again.
    Redeliver = "redelivery",
    /// Somebody appends other bytes.
    Garbage = "foreign bytes",
    /// Another app's frame.
    ForeignApp = "foreign app",
    /// A frame of a newer version.
    NewerVersion = "newer version",
    /// A frame whose checksum does not fit.
    BadChecksum = "bad checksum",
    /// A frame of a node with another number of streams.
    OtherLayout = "other stream count",
    /// An empty payload.
    Empty = "empty payload",
    /// The store refuses everybody.
    Fatal = "fatal error",
    /// A node's receptions stall for a while.
    Stall = "node stalls",
    /// A node's receptions stall, and the store forgets what it did not get.
    StallAndFork = "node stalls, and the store forks",
    /// A frame arrives broken at one node.
    Broken = "frame arrives broken",
    /// A node closes.
    Close = "node closes",
    /// A node dies.
    Die = "node dies",
    /// A node joins late.
    Join = "node joins",
}

/// The faults that are going on, and when they end.
#[derive(Default)]
pub(super) struct Faults {
    ends: Vec<(Instant, End)>,
    /// Streams that are down, and since when.
    pub(super) down: BTreeMap<StreamIndex, Instant>,
    /// Faults planned for the next sends of a stream.
    planned: BTreeMap<StreamIndex, (Fault, usize)>,
    /// Payloads that were appended behind the back of their node.
    pub(super) injected: Vec<(StreamIndex, Epoch, PayloadId)>,
    fatal: bool,
}

#[derive(Debug, Clone)]
enum End {
    Restore(Vec<StreamIndex>),
    Unblock(Option<StreamIndex>),
    SendsFast,
    ReceivesFast,
    Allow,
}

impl Faults {
    /// Lets a fault of the store strike; `false` for one that is not the store's, or cannot strike now.
    pub(super) fn strike(&mut self, fault: Fault, world: &World, random: &mut Rng) -> bool {
        let store = &world.store;
        let stream = StreamIndex(random.u16(..store.stream_count().get()));
        let longest = [50, 1000, 6000][random.usize(..3)];
        let until = Instant::now() + Duration::from_millis(random.u64(1..longest));
        match fault {
            Fault::Outage => return self.outage(store, store.streams().collect(), until),
            Fault::StreamOutage => return self.outage(store, vec![stream], until),
            Fault::Cut => store.cut_receivers(),
            Fault::Flush => store.flush(),
            Fault::FlushStream => {
                store.flush_stream(stream);
            }
            Fault::Failover => {
                store.failover(stream, random.usize(1..8));
            }
            Fault::Restart => {
                store.new_epoch(stream);
            }
            Fault::Refused | Fault::Landed | Fault::Lost | Fault::LandsLate | Fault::Silent => {
                self.plan_sends(fault, stream, random.usize(1..4), world);
                return true;
            }
            Fault::LandsUnchecked => return self.land(store, stream),
            Fault::SlowSends => {
                store.set_send_delay(Duration::from_millis(random.u64(1..500)));
                self.ends.push((until, End::SendsFast));
            }
            Fault::SlowReceives => {
                store.set_receive_delay(Duration::from_millis(random.u64(1..100)));
                self.ends.push((until, End::ReceivesFast));
            }
            Fault::Blocked => {
                store.block_sends(true);
                self.ends.push((until, End::Unblock(None)));
            }
            Fault::StreamBlocked => {
                store.block_stream(stream, true);
                self.ends.push((until, End::Unblock(Some(stream))));
            }
            Fault::Trim => store.trim(stream, random.usize(..4)),
            Fault::Redeliver => store.redeliver(stream, random.usize(1..5)),
            Fault::Garbage
            | Fault::ForeignApp
            | Fault::NewerVersion
            | Fault::BadChecksum
            | Fault::OtherLayout => {
                store.append_raw(stream, odd_payload(fault, store.stream_count(), random));
            }
            Fault::Empty => {
                store.append_empty(stream);
            }
            Fault::Fatal => {
                if self.fatal || !self.down.is_empty() {
                    return false;
                }
                self.fatal = true;
                store.fatal(Some(ErrorKind::Unauthorized));
                self.ends.push((until, End::Allow));
            }
            Fault::Stall | Fault::StallAndFork | Fault::Broken | Fault::Close | Fault::Die | Fault::Join => {
                return false;
            }
        }
        true
    }

    /// Ends what is due; answers the streams that are about to come back, and since when they were down.
    pub(super) fn due(&mut self, all: bool) -> Vec<(StreamIndex, Instant)> {
        let now = Instant::now();
        let due = self.ends.iter().filter(|(until, _)| all || *until <= now);
        let streams =
            due.filter_map(|(_, end)| if let End::Restore(streams) = end { Some(streams) } else { None });
        streams.flatten().filter_map(|stream| Some((*stream, *self.down.get(stream)?))).collect()
    }

    pub(super) fn end(&mut self, world: &World, all: bool) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ends).into_iter().partition(|(until, _)| all || *until <= now);
        self.ends = later;
        for (_, end) in due {
            world.note(format!("end of {end:?}"));
            let store = &world.store;
            match end {
                End::Restore(streams) => {
                    streams.iter().for_each(|stream| {
                        self.down.remove(stream);
                    });
                    store.restore(streams);
                }
                End::Unblock(None) => store.block_sends(false),
                End::Unblock(Some(stream)) => store.block_stream(stream, false),
                End::SendsFast => store.set_send_delay(Duration::ZERO),
                End::ReceivesFast => store.set_receive_delay(Duration::ZERO),
                End::Allow => {
                    self.fatal = false;
                    store.fatal(None);
                }
            }
        }
        if all {
            for stream in world.store.streams() {
                self.clear_sends(stream, world);
                if world.store.land_late(stream) > 0 {
                    world.note(format!("late sends landed on stream {stream}"));
                }
            }
        }
    }

    fn outage(&mut self, store: &MemoryStore, streams: Vec<StreamIndex>, until: Instant) -> bool {
        if self.fatal || streams.iter().any(|stream| self.down.contains_key(stream)) {
            return false;
        }
        self.down.extend(streams.iter().map(|stream| (*stream, Instant::now())));
        store.outage(streams.iter().copied());
        self.ends.push((until, End::Restore(streams)));
        true
    }

    fn plan_sends(&mut self, fault: Fault, stream: StreamIndex, sends: usize, world: &World) {
        self.clear_sends(stream, world);
        let fate = match fault {
            Fault::Refused => SendFault::Refused,
            Fault::Landed => SendFault::Landed,
            Fault::Lost => SendFault::Lost,
            Fault::LandsLate => SendFault::LandsLate,
            _ => SendFault::Silent,
        };
        world.store.fail_sends(stream, sends, fate);
        self.planned.insert(stream, (fault, sends));
    }

    /// Counts what struck of the planned faults.
    fn clear_sends(&mut self, stream: StreamIndex, world: &World) {
        let Some((fault, sends)) = self.planned.remove(&stream) else { return };
        let struck = sends - world.store.clear_send_faults(stream);
        let mut state = world.lock();
        state.coverage.count(fault.name(), struck as u64);
        let ambiguous = match fault {
            Fault::Landed | Fault::Silent => "ambiguous send: landed",
            Fault::Lost | Fault::LandsLate => "ambiguous send: not landed",
            _ => return,
        };
        state.coverage.count(ambiguous, struck as u64);
    }

    fn land(&mut self, store: &MemoryStore, stream: StreamIndex) -> bool {
        let before = store.log(stream).len();
        let landed = store.land_late_unchecked(stream);
        let log = store.log(stream);
        self.injected.extend(log[before..].iter().map(|entry| (stream, entry.epoch, entry.id)));
        landed > 0
    }
}

/// Whether a fault is counted where it strikes, not where it is planned.
pub(super) fn counts_itself(fault: Fault) -> bool {
    matches!(fault, Fault::Refused | Fault::Landed | Fault::Lost | Fault::LandsLate | Fault::Silent)
}

/// A payload that no node of the run sent.
fn odd_payload(fault: Fault, stream_count: NonZeroU16, random: &mut Rng) -> Bytes {
    let ours = layout(stream_count);
    let mut messages = Vec::new();
    frame::encode_message(&mut messages, "c0", b"nobody published this", &[]);
    let head = FrameHead {
        app: if fault == Fault::ForeignApp { !ours.app } else { ours.app },
        stream_count: stream_count.get() + u16::from(fault == Fault::OtherLayout),
        node: NodeId(u128::from(random.u64(..)) << 32),
        number: 1,
        after: 0,
        sent_at_micros: 0,
    };
    let mut bytes = frame::seal(&head, 1, &messages).to_vec();
    match fault {
        Fault::Garbage => bytes = b"*not a frame*".to_vec(),
        Fault::NewerVersion => bytes[2] = frame::FRAME_VERSION + 1,
        Fault::BadChecksum => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
        _ => {}
    }
    bytes.into()
}
