//! What an installation does to the objects of the database, done when it is committed: [`Change`].

use crate::store::{Layout, Object};

/// What a session has done and not committed.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) changes: Vec<Change>,
}

/// One step of an installation or of its removal.
#[derive(Debug)]
pub(crate) enum Change {
    CreateSchema(String),
    DropSchema(String),
    Create {
        schema: String,
        name: String,
        object: Object,
    },
    Drop {
        schema: String,
        name: String,
    },
    CreateService {
        name: String,
        schema: String,
        queue: String,
    },
    DropService(String),
    DeleteListeners(String),
    /// The layout row and the first epoch of every stream; `epoch` and `store` of the layout are set by the commit.
    Rows {
        schema: String,
        layout: Layout,
        table_count: usize,
    },
    Versions {
        schema: String,
        schema_version: i64,
        compatible_from: i64,
    },
}
