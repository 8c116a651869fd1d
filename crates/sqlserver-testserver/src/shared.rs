//! What the server, its connections and the requests under way have in common: [`Shared`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    faults::Faults,
    store::{SessionId, Store},
    tls::Tls,
};

/// What is settled when the server starts.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) user: String,
    pub(crate) password: String,
    /// Who has it gets in as well.
    pub(crate) access_token: Option<String>,
    /// As `SERVERPROPERTY('EngineEdition')`: 5 is Azure SQL Database, which knows no broker.
    pub(crate) edition: i64,
    /// As `SERVERPROPERTY('ProductVersion')`.
    pub(crate) version: String,
    /// The version of Babelfish that it says it is.
    pub(crate) babelfish: Option<String>,
    pub(crate) tls: Tls,
}

/// The first one that is not the server's own.
const FIRST_SESSION: SessionId = 51;

/// Lives as long as anything of the server does.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    state: Mutex<State>,
    /// Raised when a queue or a lock has changed: whoever waits for one looks again.
    changes: watch::Sender<u64>,
    /// Raised to break all connections.
    cuts: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
    /// Raised to let go what is held.
    releases: watch::Sender<u64>,
    /// Publishes that are held.
    held: watch::Sender<usize>,
}

/// What is behind the lock; whoever holds it has the database to himself.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) faults: Faults,
    /// Connections that are logged in.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// Those with a request under way.
    running: BTreeSet<SessionId>,
    next_session: SessionId,
    /// Older connections are those of a copy of the database that is no more: what arrived over them dies with it.
    first_session: SessionId,
    /// Connections that said `SET NOEXEC ON`: their statements are only read.
    pub(crate) reading: BTreeSet<SessionId>,
    /// How often each procedure was called; batches are all one.
    pub(crate) requests: BTreeMap<String, usize>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, store: Store) -> Arc<Self> {
        let state = State {
            store,
            faults: Faults::default(),
            sessions: BTreeSet::new(),
            running: BTreeSet::new(),
            reading: BTreeSet::new(),
            next_session: FIRST_SESSION,
            first_session: FIRST_SESSION,
            requests: BTreeMap::new(),
        };
        Arc::new(Self {
            settings,
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
            releases: watch::Sender::new(0),
            held: watch::Sender::new(0),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A request that panics fails its test by itself; the others are to say what they see.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn something_changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    pub(crate) fn cut_all(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Waits while the server is frozen.
    pub(crate) async fn thawed(&self) {
        // `self` holds the sender, so the channel cannot be closed.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    /// Holds a publish back until [`release`](Self::release).
    pub(crate) async fn hold(self: &Arc<Self>) -> Held {
        let mut releases = self.releases.subscribe();
        self.held.send_modify(|held| *held += 1);
        let held = Held(Arc::clone(self));
        let _ = releases.changed().await;
        held
    }

    pub(crate) async fn wait_held(&self) {
        let _ = self.held.subscribe().wait_for(|held| *held > 0).await;
    }

    pub(crate) async fn release(&self) -> bool {
        let mut held = self.held.subscribe();
        let is_held = *held.borrow_and_update() > 0;
        self.releases.send_modify(|releases| *releases += 1);
        let _ = held.wait_for(|held| *held == 0).await;
        is_held
    }
}

/// A publish that is held; dropped when it is done.
#[derive(Debug)]
pub(crate) struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.send_modify(|held| *held -= 1);
    }
}

impl State {
    /// A new connection is logged in.
    pub(crate) fn begin_session(&mut self) -> SessionId {
        let session = self.next_session;
        self.next_session += 1;
        self.sessions.insert(session);
        session
    }

    /// A connection is gone: what it has not committed is forgotten, as soon as its request has ended.
    pub(crate) fn end_session(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.reading.remove(&session);
        if !self.running.contains(&session) {
            self.store.roll_back(session);
        }
    }

    /// The copy of the database that all connections are to is no more.
    pub(crate) fn forsake_sessions(&mut self) {
        self.first_session = self.next_session;
    }

    /// Whether a connection is one to a copy that is no more.
    pub(crate) fn is_forsaken(&self, session: SessionId) -> bool {
        session < self.first_session
    }

    pub(crate) fn begin_request(&mut self, session: SessionId, name: &str) {
        self.running.insert(session);
        *self.requests.entry(name.to_owned()).or_default() += 1;
    }

    pub(crate) fn end_request(&mut self, session: SessionId) {
        self.running.remove(&session);
        if !self.sessions.contains(&session) {
            self.store.roll_back(session);
        }
    }
}
