//! The seam between the bus and a store: [`Backplane`] and its contract.
//!
//! Providers move opaque payloads; everything clever happens once, above them. One idea carries order, no
//! duplicates, repair and loss detection: **frames are numbered per (node, stream), one send is outstanding per
//! stream, and the store remembers the last number it holds of each node.**
//!
//! # The contract
//!
//! Every rule is a case of the conformance suite in `scaleout-testkit`.
//!
//!  1. Construction does no I/O; [`receive`](Backplane::receive) connects, reconnects for ever with capped,
//!     jittered back-off, and its stream ends only at [`close`](Backplane::close).
//!  2. Bytes (never empty ones) arrive unchanged, up to [`Capabilities::max_payload_bytes`]; a larger payload fails
//!     with [`PayloadTooLarge`](crate::ErrorKind::PayloadTooLarge), and nothing was sent.
//!  3. Ids on a stream strictly increase within an epoch; `(epoch, id)` names one payload for ever, on all nodes,
//!     whatever happens to the store, and never comes out twice; with [`Capabilities::dense_ids`] ids have no holes
//!     and begin at 0 in every epoch.
//!  4. All nodes see one order per stream and epoch, also with many concurrent senders, and a node receives its own
//!     payloads.
//!  5. The bus has one send outstanding per stream, and what a stream holds of one node is in the order of its frame
//!     numbers (a frame given up may land late: receivers drop it).
//!  6. [`Event::Opened`] comes first, after every reconnect, and whenever the epoch changes, before the first payload
//!     of that epoch; [`Event::Faulted`] comes once for every failed attempt.
//!  7. With [`Capabilities::replay`], [`Start::Backlog`] yields the last n retained payloads, then the live ones,
//!     once, in order, with no hole between; payloads of earlier epochs that the store still has are part of it, each
//!     epoch behind its own `Opened`; retention never drops the newest payload of a stream, so that `head` can be
//!     reached, and what [`retained`](Backplane::retained) tells, where it does, is of the newest epoch and there;
//!     after a reconnect reception goes on where it stood; a node may drop a reception and begin another one of the
//!     stream, which knows nothing of the first.
//!  8. A store that may have lost or replaced payloads (another server, a restart that can forget, failover, flush,
//!     restore, re-creation) shows as a new, greater epoch, which exactly one node opens before its first append and
//!     its first payload; the store refuses appends of an older epoch and records what the new one continues.
//!  9. [`send`](Backplane::send) is idempotent: after `Ok` the payload is in the store, once; after a transient error,
//!     or when its future is dropped, it may be, and the same [`FrameId`] sent again adds nothing if it is, and answers
//!     `Ok`; a number up to the greatest one held adds nothing and answers `Ok`; an `after` beyond the greatest one
//!     held adds nothing and fails with [`Rewound`](crate::ErrorKind::Rewound), every time until `after` is lowered.
//! 10. Streams are independent, a slow receiver disturbs nobody, and memory stays bounded.
//! 11. All nodes of an app agree on stream count and layout; where the store can hold it, a node that differs is
//!     refused before it sends.
//! 12. Two apps in one store never meet.
//! 13. `close` releases what the node registered, and a node that dies without it leaves nothing that lives for ever.
//! 14. A fatal error (wrong password, no permission, unsupported server, layout) comes out as `Faulted` with an error
//!     that [`is_fatal`](crate::Error::is_fatal), and is tried again once a minute, since secrets are rotated and grants are given.
//! 15. An empty payload carries nothing and has no frame number: receivers take its id and ignore it; providers may
//!     append one, and `send` of an empty payload with number 0 is a *probe* that connects, makes the checks of rules
//!     8, 9 and 14, and adds nothing.

use std::{fmt, num::NonZeroU16};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::{Epoch, Error, FrameId, PayloadId, StreamIndex};

/// A shared log between nodes: N ordered streams of opaque payloads. The [module](self) holds the contract.
pub trait Backplane: fmt::Debug + Send + Sync + 'static {
    /// How many streams there are, the same on all nodes.
    fn stream_count(&self) -> NonZeroU16;

    /// What this backplane can do, as configured; checked against the store when it connects.
    fn capabilities(&self) -> Capabilities;

    /// Appends `payload` to `stream`, or does nothing if the store holds that frame already (rule 9).
    ///
    /// # Errors
    /// [`PayloadTooLarge`](crate::ErrorKind::PayloadTooLarge) and [`Rewound`](crate::ErrorKind::Rewound): nothing was added.
    /// [`Unconfirmed`](crate::ErrorKind::Unconfirmed): nothing was added now, an earlier attempt may have, and sending the
    /// frame again could add it twice, so that it has to be given up.
    /// A [transient](Error::is_transient) or [fatal](Error::is_fatal) error: it may have been.
    /// [`Closed`](crate::ErrorKind::Closed) after `close`.
    ///
    /// # Cancel safety
    /// When the future is dropped the payload may be in the store; sending the same frame again is safe.
    fn send(&self, stream: StreamIndex, frame: FrameId, payload: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// Receives a stream from `start` on, for ever; dropping the returned stream ends the reception.
    ///
    /// A node may receive a stream again after that, from a `start` of its own (rule 7).
    fn receive(&self, stream: StreamIndex, start: Start) -> BoxStream<'static, Event>;

    /// What the store retains of a stream now; `None` where it cannot be told.
    ///
    /// It is asked rarely, and never while nothing happens: by whoever wants to know how far a node is
    /// [behind](crate::Bus::lag).
    ///
    /// # Errors
    /// A [transient](Error::is_transient) or [fatal](Error::is_fatal) error: the store could not be asked.
    fn retained(&self, stream: StreamIndex) -> BoxFuture<'_, Result<Option<Retained>, Error>> {
        let _ = stream;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Ends every reception and releases what this node registered in the store.
    ///
    /// # Errors
    /// What could not be released. The backplane is closed all the same.
    fn close(&self) -> BoxFuture<'_, Result<(), Error>>;
}

/// Where a reception begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what is appended from now on.
    Latest,
    /// With the last `payloads` that the store retains (rule 7); as `Latest` without [`Capabilities::replay`].
    Backlog {
        /// How many payloads at most.
        payloads: usize,
    },
}

/// What a reception yields.
#[derive(Debug, Clone)]
pub enum Event {
    /// The link is open; what follows is of `epoch` (rule 6).
    Opened {
        /// The history that the following payloads belong to.
        epoch: Epoch,
        /// The last position of the earlier history that `epoch` continues; `None`: nothing, or not known.
        after: Option<(Epoch, PayloadId)>,
        /// The store's newest epoch, and its last id at this moment (`None`: it has no payload yet).
        head: (Epoch, Option<PayloadId>),
        /// `false`: payloads may be missing which neither ids nor replay will show.
        ///
        /// Without [`Capabilities::replay`], what follows then lies behind `head`.
        unbroken: bool,
    },
    /// A payload, in the order of the store.
    Payload {
        /// Its id in the epoch of the last `Opened`.
        id: PayloadId,
        /// The bytes that were sent; empty ones carry nothing (rule 15).
        bytes: Bytes,
    },
    /// An attempt to connect, or a link, failed; the next attempt follows by itself.
    Faulted(Error),
}

/// What a store retains of a stream. Where a store opens an epoch by an entry of its own, that is no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// Its newest epoch.
    pub epoch: Epoch,
    /// The oldest payload of that epoch that is still there; `None` where there is none.
    pub first: Option<PayloadId>,
    /// The newest payload of that epoch; `None` where there was none yet.
    pub last: Option<PayloadId>,
}

/// What a backplane can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The largest payload, in bytes. Defaults to 1 MiB.
    pub max_payload_bytes: usize,
    /// Whether the store yields payloads that were appended before the reception began. Defaults to `false`.
    pub replay: bool,
    /// Whether ids have no holes and begin at 0 in every epoch. Defaults to `false`.
    pub dense_ids: bool,
    /// Whether the store can be asked which frames of a node it holds (rule 9). Defaults to `false`.
    pub asks_held: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { max_payload_bytes: 1 << 20, replay: false, dense_ids: false, asks_held: false }
    }
}

impl Capabilities {
    /// Sets [`max_payload_bytes`](Self::max_payload_bytes).
    #[must_use]
    pub fn with_max_payload_bytes(mut self, bytes: usize) -> Self {
        self.max_payload_bytes = bytes;
        self
    }

    /// Sets [`replay`](Self::replay).
    #[must_use]
    pub fn with_replay(mut self, replay: bool) -> Self {
        self.replay = replay;
        self
    }

    /// Sets [`dense_ids`](Self::dense_ids).
    #[must_use]
    pub fn with_dense_ids(mut self, dense: bool) -> Self {
        self.dense_ids = dense;
        self
    }

    /// Sets [`asks_held`](Self::asks_held).
    #[must_use]
    pub fn with_asks_held(mut self, asks: bool) -> Self {
        self.asks_held = asks;
        self
    }
}
