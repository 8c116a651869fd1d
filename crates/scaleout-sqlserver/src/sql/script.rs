//! The T-SQL for people.

use super::{
    SCHEMA_VERSION, SCRIPT_LOCK_WAIT, Target,
    files::{self, File},
    render::Values,
};
use crate::config::SqlServerConfig;

/// The T-SQL of a backplane, for database administrators: to read, to keep under version control, to run by hand.
///
/// From [`SqlServerConfig::script`](crate::SqlServerConfig::script). Every part is a text for `sqlcmd` or SQL Server
/// Management Studio, with `GO` between batches, and does no harm when it runs twice. A database that was made ready
/// this way is used with [`Install::Verify`](crate::Install::Verify) or [`Install::None`](crate::Install::None), by an
/// account that has no rights but the one of [`grants`](Self::grants).
///
/// The order is [`owner`](Self::owner) (if the objects are to have an owner of their own), [`install`](Self::install),
/// [`install_doorbell`](Self::install_doorbell) (where there is Service Broker),
/// [`service_owner`](Self::service_owner) (after `owner`), [`grants`](Self::grants).
#[derive(Debug, Clone)]
pub struct Script {
    target: Target,
}

impl SqlServerConfig {
    /// The T-SQL of this backplane, for database administrators.
    ///
    /// Of the settings, `app`, `schema` and `table_count` are in it.
    #[must_use]
    pub fn script(&self) -> Script {
        Script::for_target(self.into())
    }
}

impl Script {
    pub(super) fn for_target(target: Target) -> Self {
        Self { target }
    }

    /// Tables and procedures: all that polling needs.
    ///
    /// It creates, and brings to this version what is older; messages stay. It is one transaction.
    #[must_use]
    pub fn install(&self) -> String {
        let values = self.values();
        let tables = [File::once(files::SCHEMA)].into_iter().chain(files::TABLES);
        let checked = tables.chain([File::once(files::CHECK)]).chain(files::UPGRADES);
        let procedures = [File::once(files::DROP)].into_iter().chain(files::PROCEDURES);
        let mut batches = vec![values.with_lock_wait(SCRIPT_LOCK_WAIT).render(files::BEGIN)];
        batches.extend(self.target.all(checked.chain(procedures).chain([File::once(files::ROWS)])));
        batches.push(files::COMMIT.to_owned());
        self.header("tables and procedures") + &transaction(&batches)
    }

    /// What Service Broker needs to wake nodes; after [`install`](Self::install), in databases that have it.
    ///
    /// Where it is off, see [`enable_broker`](Self::enable_broker): nodes poll as long as it is.
    #[must_use]
    pub fn install_doorbell(&self) -> String {
        let mut batches = vec![self.values().with_lock_wait(SCRIPT_LOCK_WAIT).render(files::BEGIN)];
        batches.extend(self.target.install_doorbell());
        batches.push(files::COMMIT.to_owned());
        self.header("the doorbell, by Service Broker") + &transaction(&batches)
    }

    /// What an account needs to run: `EXECUTE` on the schema, and nothing else.
    ///
    /// `user` is a user or role of the database.
    #[must_use]
    pub fn grants(&self, user: &str) -> String {
        self.part("grants for run time", &[self.values().with_principal(user).render(files::GRANT)])
    }

    /// What an account needs besides [`grants`](Self::grants) to install by itself.
    ///
    /// `user` is a user or role of the database.
    #[must_use]
    pub fn installer_grants(&self, user: &str) -> String {
        let grants = self.values().with_principal(user).render(files::GRANT_INSTALLER);
        self.part("grants for nodes that install", &[grants])
    }

    /// A user `owner` without a login, to own the schema and to run the doorbell's procedures as.
    ///
    /// Before [`install`](Self::install). Without it, they are of whoever installs.
    #[must_use]
    pub fn owner(&self, owner: &str) -> String {
        self.part("an owner of its own", &[self.values().with_principal(owner).render(files::OWNER)])
    }

    /// Hands the services of the doorbell to `owner`, the owner of the schema.
    ///
    /// After [`install_doorbell`](Self::install_doorbell): services belong to whoever has created them.
    #[must_use]
    pub fn service_owner(&self, owner: &str) -> String {
        let grants = self.values().with_principal(owner).render(files::SERVICE_OWNER);
        self.part("the owner of the services", &[grants])
    }

    /// Turns Service Broker on in the database.
    ///
    /// It fails while others are connected, rather than throwing them out.
    #[must_use]
    pub fn enable_broker(&self) -> String {
        self.part("Service Broker", &[self.values().render(files::ENABLE_BROKER)])
    }

    /// Removes the doorbell alone; nodes go on polling.
    #[must_use]
    pub fn uninstall_doorbell(&self) -> String {
        self.part("removal of the doorbell", &[self.values().render(files::UNINSTALL_DOORBELL)])
    }

    /// Removes everything, messages included; also where there is no doorbell.
    ///
    /// The schema stays where somebody else has something in it.
    #[must_use]
    pub fn uninstall(&self) -> String {
        self.part("removal of everything", &self.target.uninstall())
    }

    fn values(&self) -> Values<'_> {
        Values::of(&self.target)
    }

    fn part(&self, what: &str, batches: &[String]) -> String {
        batches.iter().fold(self.header(what), |text, batch| text + batch + GO)
    }

    fn header(&self, what: &str) -> String {
        let Target { app, schema, table_count } = &self.target;
        // As Rust writes them, a name cannot end the line.
        format!(
            "-- scaleout-sqlserver {}: {what}.\n\
             -- Schema {schema:?}, app {app:?}, {table_count} message tables, schema version {SCHEMA_VERSION}.\n\
             -- Run it in the database of the app, with SQL Server Management Studio, or:\n\
             --     sqlcmd -S <server> -d <database> -b -I -i <this file>\n\
             GO\n",
            env!("CARGO_PKG_VERSION"),
        )
    }
}

const GO: &str = "GO\n";

/// Batches that are one transaction. Tools go on after a batch that fails; where it has ended the transaction, what
/// follows is only compiled.
fn transaction(batches: &[String]) -> String {
    let guard = "IF @@TRANCOUNT = 0 SET NOEXEC ON;\n";
    let mut text = batches.join(&[GO, guard, GO].concat());
    text.push_str(GO);
    text.push_str("SET NOEXEC OFF;\n");
    text.push_str(GO);
    text
}
