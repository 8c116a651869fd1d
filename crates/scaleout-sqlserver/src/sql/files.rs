//! The files of `sql/`, in the order in which they run.

/// A file, and how often it is rendered.
#[derive(Debug, Clone, Copy)]
pub(super) enum File {
    Once(&'static str),
    /// One object for each message table.
    EachStream(&'static str),
}

impl File {
    pub(super) const fn once(text: &'static str) -> Self {
        Self::Once(text)
    }
}

pub(super) const BEGIN: &str = include_str!("../../sql/install/begin.sql");
pub(super) const PROBE: &str = include_str!("../../sql/install/probe.sql");
pub(super) const MISSING: &str = include_str!("../../sql/install/missing.sql");
pub(super) const SCHEMA: &str = include_str!("../../sql/install/schema.sql");
pub(super) const CHECK: &str = include_str!("../../sql/install/check.sql");
pub(super) const DROP: &str = include_str!("../../sql/install/drop.sql");
pub(super) const ROWS: &str = include_str!("../../sql/install/rows.sql");
pub(super) const COMMIT: &str = include_str!("../../sql/install/commit.sql");
pub(super) const ROLLBACK: &str = include_str!("../../sql/install/rollback.sql");

pub(super) const TABLES: [File; 6] = [
    File::Once(include_str!("../../sql/tables/layout.sql")),
    File::Once(include_str!("../../sql/tables/streams.sql")),
    File::Once(include_str!("../../sql/tables/epochs.sql")),
    File::Once(include_str!("../../sql/tables/senders.sql")),
    File::Once(include_str!("../../sql/tables/listeners.sql")),
    File::EachStream(include_str!("../../sql/tables/messages.sql")),
];

/// What makes the tables of version 1 into those of [`SCHEMA_VERSION`](super::SCHEMA_VERSION), oldest first.
pub(super) const UPGRADES: [File; 0] = [];

pub(super) const PROCEDURES: [File; 9] = [
    File::Once(include_str!("../../sql/procedures/store_identity.sql")),
    File::Once(include_str!("../../sql/procedures/positions.sql")),
    File::Once(include_str!("../../sql/procedures/held.sql")),
    File::Once(include_str!("../../sql/procedures/renew.sql")),
    File::Once(include_str!("../../sql/procedures/open_epoch.sql")),
    File::EachStream(include_str!("../../sql/procedures/publish.sql")),
    File::EachStream(include_str!("../../sql/procedures/read_stream.sql")),
    File::EachStream(include_str!("../../sql/procedures/trim.sql")),
    File::Once(include_str!("../../sql/procedures/read.sql")),
];

pub(super) const DOORBELL_PROBE: &str = include_str!("../../sql/doorbell/probe.sql");

pub(super) const DOORBELL: [File; 10] = [
    File::Once(include_str!("../../sql/doorbell/queues.sql")),
    File::Once(include_str!("../../sql/doorbell/drop.sql")),
    File::Once(include_str!("../../sql/doorbell/collect.sql")),
    File::Once(include_str!("../../sql/doorbell/unregister.sql")),
    File::Once(include_str!("../../sql/doorbell/register.sql")),
    File::Once(include_str!("../../sql/doorbell/arm.sql")),
    File::Once(include_str!("../../sql/doorbell/wait.sql")),
    File::Once(include_str!("../../sql/doorbell/ring.sql")),
    File::Once(include_str!("../../sql/doorbell/janitor.sql")),
    File::Once(include_str!("../../sql/doorbell/doorbell_health.sql")),
];

pub(super) const SERVER: &str = include_str!("../../sql/examine/server.sql");
pub(super) const DATABASE: &str = include_str!("../../sql/examine/database.sql");
pub(super) const CLOCK: &str = include_str!("../../sql/examine/clock.sql");
pub(super) const PERMISSIONS: &str = include_str!("../../sql/examine/permissions.sql");
pub(super) const CONTENTS: &str = include_str!("../../sql/examine/contents.sql");
pub(super) const SIZES: &str = include_str!("../../sql/examine/sizes.sql");
pub(super) const SERVICES: &str = include_str!("../../sql/examine/services.sql");

pub(super) const OWNER: &str = include_str!("../../sql/dba/owner.sql");
pub(super) const SERVICE_OWNER: &str = include_str!("../../sql/dba/service_owner.sql");
pub(super) const GRANT: &str = include_str!("../../sql/dba/grant.sql");
pub(super) const GRANT_INSTALLER: &str = include_str!("../../sql/dba/grant_installer.sql");
pub(super) const ENABLE_BROKER: &str = include_str!("../../sql/dba/enable_broker.sql");
pub(super) const UNINSTALL_DOORBELL: &str = include_str!("../../sql/dba/uninstall_doorbell.sql");
pub(super) const UNINSTALL: &str = include_str!("../../sql/dba/uninstall.sql");
