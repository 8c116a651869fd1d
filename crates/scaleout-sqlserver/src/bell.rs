//! The doorbell: a conversation of Service Broker over which publishers wake this node.
//!
//! It only shortens the wait for the next poll. A node arms the doorbell when the streams have been quiet for a while, looks
//! at them, and waits; whoever appends rings the armed ones once. What goes wrong with it costs latency, never data.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use scaleout_core::{Error, ErrorKind};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    config::Notifications,
    error::Failure,
    install,
    link::{Call, Link, Values},
    node::Node,
    store::Positions,
};

/// How the doorbell of a node is.
#[derive(Debug, Clone, Default)]
pub enum Doorbell {
    /// Nobody has looked yet, or nobody receives.
    #[default]
    Unknown,
    /// Publishers wake this node.
    Works,
    /// This node polls, because of this.
    Missing(Error),
    /// This node polls: the settings say so.
    NotWanted,
}

/// What came of arming.
pub(crate) enum Armed {
    /// The doorbell will ring for whatever is appended behind these.
    At(Positions),
    /// It will not ring.
    Not,
}

/// The task that listens for the doorbell; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Bell(JoinHandle<()>);

/// How long one wait on the server takes at most. Shorter ones would only be more statements.
const WAIT: Duration = Duration::from_secs(30);

/// After how long a doorbell that is missing is looked for again, at most.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// How long a conversation lives; it is renewed when half of that is over. What a dead node leaves ends with it at last.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Our number for a node that is not registered, or not any more.
const NOT_REGISTERED: u32 = 50012;

/// SQL Server's names for a number of a lost conversation.
const BROKEN: [u32; 2] = [8426, 8429];

/// Begins to listen.
pub(crate) fn begin(node: &Arc<Node>) -> Bell {
    Bell(tokio::spawn(listen(Arc::clone(node))))
}

/// Whether the doorbell can be armed.
pub(crate) fn is_ready(node: &Node) -> bool {
    matches!(*node.doorbell.borrow(), Doorbell::Works)
}

/// Has the doorbell ring once for what is appended from now on, and looks where the streams stand.
///
/// # Errors
/// Of the connection. What is wrong with the doorbell alone is told to the task, which sets it right.
pub(crate) async fn arm(node: &Node, link: &mut Link) -> Result<Armed, Error> {
    let call = Call::new(&node.names.arm).with("@listener", node.listener).with("@streams", None::<Vec<u8>>);
    let armed = async {
        let mut results = link.call(call).await?.into_iter();
        let enabled = results.next().into_iter().flatten().next();
        let enabled =
            Values::of(enabled.ok_or_else(|| Failure::Answer("arm yields no row".into()))?).number()?;
        Ok::<_, Failure>((enabled == 1, Positions::read(results.collect())?))
    };
    match armed.await {
        Ok((true, positions)) => Ok(Armed::At(positions)),
        Ok((false, _)) => {
            lost(node, missing(node, install::Doorbell::Off));
            Ok(Armed::Not)
        }
        // The streams can be read all the same.
        Err(failure) if link.is_clean() => {
            lost(node, failure.into_error("arming the doorbell", &node.config));
            Ok(Armed::Not)
        }
        Err(failure) => Err(node.failed(link, failure, "arming the doorbell")),
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(node: Arc<Node>) {
    if node.config.notifications == Notifications::PollOnly {
        node.doorbell.send_replace(Doorbell::NotWanted);
        return;
    }
    while !node.is_closed() {
        let error = match hear(&node).await {
            Ok(()) => continue,
            Err(error) => error,
        };
        lost(&node, error);
        tokio::time::sleep(node.config.fatal_retry.min(MAX_RETRY)).await;
    }
}

/// Waits for the doorbell over one connection until something is wrong; `Ok`: the conversation is over, and can be renewed at once.
async fn hear(node: &Node) -> Result<(), Error> {
    let (mut link, _) = node.connect().await?;
    if matches!(*node.doorbell.borrow(), Doorbell::Missing(_)) {
        // It may have been installed meanwhile.
        node.forget_objects().await;
    }
    let prepared = node.prepare(&mut link).await?;
    match (prepared.doorbell, prepared.trouble) {
        (install::Doorbell::Installed, _) => {}
        (_, Some(error)) => return Err(error),
        (other, None) => return Err(missing(node, other)),
    }
    loop {
        register(node, &mut link).await?;
        works(node);
        let registered = Instant::now();
        while registered.elapsed() < LIFETIME / 2 {
            match wait(node, &mut link).await? {
                Wait::Nothing => {}
                Wait::Rung => node.rung.notify_one(),
                Wait::Over => break,
            }
            if !is_ready(node) {
                // Whoever armed it found it broken.
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the doorbell could not be armed, and is set up anew",
                ));
            }
        }
    }
}

/// What came of a wait.
enum Wait {
    Nothing,
    Rung,
    Over,
}

async fn register(node: &Node, link: &mut Link) -> Result<(), Error> {
    let label = format!("{} {}", node.config.app, std::process::id());
    let call = Call::new(&node.names.register)
        .with("@listener", node.listener)
        .with("@label", label)
        .with("@lifetime_seconds", i32::try_from(LIFETIME.as_secs()).unwrap_or(i32::MAX));
    node.is_registered.store(true, Ordering::Release);
    let ready = async { first_number(link.call(call).await?) }.await;
    match ready.map_err(|failure| node.failed(link, failure, REGISTERING))? {
        1 => Ok(()),
        // Messages to ourselves are not delivered.
        _ => Err(missing(node, install::Doorbell::Off)),
    }
}

async fn wait(node: &Node, link: &mut Link) -> Result<Wait, Error> {
    let call = Call::new(&node.names.wait)
        .with("@listener", node.listener)
        .with("@timeout_ms", i32::try_from(WAIT.as_millis()).unwrap_or(i32::MAX));
    let limit = WAIT + node.config.command_timeout;
    let outcome = async { first_number(link.call_within(limit, call).await?) }.await;
    match outcome {
        Ok(0) => Ok(Wait::Nothing),
        Ok(1) => Ok(Wait::Rung),
        Ok(_) => Ok(Wait::Over),
        Err(failure)
            if failure
                .number()
                .is_some_and(|number| number == NOT_REGISTERED || BROKEN.contains(&number)) =>
        {
            Ok(Wait::Over)
        }
        Err(failure) => Err(failure.into_error("waiting for the doorbell", &node.config)),
    }
}

/// Gives up what `register` made, if it ever did.
///
/// # Errors
/// The store could not be reached. The registration ends with its lease then.
pub(crate) async fn release(node: &Node) -> Result<(), Error> {
    if !node.is_registered.load(Ordering::Acquire) {
        return Ok(());
    }
    let released = async {
        let mut link = node.pool.lease().await?;
        let call = Call::new(&node.names.unregister).with("@listener", node.listener);
        match link.call(call).await {
            Err(failure) if !install::is_missing(&failure) => Err(node.failed(&link, failure, RELEASING)),
            _ => Ok(()),
        }
    };
    let limit = node.config.command_timeout;
    let late = || Error::new(ErrorKind::Timeout, format!("{RELEASING}: not done within {limit:?}"));
    tokio::time::timeout(limit, released).await.unwrap_or_else(|_| Err(late()))
}

/// Why there is no doorbell, and what to do about it.
fn missing(node: &Node, why: install::Doorbell) -> Error {
    let schema = &node.config.schema;
    let (kind, problem) = match why {
        install::Doorbell::NoBroker => (
            ErrorKind::Unsupported,
            "this edition of SQL Server has no Service Broker (Azure SQL Database): nothing is wrong"
                .to_owned(),
        ),
        install::Doorbell::Off => (
            ErrorKind::Config,
            "Service Broker is off in this database, or does not deliver: a DBA turns it on by \
             ALTER DATABASE CURRENT SET ENABLE_BROKER WITH NO_WAIT"
                .to_owned(),
        ),
        install::Doorbell::NotInstalled | install::Doorbell::Installed => (
            ErrorKind::Config,
            format!(
                "the doorbell is not installed in schema {schema}: install mode create does that, or the script of the settings"
            ),
        ),
    };
    Error::new(kind, problem)
}

fn works(node: &Node) {
    if !matches!(node.doorbell.send_replace(Doorbell::Works), Doorbell::Works) {
        tracing::info!(app = %node.config.app, "the doorbell works");
    }
}

/// Says that this node polls, once.
fn lost(node: &Node, error: Error) {
    let context = error.to_string();
    match node.doorbell.send_replace(Doorbell::Missing(error)) {
        Doorbell::Missing(earlier) if earlier.to_string() == context => {}
        _ => tracing::warn!(app = %node.config.app, error = context, "no doorbell: this node polls"),
    }
    // The reader must not wait for it.
    node.rung.notify_one();
}

fn first_number(results: Vec<Vec<tiberius::Row>>) -> Result<u64, Failure> {
    let row = results.into_iter().flatten().next();
    Values::of(row.ok_or_else(|| Failure::Answer("no row".into()))?).number()
}

const RELEASING: &str = "giving up the doorbell";
const REGISTERING: &str = "registering for the doorbell";
