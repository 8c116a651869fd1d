//! The T-SQL of the backplane, rendered for one app.
//!
//! All of it lies in `sql/`, one file per object, and nothing is put together at run time but names and numbers.

mod files;
mod render;
mod script;

use std::time::Duration;

use crate::config::SqlServerConfig;

pub(crate) use self::render::identifier;
pub use self::script::Script;
use self::{files::File, render::Values};

/// The version of the objects that this crate makes and works with.
pub(crate) const SCHEMA_VERSION: u64 = 1;

/// The oldest version of nodes that can work with these objects.
pub(crate) const COMPATIBLE_FROM: u64 = 1;

/// How long the script waits for a node that is installing; a node waits less and asks again.
const SCRIPT_LOCK_WAIT: Duration = Duration::from_secs(60);

/// What the texts are rendered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) app: String,
    pub(crate) schema: String,
    pub(crate) table_count: u16,
}

impl From<&SqlServerConfig> for Target {
    fn from(config: &SqlServerConfig) -> Self {
        Self {
            app: config.app.as_str().into(),
            schema: config.schema.clone(),
            table_count: config.table_count.get(),
        }
    }
}

/// The batches of the installer, each a text that is sent as it is (not by `sp_executesql`: the transaction and the
/// settings must outlive it).
impl Target {
    /// Opens the transaction, once no other node is installing; fails with 50020 after `lock_wait`.
    pub(crate) fn begin(&self, lock_wait: Duration) -> String {
        self.values().with_lock_wait(lock_wait).render(files::BEGIN)
    }

    /// One row, if there is a layout: (schema_version, compatible_from, app, table_count).
    pub(crate) fn probe(&self) -> String {
        self.values().render(files::PROBE)
    }

    /// A row for each object that is not there, or may not be used: (name, is_there).
    pub(crate) fn missing(&self) -> String {
        self.values().render(files::MISSING)
    }

    /// One row: (is_broker_enabled, edition, is_installed).
    pub(crate) fn doorbell_probe(&self) -> String {
        self.values().render(files::DOORBELL_PROBE)
    }

    /// Everything that polling needs, made or made anew, in order; between `begin` and `commit`.
    pub(crate) fn install(&self) -> Vec<String> {
        let tables = [File::once(files::SCHEMA)].into_iter().chain(files::TABLES);
        let upgrades = files::UPGRADES.into_iter();
        let procedures = [File::once(files::DROP)].into_iter().chain(files::PROCEDURES);
        self.all(tables.chain(upgrades).chain(procedures).chain([File::once(files::ROWS)]))
    }

    /// The doorbell, in order; after `install`, in the same transaction or one of its own.
    pub(crate) fn install_doorbell(&self) -> Vec<String> {
        self.all(files::DOORBELL)
    }

    /// One row: (version, edition by number, edition, version of Babelfish, user).
    pub(crate) fn server(&self) -> &'static str {
        files::SERVER
    }

    /// One row: (compatibility level, row versioning, delayed durability).
    pub(crate) fn database(&self) -> &'static str {
        files::DATABASE
    }

    /// One row: (microseconds since 1970).
    pub(crate) fn clock(&self) -> &'static str {
        files::CLOCK
    }

    /// A row for each permission: (on what, permission, may).
    pub(crate) fn permissions(&self) -> String {
        self.values().render(files::PERMISSIONS)
    }

    /// A row for each object of the schema, whoever made it: (name, type).
    pub(crate) fn contents(&self) -> String {
        self.values().render(files::CONTENTS)
    }

    /// A row for each table of the schema, whoever made it: (name, rows, bytes).
    pub(crate) fn sizes(&self) -> String {
        self.values().render(files::SIZES)
    }

    /// A row for each service: (name, ends of conversations).
    pub(crate) fn services(&self) -> String {
        self.values().render(files::SERVICES)
    }

    /// What removes everything, in order; between `begin` and `commit`, or by itself.
    pub(crate) fn uninstall(&self) -> Vec<String> {
        self.all([files::UNINSTALL_DOORBELL, files::UNINSTALL].map(File::once))
    }

    /// Ends the transaction.
    pub(crate) fn commit(&self) -> &'static str {
        files::COMMIT
    }

    /// Ends the transaction as if it had not been, if there is one.
    pub(crate) fn rollback(&self) -> &'static str {
        files::ROLLBACK
    }

    /// Turns Service Broker on; outside of a transaction.
    pub(crate) fn enable_broker(&self) -> &'static str {
        files::ENABLE_BROKER
    }

    fn values(&self) -> Values<'_> {
        Values::of(self)
    }

    /// Files that exist once for each stream come as one text for each.
    fn all(&self, files: impl IntoIterator<Item = File>) -> Vec<String> {
        let mut texts = Vec::new();
        for file in files {
            match file {
                File::Once(text) => texts.push(self.values().render(text)),
                File::EachStream(text) => {
                    texts.extend(
                        (0..self.table_count).map(|stream| self.values().with_stream(stream).render(text)),
                    );
                }
            }
        }
        texts
    }
}

#[cfg(test)]
mod tests;
