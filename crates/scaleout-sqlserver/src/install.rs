//! Makes the objects in the database, or checks that they are there.
//!
//! One node at a time installs, in one transaction behind a lock of the application; the layout row comes last, so
//! that whoever finds it finds everything. A start that finds all there takes no lock.

use std::time::{Duration, Instant};

use scaleout_core::{Error, ErrorKind};

use crate::{
    config::{Install, Notifications, SqlServerConfig},
    error::{Failure, Trouble},
    link::Link,
    look::{Broker, Doorbell, HOW_TO_INSTALL, Look, Missing, absent, denied},
    sql::{SCHEMA_VERSION, Target, identifier},
    store::Layout,
};

/// What was found, or made.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) doorbell: Doorbell,
    /// Why there is no doorbell, where this node should have made one.
    pub(crate) trouble: Option<Error>,
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

const INSTALLING: &str = "installing the backplane's objects";
const REMOVING: &str = "removing the backplane's objects";
const LOOKING: &str = "looking for the backplane's objects";

/// Does what [`SqlServerConfig::install`] says, so that the objects can be used.
///
/// # Errors
/// [`Config`](ErrorKind::Config) or [`Unsupported`](ErrorKind::Unsupported) where the schema is of another app or another number of
/// tables, of a version that does not fit, or not there; [`Unauthorized`](ErrorKind::Unauthorized) for want of a
/// grant. It says what to do. Others are of the connection.
pub(crate) async fn prepare(link: &mut Link, config: &SqlServerConfig) -> Result<Prepared, Error> {
    let mut installer = Installer::new(link, config, INSTALLING);
    let doorbell = match config.install {
        Install::Create => installer.create().await,
        Install::Verify => installer.verify().await,
        Install::None => installer.look().await,
    }?;
    Ok(Prepared { doorbell, trouble: installer.trouble })
}

/// Drops what the app has in the schema, in one transaction; `false` where the schema is not this app's, as far as the
/// login sees.
///
/// `table_count` is that of the layout: that of the settings may be another one.
pub(crate) async fn remove(
    link: &mut Link,
    config: &SqlServerConfig,
    table_count: u16,
) -> Result<bool, Error> {
    let mut installer = Installer::new(link, config, REMOVING);
    installer.look.target.table_count = table_count;
    installer.uninstall().await
}

struct Installer<'a> {
    look: Look<'a>,
    doing: &'static str,
    trouble: Option<Error>,
}

impl<'a> Installer<'a> {
    fn new(link: &'a mut Link, config: &'a SqlServerConfig, doing: &'static str) -> Self {
        Self { look: Look::new(link, config), doing, trouble: None }
    }

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
        let layout = self.look.layout().await.map_err(|failure| self.failed(failure, LOOKING))?;
        layout.map(|layout| layout.check(self.look.config).map(|()| layout.schema_version)).transpose()
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

    async fn probe(&mut self) -> Result<Option<Layout>, Error> {
        self.look.probe().await.map_err(|failure| self.failed(failure, LOOKING))
    }

    async fn missing(&mut self) -> Result<Vec<Missing>, Error> {
        self.look.missing().await.map_err(|failure| self.failed(failure, LOOKING))
    }

    async fn broker(&mut self) -> Result<Broker, Error> {
        self.look.broker().await.map_err(|failure| self.failed(failure, LOOKING))
    }

    async fn doorbell(&mut self) -> Result<Doorbell, Error> {
        self.look.doorbell().await.map_err(|failure| self.failed(failure, LOOKING))
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
        let mut texts = self.look.target.install();
        if let Some(layout) = self.probe().await? {
            layout.check(self.look.config)?;
            // What a newer version has made is not made anew by an older one. Nothing is called that may not be there:
            // that would end the transaction.
            let is_current = layout.schema_version == SCHEMA_VERSION;
            let is_newer = layout.schema_version > SCHEMA_VERSION;
            if is_newer || is_current && self.missing().await?.iter().all(|object| object.is_there) {
                return Ok(());
            }
            if self.broker().await?.is_installed {
                texts.extend(self.look.target.install_doorbell());
            }
        }
        self.execute(&texts).await?;
        let Target { schema, app, .. } = &self.look.target;
        tracing::info!(app, schema, version = SCHEMA_VERSION, "installed the backplane's objects");
        Ok(())
    }

    async fn create_doorbell(&mut self) -> Result<Doorbell, Error> {
        let found = self.doorbell().await?;
        let found = match found {
            Doorbell::Off if self.look.config.enable_broker => self.enable_broker().await?,
            other => other,
        };
        if found != Doorbell::NotInstalled || self.look.config.notifications == Notifications::PollOnly {
            return Ok(found);
        }
        match self.install_doorbell().await {
            Ok(()) => self.doorbell().await,
            Err(error) if error.is_fatal() && self.look.link.is_clean() => {
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
        let texts = self.look.target.install_doorbell();
        self.execute(&texts).await?;
        let Target { schema, app, .. } = &self.look.target;
        tracing::info!(app, schema, "installed the doorbell");
        Ok(())
    }

    /// Turns Service Broker on, where that is possible without disturbing anyone.
    async fn enable_broker(&mut self) -> Result<Doorbell, Error> {
        let enabled = self.look.link.batch_within(STEP, self.look.target.enable_broker()).await;
        let found = match enabled {
            Err(failure) if !self.look.link.is_clean() => {
                return Err(self.failed(failure, "enabling Service Broker"));
            }
            // Another node may have done it.
            _ => self.doorbell().await?,
        };
        if let (Err(failure), Doorbell::Off) = (enabled, found) {
            let error = self.failed(failure, "enabling Service Broker");
            let database = identifier(&self.look.config.database);
            let problem = format!(
                "{error}; a DBA does it, while nobody else is connected, by ALTER DATABASE {database} SET ENABLE_BROKER"
            );
            self.trouble = Some(Error::new(error.kind(), problem).with_source(error));
        }
        Ok(found)
    }

    fn refuse(&self, missing: &[Missing]) -> Result<(), Error> {
        problem(&self.look.config.schema, missing).map_or(Ok(()), Err)
    }

    /// An older version is upgraded by nodes that may do that, and works with none.
    fn refuse_version(&self, version: Option<u64>) -> Result<(), Error> {
        match outdated(&self.look.config.schema, version) {
            Some(trouble) => Err(trouble.into_error()),
            None => Ok(()),
        }
    }

    /// Drops what the app has in the schema, if it is still that of this app; whether it is.
    async fn uninstall(&mut self) -> Result<bool, Error> {
        let deadline = Instant::now() + PATIENCE;
        while !self.begins(deadline).await? {}
        let outcome = self.uninstall_locked().await;
        let is_ours = *outcome.as_ref().unwrap_or(&false);
        self.end(outcome.map(drop)).await?;
        Ok(is_ours)
    }

    async fn uninstall_locked(&mut self) -> Result<bool, Error> {
        let layout = self.probe().await?;
        if !layout.is_some_and(|layout| layout.is_of(self.look.config)) {
            return Ok(false);
        }
        let texts = self.look.target.uninstall();
        self.execute(&texts).await?;
        Ok(true)
    }

    /// Begins the transaction; `false`: another node is installing, and it may be looked whether that is done.
    async fn begins(&mut self, deadline: Instant) -> Result<bool, Error> {
        let text = self.look.target.begin(LOCK_WAIT);
        match self.look.link.batch_within(LOCK_WAIT + self.look.config.command_timeout, &text).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.number() == Some(INSTALLING_ELSEWHERE) && Instant::now() < deadline => {
                Ok(false)
            }
            Err(failure) => Err(self.failed(failure, self.doing)),
        }
    }

    /// Ends the transaction: for good if it went well.
    async fn end(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        let committed = match outcome {
            Ok(()) => self.execute(&[self.look.target.commit().to_owned()]).await,
            Err(error) => Err(error),
        };
        if committed.is_err()
            && self.look.link.is_clean()
            && self.look.link.batch(self.look.target.rollback()).await.is_err()
        {
            self.look.link.spoil();
        }
        committed
    }

    async fn execute(&mut self, texts: &[String]) -> Result<(), Error> {
        for text in texts {
            let done = self.look.link.batch_within(STEP, text).await;
            done.map_err(|failure| self.failed(failure, self.doing))?;
        }
        Ok(())
    }

    fn failed(&self, failure: Failure, doing: &str) -> Error {
        failure.into_error(doing, self.look.config)
    }
}

/// What is wrong with objects of this version for a node that installs none.
pub(crate) fn outdated(schema: &str, version: Option<u64>) -> Option<Trouble> {
    let what = match version {
        Some(SCHEMA_VERSION..) => return None,
        Some(version) => {
            format!("schema {schema} has version {version}, and this node needs version {SCHEMA_VERSION}")
        }
        None => format!("schema {schema} is not installed, or not for this login"),
    };
    Some(Trouble::new(ErrorKind::Config, what).mended_by(HOW_TO_INSTALL))
}

/// All that `missing` says, and what to do about it.
fn problem(schema: &str, missing: &[Missing]) -> Option<Error> {
    let troubles: Vec<Trouble> = absent(schema, missing).into_iter().chain(denied(schema, missing)).collect();
    let told: Vec<String> = troubles.iter().map(Trouble::in_one_line).collect();
    Some(Error::new(troubles.first()?.kind, told.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, is_there: bool) -> Missing {
        Missing { name: name.into(), is_there, user: "it's ]me".into() }
    }

    fn told(missing: &[Missing]) -> Option<(ErrorKind, String)> {
        problem("chat", missing).map(|error| (error.kind(), error.to_string()))
    }

    #[test]
    fn everything_that_is_missing_is_in_one_error() {
        let (kind, text) = told(&[object("held", false), object("read", true), object("renew", false)])
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
        let (kind, text) = told(&[object("read", true)]).expect("one is denied");
        assert_eq!(kind, ErrorKind::Unauthorized);
        assert!(!text.contains("lacks"), "{text}");
        assert_eq!(told(&[]), None);
    }
}
