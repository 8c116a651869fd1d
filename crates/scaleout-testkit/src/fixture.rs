//! What a provider supplies to be tested: [`Fixture`].

mod memory;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use scaleout_core::{Backplane, BusBuilder, Capabilities, Epoch, PayloadId, StreamIndex};

pub use memory::MemoryFixture;

/// A fresh, isolated store, nodes of it, and the faults it can be put through.
///
/// Every case gets its own, so that cases run in parallel and leave nothing behind.
pub trait Fixture: Send + Sync {
    /// What the backplane is expected to be able to do.
    fn capabilities(&self) -> Capabilities;

    /// Whether this fixture must have what `need` says; a case that is skipped for it then fails.
    ///
    /// Asked for what [`capabilities`](Self::capabilities) does not say.
    fn expects(&self, need: Need) -> bool;

    /// How long an event may take before it counts as missing.
    fn patience(&self) -> Duration;

    /// A new node of the app, not yet connected.
    fn node(&self) -> Arc<dyn Backplane>;

    /// A new node of the app with a bus on top; cases give it settings of their own.
    fn bus(&self) -> BusBuilder;

    /// A new node of another app in the same store.
    fn node_of_another_app(&self) -> Arc<dyn Backplane>;

    /// A new node of the app that is set to another stream count; `None` where the store cannot hold the count.
    fn mismatched_node(&self) -> Option<Arc<dyn Backplane>>;

    /// Puts the store through `fault`; `false` where this fixture cannot.
    fn inject(&self, fault: Fault) -> BoxFuture<'_, bool>;

    /// How many registrations of nodes (listeners, subscriptions) the store has; `None` where nobody can tell.
    fn registrations(&self) -> BoxFuture<'_, Option<usize>>;

    /// What the store holds of a stream, oldest first; `None` where nobody can tell.
    fn log(&self, stream: StreamIndex) -> BoxFuture<'_, Option<Vec<Held>>>;

    /// Removes what the fixture made. Called when a case has passed; the fixture is not used afterwards.
    fn clean_up(&self) -> BoxFuture<'_, ()>;
}

/// One payload of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its epoch.
    pub epoch: Epoch,
    /// Its id there.
    pub id: PayloadId,
    /// What was sent; empty where a provider appended it for itself.
    pub bytes: Bytes,
}

/// What a store can be put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The store answers nobody, until [`Fault::Restored`].
    Outage,
    /// The store is back, with all that it held.
    Restored,
    /// Every open link breaks once; new ones can be made.
    CutLinks,
    /// The store forgets everything.
    Flush,
    /// Another server takes over that never got the last [`FORGOTTEN`] payloads of each stream.
    Failover,
    /// A restart that could have forgotten payloads, and did not.
    Restart,
    /// The next send on stream 0 lands, and fails with a transient error all the same.
    LoseAnswer,
    /// The next send on stream 0 does not land, and fails with a transient error.
    LoseSend,
    /// The next send on stream 0 fails with a time-out, and is still on its way, until [`Fault::Arrival`].
    DelaySend,
    /// What [`Fault::DelaySend`] delayed arrives at the store.
    Arrival,
    /// Retention drops all payloads of each stream but the last [`RETAINED`].
    Trim,
    /// The store refuses everybody's credentials, until [`Fault::Accept`].
    Refuse,
    /// The store accepts the credentials again.
    Accept,
    /// As much time passes as a store needs to give up what dead nodes registered.
    Aging,
}

/// Payloads that each stream loses in a [`Fault::Failover`].
pub const FORGOTTEN: usize = 2;

/// Payloads that each stream has left after a [`Fault::Trim`].
pub const RETAINED: usize = 3;

/// What a case may need of a fixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// [`Capabilities::replay`].
    Replay,
    /// [`Capabilities::dense_ids`].
    DenseIds,
    /// [`Capabilities::asks_held`].
    AsksHeld,
    /// More than one stream.
    Streams,
    /// A fault.
    Fault(Fault),
    /// [`Fixture::mismatched_node`].
    MismatchedNode,
    /// [`Fixture::registrations`].
    Registrations,
    /// [`Fixture::log`].
    Log,
    /// An answer of [`Backplane::retained`].
    Retained,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replay => f.write_str("a store that replays"),
            Self::DenseIds => f.write_str("ids without holes"),
            Self::AsksHeld => f.write_str("a store that can be asked what it holds"),
            Self::Streams => f.write_str("more than one stream"),
            Self::Fault(fault) => write!(f, "the fault {fault:?}"),
            Self::MismatchedNode => f.write_str("a store that holds the stream count"),
            Self::Registrations => f.write_str("a count of the store's registrations"),
            Self::Log => f.write_str("a view of what the store holds"),
            Self::Retained => f.write_str("a store that tells what it retains"),
        }
    }
}
