//! What the server holds: schemas with their objects and rows, locks, transactions and the broker: [`Store`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    broker::Broker,
    error::SqlError,
    objects::{Change, Transaction},
};

/// A connection, to the locks and transactions that it has.
pub(crate) type SessionId = u64;

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) database: String,
    pub(crate) schemas: BTreeMap<String, Schema>,
    pub(crate) broker: Broker,
    /// Of `sp_getapplock`, by resource.
    pub(crate) locks: BTreeMap<String, SessionId>,
    pub(crate) transactions: BTreeMap<SessionId, Transaction>,
    /// Raised when another copy of the database takes over.
    pub(crate) copy: u64,
    /// Raised when the database becomes an earlier one: what was on its way to the later one is lost.
    pub(crate) rewinds: u64,
    created: i64,
}

/// What is in one schema.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// By name.
    pub(crate) objects: BTreeMap<String, Object>,
    /// The row of `layout`.
    pub(crate) layout: Option<Layout>,
    /// By their number: the row of `streams`, and `messages_<n>`.
    pub(crate) streams: Vec<Stream>,
    /// By stream and epoch.
    pub(crate) epochs: BTreeMap<(usize, i64), EpochRow>,
    /// By stream and node.
    pub(crate) senders: BTreeMap<(usize, [u8; 16]), Sender>,
    pub(crate) listeners: BTreeMap<Uuid, Listener>,
}

/// An object of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Object {
    Table,
    /// A table that somebody else made.
    Foreign,
    /// A type that somebody else made; it has a place among the objects, under a name that none of these has.
    ForeignType,
    Function,
    Queue,
    /// With its parameters, as it was created.
    Procedure(Vec<Declared>),
}

/// A parameter of a procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Without `@`.
    pub(crate) name: String,
    /// In small letters: `bigint`, `binary(16)`.
    pub(crate) ty: String,
    /// `= NULL`: a call may leave it out.
    pub(crate) optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) schema_version: i64,
    pub(crate) compatible_from: i64,
    pub(crate) app: String,
    pub(crate) epoch: i64,
    pub(crate) store: String,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) epoch: i64,
    pub(crate) first_seq: i64,
    pub(crate) last_seq: i64,
    pub(crate) bytes: i64,
    /// Without holes, and never empty.
    pub(crate) rows: VecDeque<MessageRow>,
}

#[derive(Debug, Clone)]
pub(crate) struct MessageRow {
    pub(crate) seq: i64,
    pub(crate) epoch: i64,
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) bytes: i64,
    pub(crate) payload: Bytes,
    /// Who sent it, and the row of `senders` before; `None` in a row that opens an epoch.
    pub(crate) sent: Option<([u8; 16], Option<Sender>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct EpochRow {
    pub(crate) first_seq: i64,
    /// Epoch and id.
    pub(crate) after: Option<(i64, i64)>,
    /// What an undoing goes back to: the stream's last position before, and the layout's store. `None` in the first epoch.
    pub(crate) before: Option<Before>,
}

/// What was there before an epoch was opened.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) epoch: i64,
    pub(crate) id: i64,
    pub(crate) store: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) last_number: i64,
    pub(crate) seen_at: i64,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) armed: bool,
    pub(crate) streams: Option<Bytes>,
    pub(crate) ear: Uuid,
    pub(crate) bell: Option<Uuid>,
    pub(crate) seen_at: i64,
}

impl Store {
    pub(crate) fn new(database: String, broker: Broker) -> Self {
        Self {
            database,
            schemas: BTreeMap::new(),
            broker,
            locks: BTreeMap::new(),
            transactions: BTreeMap::new(),
            copy: 0,
            rewinds: 0,
            created: now(),
        }
    }

    /// As the function `store_identity` tells it.
    pub(crate) fn identity(&self) -> String {
        format!("TESTSERVER-{}/{}/{}", self.copy, self.database, self.created)
    }

    /// Undoes the last messages of each stream of every schema.
    pub(crate) fn forget_last(&mut self, forgotten: usize) {
        self.rewinds += 1;
        self.schemas.values_mut().for_each(|schema| schema.forget_last(forgotten));
    }

    /// The schema of a procedure that is there.
    pub(crate) fn schema(&mut self, name: &str) -> Result<&mut Schema, SqlError> {
        self.schemas.get_mut(name).ok_or_else(|| SqlError::no_object(name))
    }

    /// What the session would find under this name: what is committed, and what itself has done since it began a transaction.
    pub(crate) fn object(&self, session: SessionId, schema: &str, name: &str) -> Option<Object> {
        let mut found = self.schemas.get(schema).and_then(|schema| schema.objects.get(name)).cloned();
        for change in self.transactions.get(&session).iter().flat_map(|transaction| &transaction.changes) {
            match change {
                Change::Create { schema: s, name: n, object } if s == schema && n == name => {
                    found = Some(object.clone());
                }
                Change::Drop { schema: s, name: n } if s == schema && n == name => found = None,
                _ => (),
            }
        }
        found
    }

    pub(crate) fn has_schema(&self, session: SessionId, name: &str) -> bool {
        let mut found = self.schemas.contains_key(name);
        for change in self.transactions.get(&session).iter().flat_map(|transaction| &transaction.changes) {
            match change {
                Change::CreateSchema(created) if created == name => found = true,
                Change::DropSchema(dropped) if dropped == name => found = false,
                _ => (),
            }
        }
        found
    }

    pub(crate) fn has_service(&self, session: SessionId, name: &str) -> bool {
        let mut found = self.broker.services.contains_key(name);
        for change in self.transactions.get(&session).iter().flat_map(|transaction| &transaction.changes) {
            match change {
                Change::CreateService { name: created, .. } if created == name => found = true,
                Change::DropService(dropped) if dropped == name => found = false,
                _ => (),
            }
        }
        found
    }

    /// All services that the session would find.
    pub(crate) fn services(&self, session: SessionId) -> Vec<String> {
        let mut names: Vec<String> = self.broker.services.keys().cloned().collect();
        for change in self.transactions.get(&session).iter().flat_map(|transaction| &transaction.changes) {
            if let Change::CreateService { name, .. } = change {
                names.push(name.clone());
            }
        }
        names.retain(|name| self.has_service(session, name));
        names
    }

    /// All objects that the session would find, as schema, name and object.
    pub(crate) fn objects(&self, session: SessionId) -> Vec<(String, String, Object)> {
        let committed =
            self.schemas.iter().flat_map(|(schema, has)| has.objects.keys().map(move |name| (schema, name)));
        let changes =
            self.transactions.get(&session).into_iter().flat_map(|transaction| &transaction.changes);
        let created = changes.filter_map(|change| match change {
            Change::Create { schema, name, .. } => Some((schema, name)),
            _ => None,
        });
        let names: BTreeSet<(&String, &String)> = committed.chain(created).collect();
        names
            .into_iter()
            .filter_map(|(schema, name)| {
                Some((schema.clone(), name.clone(), self.object(session, schema, name)?))
            })
            .collect()
    }

    /// Forgets what the session has not committed, and its locks.
    pub(crate) fn roll_back(&mut self, session: SessionId) {
        self.transactions.remove(&session);
        self.locks.retain(|_, holder| *holder != session);
    }

    /// Commits what the session has done since it began its transaction, if it has one; frees its locks.
    pub(crate) fn commit(&mut self, session: SessionId) {
        let changes = self.transactions.remove(&session).map(|transaction| transaction.changes);
        self.locks.retain(|_, holder| *holder != session);
        for change in changes.into_iter().flatten() {
            self.apply(change);
        }
    }

    /// Does a change in the session's transaction, or at once where it has none.
    pub(crate) fn change(&mut self, session: SessionId, change: Change) {
        match self.transactions.get_mut(&session) {
            Some(transaction) => transaction.changes.push(change),
            None => self.apply(change),
        }
    }

    fn apply(&mut self, change: Change) {
        let identity = self.identity();
        match change {
            Change::CreateSchema(name) => {
                self.schemas.entry(name).or_default();
            }
            Change::DropSchema(name) => {
                self.schemas.remove(&name);
            }
            Change::Create { schema, name, object } => {
                self.schemas.entry(schema).or_default().objects.insert(name, object);
            }
            Change::Drop { schema, name } => {
                if let Some(schema) = self.schemas.get_mut(&schema) {
                    schema.forget(&name);
                }
            }
            Change::CreateService { name, schema, queue } => {
                self.broker.services.insert(name, (schema, queue));
            }
            Change::DropService(name) => self.broker.drop_service(&name),
            Change::DeleteListeners(schema) => {
                if let Some(schema) = self.schemas.get_mut(&schema) {
                    schema.listeners.clear();
                }
            }
            Change::Rows { schema, layout, table_count } => {
                self.schemas.entry(schema).or_default().fill(layout, table_count, identity);
            }
            Change::Versions { schema, schema_version, compatible_from } => {
                let layout = self.schemas.get_mut(&schema).and_then(|schema| schema.layout.as_mut());
                if let Some(layout) = layout {
                    layout.schema_version = schema_version;
                    layout.compatible_from = compatible_from;
                }
            }
        }
    }
}

impl Schema {
    pub(crate) fn layout(&mut self) -> Result<&mut Layout, SqlError> {
        self.layout.as_mut().ok_or_else(|| SqlError::no_object("layout"))
    }

    /// The rows of a fresh installation.
    fn fill(&mut self, layout: Layout, table_count: usize, identity: String) {
        let (epoch, at) = (now(), now());
        for stream in 0..table_count {
            let row = MessageRow { seq: 0, epoch, id: 0, at, bytes: 0, payload: Bytes::new(), sent: None };
            self.streams.push(Stream { epoch, first_seq: 0, last_seq: 0, bytes: 0, rows: [row].into() });
            self.epochs.insert((stream, epoch), EpochRow { first_seq: 0, after: None, before: None });
        }
        self.layout = Some(Layout { epoch, store: identity, ..layout });
    }

    /// An object is dropped, and what it holds where it is a table.
    fn forget(&mut self, name: &str) {
        self.objects.remove(name);
        match name {
            "layout" => self.layout = None,
            "streams" => self.streams.clear(),
            "epochs" => self.epochs.clear(),
            "senders" => self.senders.clear(),
            "listeners" => self.listeners.clear(),
            _ => (),
        }
    }
}

/// The server's clock, in microseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
