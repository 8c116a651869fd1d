//! Makes the objects in the database, or checks that they are there.
//!
//! One node at a time installs, in one transaction behind a lock of the application; the layout row comes last, so
//! that whoever finds it finds everything. A start that finds all there takes no lock.

use std::time::{Duration, Instant};

use scaleout_core::{Error, ErrorKind};
use tiberius::{Row, error::Error as ClientError};

use crate::{
    config::{Install, Notifications, SqlServerConfig},
    error::Failure,
    link::{Link, Values},
    names::Names,
    sql::{SCHEMA_VERSION, Target, identifier},
    store::{Layout, Positions},
};

/// What was found, or made.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) doorbell: Doorbell,
    /// Why there is no doorbell, where this node should have made one.
    pub(crate) trouble: Option<Error>,
}

/// Whether publishers can wake nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doorbell {
    /// They can.
    Installed,
    /// Its objects are not there.
    NotInstalled,
    /// The edition has no Service Broker.
    NoBroker,
    /// Service Broker is off in the database.
    Off,
}

/// How long a node waits in line to install, before it looks whether that has been done. Longer, and of many nodes that
/// start at once each would look while all others wait.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How long a node waits for another one that is installing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Our number for a lock that another node holds.
const INSTALLING_ELSEWHERE: u32 = 50020;

/// How long a step of an installation may take: it waits for calls of nodes that are running.
const STEP: Duration = Duration::from_secs(60);

/// `SERVERPROPERTY('EngineEdition')` of Azure SQL Database.
const AZURE_SQL_DATABASE: i64 = 5;

const INSTALLING: &str = "installing the backplane's objects";
const LOOKING: &str = "looking for the backplane's objects";

/// Does what [`SqlServerConfig::install`] says, so that the objects can be used.
///
/// # Errors
/// [`Config`](ErrorKind::Config) or [`Unsupported`](ErrorKind::Unsupported) where the schema is of another app or another number of
/// tables, of a version that does not fit, or not there; [`Unauthorized`](ErrorKind::Unauthorized) for want of a
/// grant. It says what to do. Others are of the connection.
pub(crate) async fn prepare(link: &mut Link, config: &SqlServerConfig) -> Result<Prepared, Error> {
    let mut installer = Installer { link, config, target: config.into(), trouble: None };
    let doorbell = match config.install {
        Install::Create => installer.create().await,
        Install::Verify => installer.verify().await,
        Install::None => installer.look().await,
    }?;
    Ok(Prepared { doorbell, trouble: installer.trouble })
}

/// Whether it says that an object is not there any more, so that it helps to [`prepare`] again.
pub(crate) fn is_missing(failure: &Failure) -> bool {
    match failure.number() {
        // Invalid object name; no such function; could not find stored procedure.
        Some(208 | 4121 | 2812) => true,
        Some(BABELFISH) => {
            matches!(failure, Failure::Client(ClientError::Server(error)) if error.message().contains("does not exist"))
        }
        _ => false,
    }
}

/// Babelfish's number for whatever it has no better one for.
const BABELFISH: u32 = 33_557_097;

struct Installer<'a> {
    link: &'a mut Link,
    config: &'a SqlServerConfig,
    target: Target,
    trouble: Option<Error>,
}

/// An object that a node cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    name: String,
    /// It is not permitted.
    is_there: bool,
    /// As whom the node is in the database.
    user: String,
}

/// What there is of Service Broker.
#[derive(Debug, Clone, Copy)]
struct Broker {
    is_enabled: bool,
    exists: bool,
    is_installed: bool,
}

impl Installer<'_> {
    async fn create(&mut self) -> Result<Doorbell, Error> {
        let mut missing = self.lacking().await?;
        if missing.as_ref().is_none_or(|missing| missing.iter().any(|object| !object.is_there)) {
            self.install().await?;
            missing = self.lacking().await?;
        }
        self.refuse(&missing.unwrap_or_default())?;
        self.create_doorbell().await
    }

    async fn verify(&mut self) -> Result<Doorbell, Error> {
        let version = self.version().await?;
        let missing = self.missing().await?;
        self.refuse(&missing)?;
        self.refuse_version(version)?;
        self.doorbell().await
    }

    async fn look(&mut self) -> Result<Doorbell, Error> {
        let version = self.version().await?;
        self.refuse_version(version)?;
        self.doorbell().await
    }

    /// The version of the objects; `None` where they are not there, or not complete.
    async fn version(&mut self) -> Result<Option<u64>, Error> {
        let Names { positions, .. } = Names::new(&self.config.schema, self.config.table_count);
        let layout = match Positions::of(self.link, &positions).await {
            Ok(positions) => positions.layout,
            Err(failure) if is_missing(&failure) => None,
            // Those of another version may answer otherwise.
            Err(Failure::Answer(_)) => self.probe().await?,
            Err(failure) => return Err(self.failed(failure, "looking where the streams stand")),
        };
        layout.map(|layout| layout.check(self.config).map(|()| layout.schema_version)).transpose()
    }

    /// What is missing of this version or a newer one; `None` where there is an older one, or none.
    async fn lacking(&mut self) -> Result<Option<Vec<Missing>>, Error> {
        match self.version().await? {
            Some(SCHEMA_VERSION..) => self.missing().await.map(Some),
            _ => Ok(None),
        }
    }

    /// Whether everything is there.
    async fn is_complete(&mut self) -> Result<bool, Error> {
        Ok(self.lacking().await?.is_some_and(|missing| missing.iter().all(|object| object.is_there)))
    }

    /// The layout row, also of objects of another version.
    async fn probe(&mut self) -> Result<Option<Layout>, Error> {
        let rows = self.ask(self.target.probe()).await?;
        let layout = rows.into_iter().next().map(|row| {
            let mut values = Values::of(row);
            Ok::<_, Failure>(Layout {
                schema_version: values.number()?,
                compatible_from: values.number()?,
                app: values.text()?,
                table_count: values.number()?,
                epoch: 0,
                is_same_store: true,
            })
        });
        layout.transpose().map_err(|failure| self.failed(failure, LOOKING))
    }

    /// Makes everything that polling needs, unless another node has done it meanwhile.
    async fn install(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !self.begins(deadline).await? {
            if self.is_complete().await? {
                return Ok(());
            }
        }
        let outcome = self.install_locked().await;
        self.end(outcome).await
    }

    async fn install_locked(&mut self) -> Result<(), Error> {
        let mut texts = self.target.install();
        if let Some(layout) = self.probe().await? {
            layout.check(self.config)?;
            // What a newer version has made is not made anew by an older one. Nothing is called that may not be there:
            // that would end the transaction.
            let is_current = layout.schema_version == SCHEMA_VERSION;
            let is_newer = layout.schema_version > SCHEMA_VERSION;
            if is_newer || is_current && self.missing().await?.iter().all(|object| object.is_there) {
                return Ok(());
            }
            if self.broker().await?.is_installed {
                texts.extend(self.target.install_doorbell());
            }
        }
        self.execute(&texts).await?;
        let Target { schema, app, .. } = &self.target;
        tracing::info!(app, schema, version = SCHEMA_VERSION, "installed the backplane's objects");
        Ok(())
    }

    async fn create_doorbell(&mut self) -> Result<Doorbell, Error> {
        let found = self.doorbell().await?;
        let found = match found {
            Doorbell::Off if self.config.enable_broker => self.enable_broker().await?,
            other => other,
        };
        if found != Doorbell::NotInstalled || self.config.notifications == Notifications::PollOnly {
            return Ok(found);
        }
        match self.install_doorbell().await {
            Ok(()) => self.doorbell().await,
            Err(error) if error.is_fatal() && self.link.is_clean() => {
                // It is only there for latency: for want of a grant, nodes poll.
                self.trouble = Some(error);
                Ok(Doorbell::NotInstalled)
            }
            Err(error) => Err(error),
        }
    }

    async fn install_doorbell(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !self.begins(deadline).await? {
            if self.broker().await?.is_installed {
                return Ok(());
            }
        }
        let outcome = self.install_doorbell_locked().await;
        self.end(outcome).await
    }

    async fn install_doorbell_locked(&mut self) -> Result<(), Error> {
        if self.broker().await?.is_installed {
            return Ok(());
        }
        let texts = self.target.install_doorbell();
        self.execute(&texts).await?;
        let Target { schema, app, .. } = &self.target;
        tracing::info!(app, schema, "installed the doorbell");
        Ok(())
    }

    /// Turns Service Broker on, where that is possible without disturbing anyone.
    async fn enable_broker(&mut self) -> Result<Doorbell, Error> {
        let enabled = self.link.batch_within(STEP, self.target.enable_broker()).await;
        let found = match enabled {
            Err(failure) if !self.link.is_clean() => {
                return Err(self.failed(failure, "enabling Service Broker"));
            }
            // Another node may have done it.
            _ => self.doorbell().await?,
        };
        if let (Err(failure), Doorbell::Off) = (enabled, found) {
            let error = self.failed(failure, "enabling Service Broker");
            let database = identifier(&self.config.database);
            let problem = format!(
                "{error}; a DBA does it, while nobody else is connected, by ALTER DATABASE {database} SET ENABLE_BROKER"
            );
            self.trouble = Some(Error::new(error.kind(), problem).with_source(error));
        }
        Ok(found)
    }

    async fn doorbell(&mut self) -> Result<Doorbell, Error> {
        let broker = self.broker().await?;
        Ok(match broker {
            Broker { exists: false, .. } => Doorbell::NoBroker,
            Broker { is_enabled: false, .. } => Doorbell::Off,
            Broker { is_installed: false, .. } => Doorbell::NotInstalled,
            _ => Doorbell::Installed,
        })
    }

    async fn broker(&mut self) -> Result<Broker, Error> {
        let rows = self.ask(self.target.doorbell_probe()).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Broker { is_enabled: false, exists: true, is_installed: false });
        };
        let broker = (|| {
            let mut values = Values::of(row);
            Ok::<_, Failure>(Broker {
                is_enabled: values.integer()? == Some(1),
                exists: values.integer()? != Some(AZURE_SQL_DATABASE),
                is_installed: values.integer()? == Some(1),
            })
        })();
        broker.map_err(|failure| self.failed(failure, LOOKING))
    }

    async fn missing(&mut self) -> Result<Vec<Missing>, Error> {
        let rows = self.ask(self.target.missing()).await?;
        let objects = rows.into_iter().map(|row| {
            let mut values = Values::of(row);
            let (name, is_there) = (values.text()?, values.number()? == 1);
            Ok::<_, Failure>(Missing { name, is_there, user: values.text_if_any()?.unwrap_or_default() })
        });
        objects.collect::<Result<_, _>>().map_err(|failure| self.failed(failure, LOOKING))
    }

    fn refuse(&self, missing: &[Missing]) -> Result<(), Error> {
        match problem(&self.config.schema, missing) {
            Some((kind, problem)) => Err(Error::new(kind, problem)),
            None => Ok(()),
        }
    }

    /// An older version is upgraded by nodes that may do that, and works with none.
    fn refuse_version(&self, version: Option<u64>) -> Result<(), Error> {
        let schema = &self.config.schema;
        let problem = match version {
            Some(SCHEMA_VERSION..) => return Ok(()),
            Some(version) => format!(
                "schema {schema} has version {version}, and this node needs version {SCHEMA_VERSION}: {HOW_TO_INSTALL}"
            ),
            None => format!("schema {schema} is not installed, or not for this login: {HOW_TO_INSTALL}"),
        };
        Err(Error::new(ErrorKind::Config, problem))
    }

    /// Begins the transaction; `false`: another node is installing, and it may be looked whether that is done.
    async fn begins(&mut self, deadline: Instant) -> Result<bool, Error> {
        let text = self.target.begin(LOCK_WAIT);
        match self.link.batch_within(LOCK_WAIT + self.config.command_timeout, &text).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.number() == Some(INSTALLING_ELSEWHERE) && Instant::now() < deadline => {
                Ok(false)
            }
            Err(failure) => Err(self.failed(failure, INSTALLING)),
        }
    }

    /// Ends the transaction: for good if it went well.
    async fn end(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        let committed = match outcome {
            Ok(()) => self.execute(&[self.target.commit().to_owned()]).await,
            Err(error) => Err(error),
        };
        if committed.is_err()
            && self.link.is_clean()
            && self.link.batch(self.target.rollback()).await.is_err()
        {
            self.link.spoil();
        }
        committed
    }

    async fn execute(&mut self, texts: &[String]) -> Result<(), Error> {
        for text in texts {
            let done = self.link.batch_within(STEP, text).await;
            done.map_err(|failure| self.failed(failure, INSTALLING))?;
        }
        Ok(())
    }

    /// The rows that a batch yields.
    async fn ask(&mut self, text: String) -> Result<Vec<Row>, Error> {
        let results = self.link.batch(&text).await;
        let results = results.map_err(|failure| self.failed(failure, LOOKING))?;
        Ok(results.into_iter().flatten().collect())
    }

    fn failed(&self, failure: Failure, doing: &str) -> Error {
        failure.into_error(doing, self.config)
    }
}

const HOW_TO_INSTALL: &str =
    "run SqlServerConfig::script().install() in the database, or let a node do it by install=create";

/// All that `missing` says, and what to do about it.
fn problem(schema: &str, missing: &[Missing]) -> Option<(ErrorKind, String)> {
    let named = |is_there: bool| {
        let objects = missing.iter().filter(|object| object.is_there == is_there);
        objects.map(|object| object.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (gone, denied) = (named(false), named(true));
    let mut problems = Vec::new();
    if !gone.is_empty() {
        problems.push(format!("schema {schema} lacks (or this login does not see) {gone}: {HOW_TO_INSTALL}"));
    }
    if let Some(object) = missing.iter().find(|object| object.is_there) {
        let (schema, user) = (identifier(schema), identifier(&object.user));
        problems.push(format!(
            "this login may not execute {denied}: GRANT EXECUTE ON SCHEMA::{schema} TO {user}"
        ));
    }
    let kind = if gone.is_empty() { ErrorKind::Unauthorized } else { ErrorKind::Config };
    (!problems.is_empty()).then(|| (kind, problems.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, is_there: bool) -> Missing {
        Missing { name: name.into(), is_there, user: "it's ]me".into() }
    }

    #[test]
    fn everything_that_is_missing_is_in_one_error() {
        let (kind, text) =
            problem("chat", &[object("held", false), object("read", true), object("renew", false)])
                .expect("three are missing");
        assert_eq!(kind, ErrorKind::Config);
        assert!(
            text.starts_with("schema chat lacks (or this login does not see) held, renew: run "),
            "{text}"
        );
        assert!(text.ends_with("execute read: GRANT EXECUTE ON SCHEMA::[chat] TO [it's ]]me]"), "{text}");
    }

    #[test]
    fn for_want_of_a_grant_nothing_is_installed() {
        let (kind, text) = problem("chat", &[object("read", true)]).expect("one is denied");
        assert_eq!(kind, ErrorKind::Unauthorized);
        assert!(!text.contains("lacks"), "{text}");
        assert_eq!(problem("chat", &[]), None);
    }
}
