//! What the orchestrator says to a node process, a line of JSON each, and what that answers.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The first line: what the node is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Its place among all nodes of the run; the ids of its publishes follow from it.
    pub(crate) number: usize,
    /// The machine's monotonic clock when the run began.
    pub(crate) began: u64,
    pub(crate) journal: PathBuf,
    /// The URL or connection string of the store.
    pub(crate) store: String,
    pub(crate) ring_bytes: usize,
    pub(crate) on_demand: bool,
    /// Tells its clients nothing of every so many messages: a fault that the checker must find.
    pub(crate) swallow: Option<u64>,
}

/// How many ids of publishes a node has.
pub(crate) const IDS: usize = 1 << 32;

impl Setup {
    /// The id of its first publish.
    pub(crate) fn first_id(&self) -> usize {
        self.number * IDS
    }
}

/// What a node is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    /// A client begins here, or goes on from a cursor.
    Join {
        client: usize,
        stay: u32,
        channels: Vec<String>,
        cursor: Option<String>,
    },
    /// A client goes elsewhere; the answer has its cursor.
    Leave {
        client: usize,
    },
    /// A client reads nothing more, or goes on.
    Pause {
        client: usize,
        paused: bool,
    },
    /// What the store sends is not looked at, or again.
    Hold {
        held: bool,
    },
    /// Messages are published from now on.
    Traffic {
        channels: Vec<String>,
        rate: u32,
        len: usize,
    },
    Status,
    /// Ends the traffic, and waits until all publishes are resolved.
    Stop,
    /// Closes the bus, writes the end of the journal, and exits.
    Finish,
}

/// What a node answers; the first answer is to its setup.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// What went wrong.
    pub(crate) error: Option<String>,
    pub(crate) node: String,
    pub(crate) cursor: Option<String>,
    pub(crate) status: Option<Status>,
}

/// How a node is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// For each stream whether it is up.
    pub(crate) up: Vec<bool>,
    /// One above the id of the newest publish.
    pub(crate) next_id: usize,
    pub(crate) unresolved: usize,
    /// For each client that is here, the newest publish that it got of each node.
    pub(crate) newest: BTreeMap<usize, BTreeMap<String, usize>>,
    /// Where the clients stand.
    pub(crate) cursors: BTreeMap<usize, String>,
}
