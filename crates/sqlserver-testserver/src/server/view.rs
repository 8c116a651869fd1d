//! What tests see of a server.

use bytes::Bytes;

use super::{TestServer, builder::PASSWORD};
use crate::{faults::is_named, store::Schema, tls::Tls};

/// A row of a message table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedMessage {
    /// Counts the rows of its stream for ever.
    pub seq: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its id there; 0 in the row that opens the epoch.
    pub id: u64,
    /// When it was appended, in microseconds since 1970.
    pub at: u64,
    /// What was sent.
    pub payload: Bytes,
}

impl TestServer {
    /// A URL by which nodes of `app` get in.
    pub fn url(&self, app: &str) -> String {
        let encrypt = match self.shared.settings.tls {
            Tls::Unsupported => "&encrypt=not_supported",
            Tls::Offered(_) | Tls::Required(_) => "",
        };
        format!(
            "sqlserver://{}:{PASSWORD}@127.0.0.1:{}/{}?app={app}{encrypt}",
            self.user(),
            self.port(),
            self.database()
        )
    }

    /// Who gets in.
    pub fn user(&self) -> &str {
        &self.shared.settings.user
    }

    /// The password of the [user](Self::user).
    pub fn password(&self) -> &str {
        &self.shared.settings.password
    }

    /// The name of the only database.
    pub fn database(&self) -> String {
        self.shared.state().store.database.clone()
    }

    /// How many connections are logged in.
    pub fn connections(&self) -> usize {
        self.shared.state().sessions.len()
    }

    /// Ends of conversations that are not closed, of all schemas; each listener that is registered has two.
    pub fn conversations(&self) -> usize {
        self.shared.state().store.broker.all_conversations()
    }

    /// Messages of the broker that could not be delivered yet, of all schemas.
    pub fn undelivered(&self) -> usize {
        let store = &self.shared.state().store;
        store.schemas.keys().map(|schema| store.broker.undelivered(schema).0).sum()
    }

    /// Rows in the table `listeners` of all schemas.
    pub fn listeners(&self) -> usize {
        self.shared.state().store.schemas.values().map(|schema| schema.listeners.len()).sum()
    }

    /// How many of the [listeners](Self::listeners) want to be rung.
    pub fn armed(&self) -> usize {
        let store = &self.shared.state().store;
        let listeners = store.schemas.values().flat_map(|schema| schema.listeners.values());
        listeners.filter(|listener| listener.armed).count()
    }

    /// How many requests have arrived since the server began, calls and batches.
    pub fn requests(&self) -> usize {
        self.shared.state().requests.values().sum()
    }

    /// How often a procedure was called; `publish` stands for all `publish_<n>`, and `batch` for everything that is
    /// not a call.
    pub fn requests_of(&self, procedure: &str) -> usize {
        let requests = &self.shared.state().requests;
        requests.iter().filter(|(name, _)| is_named(name, procedure)).map(|(_, count)| count).sum()
    }

    /// The rows of a message table, oldest first; none where it is not there.
    pub fn log(&self, schema: &str, stream: usize) -> Vec<LoggedMessage> {
        let state = self.shared.state();
        let stream = state.store.schemas.get(schema).and_then(|schema| schema.streams.get(stream));
        let rows = stream.into_iter().flat_map(|stream| &stream.rows);
        rows.map(|row| LoggedMessage {
            seq: row.seq.unsigned_abs(),
            epoch: row.epoch.unsigned_abs(),
            id: row.id.unsigned_abs(),
            at: row.at.unsigned_abs(),
            payload: row.payload.clone(),
        })
        .collect()
    }

    /// The rows of the table `senders`: stream, node and last number.
    pub fn senders(&self, schema: &str) -> Vec<(usize, [u8; 16], u64)> {
        let state = self.shared.state();
        let senders = state.store.schemas.get(schema).into_iter().flat_map(|schema| &schema.senders);
        senders.map(|((stream, node), row)| (*stream, *node, row.last_number.unsigned_abs())).collect()
    }

    /// The epoch of a schema, `None` where nothing is installed there.
    pub fn epoch(&self, schema: &str) -> Option<u64> {
        let state = self.shared.state();
        let layout = state.store.schemas.get(schema)?.layout.as_ref()?;
        Some(layout.epoch.unsigned_abs())
    }

    /// How many message tables a schema has.
    pub fn table_count(&self, schema: &str) -> usize {
        self.shared.state().store.schemas.get(schema).map_or(0, |schema| schema.streams.len())
    }

    /// The names of the objects of a schema.
    pub fn objects(&self, schema: &str) -> Vec<String> {
        let state = self.shared.state();
        let objects = state.store.schemas.get(schema).map(|schema| schema.objects.keys().cloned().collect());
        objects.unwrap_or_default()
    }

    /// The names of the schemas that have objects.
    pub fn schemas(&self) -> Vec<String> {
        let store = &self.shared.state().store;
        let with_objects = |(_, schema): &(&String, &Schema)| !schema.objects.is_empty();
        store.schemas.iter().filter(with_objects).map(|(name, _)| name.clone()).collect()
    }
}
