//! The server as tests have it: [`TestServer`].

mod builder;
mod view;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, sleep},
};

pub use self::{builder::TestServerBuilder, view::LoggedMessage};
use crate::{faults::Fate, port::Port, session, shared::Shared, store::Object};

/// Between two tries to listen.
const POLL: Duration = Duration::from_millis(20);

/// How long the port of a server that starts again may be somebody else's.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server on a free port of 127.0.0.1; ends when it is dropped.
///
/// Everything that it holds stays over [`stop`](Self::stop) and [`start`](Self::start).
#[derive(Debug)]
pub struct TestServer {
    port: Port,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl TestServer {
    /// What a server is to be like.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::default()
    }

    /// A server without TLS, with the broker on.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn launch() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Listens again, with all that it held.
    ///
    /// # Errors
    /// Where another process took the port meanwhile.
    pub async fn start(&self) -> io::Result<()> {
        let mut listening = self.listening.lock().await;
        if listening.is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(self.address()).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(POLL).await;
                }
                outcome => break outcome?,
            }
        };
        *listening = Some(tokio::spawn(listen(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Refuses new connections and breaks those that there are, until [`start`](Self::start).
    pub async fn stop(&self) {
        if let Some(task) = self.listening.lock().await.take() {
            task.abort();
            // The listener is closed only when the task is gone.
            let _ = task.await;
        }
        self.shared.cut_all();
    }

    /// Breaks all connections; new ones can be made at once. Requests that have arrived are done all the same.
    pub fn cut_all(&self) {
        self.shared.cut_all();
    }

    /// Goes away and is back at once, as the same copy of the database with all that it held.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        self.start().await
    }

    /// Answers nothing more, until [`thaw`](Self::thaw); connections stay open and can be made.
    pub fn freeze(&self) {
        self.shared.freeze(true);
    }

    /// Ends a [`freeze`](Self::freeze): what arrived meanwhile is done and answered.
    pub fn thaw(&self) {
        self.shared.freeze(false);
    }

    /// Makes every request take so much longer: half of it before it is done, half of it before the answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.state().faults.latency = latency;
    }

    /// The next `count` publishes are rolled back, as victims of deadlocks (1205).
    pub fn deadlocks(&self, count: usize) {
        self.shared.state().faults.deadlocks = count;
    }

    /// The next `count` requests are turned away, in turn with 10928, 49918 and 40501; connections end with the first and
    /// the last of these numbers, as they do at Azure SQL Database.
    pub fn throttle(&self, count: usize) {
        self.shared.state().faults.throttled = count;
    }

    /// Whether every login fails (18456), whatever its password; connections that are logged in stay so.
    pub fn refuse_logins(&self, refuse: bool) {
        self.shared.state().faults.refuses_logins = refuse;
    }

    /// Sends logins to another host and port, as Azure SQL Database does with its redirection; `None` ends that.
    pub fn route_logins(&self, target: Option<(&str, u16)>) {
        self.shared.state().faults.routing = target.map(|(host, port)| (host.to_owned(), port));
    }

    /// Lets `fate` meet the next publish on stream 0 of any schema.
    pub fn next_publish(&self, fate: Fate) {
        self.shared.state().faults.fate = Some(fate);
    }

    /// Whether the [`next_publish`](Self::next_publish) did not come yet.
    pub fn is_fate_pending(&self) -> bool {
        self.shared.state().faults.fate.is_some()
    }

    /// Waits until [`Fate::Delay`] has met a publish.
    pub async fn wait_held(&self) {
        self.shared.wait_held().await;
    }

    /// Does what [`Fate::Delay`] holds, and waits until that is done; `false` where nothing is held.
    pub async fn release(&self) -> bool {
        self.shared.release().await
    }

    /// Nobody may execute the procedure any more (229), until [`allow`](Self::allow); `publish` stands for all `publish_<n>`.
    pub fn deny(&self, procedure: &str) {
        self.shared.state().faults.denied.insert(procedure.to_owned());
    }

    /// Ends a [`deny`](Self::deny).
    pub fn allow(&self, procedure: &str) {
        self.shared.state().faults.denied.remove(procedure);
    }

    /// The user has no such permission any more: `CREATE TABLE` (also `SCHEMA`, `PROCEDURE`, `FUNCTION`, `QUEUE` and
    /// `SERVICE`; 262), `EXECUTE` (229), `ALTER`, without which nothing is dropped (3701) and no broker turned on (5011). Others
    /// are only told to who asks. Until [`grant`](Self::grant).
    pub fn revoke(&self, permission: &str) {
        self.shared.state().faults.without.insert(permission.to_owned());
    }

    /// Ends a [`revoke`](Self::revoke).
    pub fn grant(&self, permission: &str) {
        self.shared.state().faults.without.remove(permission);
    }

    /// The server is one that does not know such a view, column or function: batches whose text has it are refused (208), until
    /// [`know`](Self::know).
    pub fn lack(&self, what: &str) {
        self.shared.state().faults.unknown.insert(what.to_owned());
    }

    /// Ends a [`lack`](Self::lack).
    pub fn know(&self, what: &str) {
        self.shared.state().faults.unknown.remove(what);
    }

    /// Batches whose text has this in it are not answered, until their clients give them up.
    pub fn stall(&self, what: &str) {
        self.shared.state().faults.stalled.insert(what.to_owned());
    }

    /// Whether tables are not seen in the catalogue, as for a user who may execute procedures and nothing else.
    pub fn hide_tables(&self, hide: bool) {
        self.shared.state().faults.hides_tables = hide;
    }

    /// Makes the server's clock wrong, to whoever asks it what time it is; what it writes down is of the right time.
    pub fn set_clock(&self, ahead: Duration, is_behind: bool) {
        let by = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX);
        self.shared.state().faults.clock_ahead = if is_behind { -by } else { by };
    }

    /// Sets `READ_COMMITTED_SNAPSHOT`, which changes nothing but what is told of it.
    pub fn set_row_versions(&self, on: bool) {
        self.shared.state().faults.locks_readers = !on;
    }

    /// Makes a table of somebody else's, of a name that may be one of ours.
    pub fn occupy(&self, schema: &str, table: &str) {
        let store = &mut self.shared.state().store;
        store.schemas.entry(schema.into()).or_default().objects.insert(table.into(), Object::Foreign);
    }

    /// Makes a type of somebody else's, of a name that nothing else in the schema has.
    pub fn occupy_by_type(&self, schema: &str, name: &str) {
        let store = &mut self.shared.state().store;
        store.schemas.entry(schema.into()).or_default().objects.insert(name.into(), Object::ForeignType);
    }

    /// Sets `is_broker_enabled`; while it is 0, rings do not arrive and waits run out.
    pub fn set_broker(&self, enabled: bool) {
        self.shared.state().store.broker.set_enabled(enabled);
        self.shared.something_changed();
    }

    /// Turns the queue "ears" of every schema on or off; while it is off, waits fail at once (9617) and rings do not arrive.
    pub fn set_queue(&self, on: bool) {
        let mut state = self.shared.state();
        let schemas: Vec<String> = state.store.schemas.keys().cloned().collect();
        for schema in schemas {
            state.store.broker.set_queue(&schema, "ears", on);
        }
        drop(state);
        self.shared.something_changed();
    }

    /// Every conversation comes to the end of its lifetime: waits end, and nodes have to register again.
    pub fn end_conversations(&self) {
        self.shared.state().store.broker.end_lifetimes();
        self.shared.something_changed();
    }

    /// Another copy of the database takes over, which never got the last `forgotten` messages of each stream: it has another
    /// identity, what `senders` and `epochs` say of those messages is undone, and all connections break. Requests that had arrived and were
    /// not done yet never are.
    pub fn fail_over(&self, forgotten: usize) {
        {
            let mut state = self.shared.state();
            state.forsake_sessions();
            state.store.copy += 1;
            state.store.forget_last(forgotten);
        }
        self.shared.cut_all();
    }

    /// As [`fail_over`](Self::fail_over), but the copy says that it is the same as before, as a database does that was restored
    /// in its place.
    pub fn roll_back(&self, forgotten: usize) {
        {
            let mut state = self.shared.state();
            state.forsake_sessions();
            state.store.forget_last(forgotten);
        }
        self.shared.cut_all();
    }

    /// Drops all objects of a schema with their rows and conversations, and the schema.
    pub fn flush(&self, schema: &str) {
        let store = &mut self.shared.state().store;
        store.schemas.remove(schema);
        store.broker.forget(schema);
        self.shared.something_changed();
    }

    /// Deletes all messages of every stream but the last `keep`, as retention does.
    pub fn trim(&self, keep: usize) {
        self.shared.state().store.schemas.values_mut().for_each(|schema| schema.keep_last(keep));
    }

    /// Makes the leases of listeners, and what is known of senders, look so much older. Conversations of listeners that are
    /// too old stay until somebody calls the janitor.
    pub fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        for schema in self.shared.state().store.schemas.values_mut() {
            let listeners = schema.listeners.values_mut().map(|listener| &mut listener.seen_at);
            let senders = schema.senders.values_mut().map(|sender| &mut sender.seen_at);
            listeners.chain(senders).for_each(|seen_at| *seen_at = seen_at.saturating_sub(by));
        }
    }

    /// Makes all messages look so much older, so that retention by age finds them.
    pub fn age_messages(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        for schema in self.shared.state().store.schemas.values_mut() {
            let rows = schema.streams.iter_mut().flat_map(|stream| &mut stream.rows);
            rows.for_each(|row| row.at = row.at.saturating_sub(by));
        }
    }

    /// Sets the versions in the layout row of a schema; `false` where nothing is installed there.
    pub fn set_version(&self, schema: &str, schema_version: u32, compatible_from: u32) -> bool {
        let mut state = self.shared.state();
        let layout = state.store.schemas.get_mut(schema).and_then(|schema| schema.layout.as_mut());
        let Some(layout) = layout else { return false };
        layout.schema_version = schema_version.into();
        layout.compatible_from = compatible_from.into();
        true
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(task) = self.listening.get_mut().take() {
            task.abort();
        }
        self.shared.cut_all();
    }
}

/// Connections outlive the listener: refusing new ones leaves them alone.
async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // The process is short of file descriptors, and may have some a little later.
            sleep(POLL).await;
            continue;
        };
        tokio::spawn(session::serve(client, Arc::clone(&shared)));
    }
}
