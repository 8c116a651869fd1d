//! The doorbell: a conversation of Service Broker over which publishers wake this node.
//!
//! It only shortens the wait for the next poll. A node arms the doorbell when the streams have been quiet for a while, looks
//! at them, and waits; whoever appends rings the armed ones once. What goes wrong with it costs latency, never data.

use std::{sync::Arc, time::Duration};

use scaleout_core::{Backoff, Error, ErrorKind};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    config::{Notifications, SqlServerConfig},
    error::{Failure, Trouble},
    link::{Call, Link, Values},
    look::{self, HOW_TO_INSTALL},
    node::Node,
    sql::identifier,
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

/// Ends the task that listens for the doorbell when it is dropped; the task gives up then what it registered.
#[derive(Debug)]
pub(crate) struct Bell {
    _stop: DropGuard,
}

/// How long one wait on the server takes at most. Shorter ones would only be more statements.
const WAIT: Duration = Duration::from_secs(30);

/// As long as it takes to see whether waiting is possible.
const GLANCE: Duration = Duration::from_millis(1);

/// After how long a doorbell that is missing is looked for again, at most.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A conversation that is over after less than that is no use.
const TOO_SOON: Duration = Duration::from_secs(1);

/// How long a conversation lives; it is renewed when half of that is over. What a dead node leaves ends with it at last.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Our number for a node that is not registered, or not any more.
const NOT_REGISTERED: u32 = 50012;

/// SQL Server's names for a number of a lost conversation.
const BROKEN: [u32; 2] = [8426, 8429];

/// Begins to listen.
pub(crate) fn begin(node: &Arc<Node>) -> Bell {
    let stop = CancellationToken::new();
    tokio::spawn(listen(Arc::clone(node), stop.clone()));
    Bell { _stop: stop.drop_guard() }
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
        let enabled = Values::first(results.next().into_iter().collect(), "arm")?.number()?;
        Ok::<_, Failure>((enabled == 1, Positions::read(results.collect())?))
    };
    match armed.await {
        Ok((true, positions)) => Ok(Armed::At(positions)),
        Ok((false, _)) => {
            lost(node, missing(&node.config, look::Doorbell::Off).into_error());
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

async fn listen(node: Arc<Node>, stop: CancellationToken) {
    // One that is still giving up what it had comes first.
    let mut released = node.listening.lock().await;
    *released = Ok(());
    if node.config.notifications == Notifications::PollOnly {
        node.doorbell.send_replace(Doorbell::NotWanted);
        return;
    }
    let mut backoff = Backoff::new(node.config.min_backoff, node.config.max_backoff, fastrand::u64(..));
    let mut has_registered = false;
    while let Err(error) = hear(&node, &stop, &mut backoff, &mut has_registered).await {
        let delay =
            if error.is_fatal() { node.config.fatal_retry.min(MAX_RETRY) } else { backoff.next_delay() };
        lost(&node, error);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(delay) => {}
        }
    }
    node.doorbell.send_replace(Doorbell::Unknown);
    if has_registered {
        *released = release(&node).await;
    }
}

/// Waits for the doorbell over one connection until something is wrong, or until it is told to `stop`.
async fn hear(
    node: &Node,
    stop: &CancellationToken,
    backoff: &mut Backoff,
    has_registered: &mut bool,
) -> Result<(), Error> {
    let mut link = tokio::select! {
        link = connect(node) => link?,
        () = stop.cancelled() => return Ok(()),
    };
    loop {
        *has_registered = true;
        // Not interrupted: what it makes has to be given up afterwards.
        register(node, &mut link).await?;
        // Who can register may still be unable to listen, where the queue is off.
        if matches!(wait(node, &mut link, GLANCE).await?, Wait::Over) {
            return Err(Error::new(ErrorKind::Unavailable, OVER_TOO_SOON));
        }
        works(node);
        let registered = Instant::now();
        while registered.elapsed() < LIFETIME / 2 {
            let outcome = tokio::select! {
                outcome = wait(node, &mut link, WAIT) => outcome?,
                error = broken(node) => return Err(error),
                () = stop.cancelled() => return Ok(()),
            };
            match outcome {
                Wait::Nothing => backoff.reset(),
                Wait::Rung => {
                    backoff.reset();
                    node.rung.notify_one();
                }
                Wait::Over if registered.elapsed() < TOO_SOON => {
                    return Err(Error::new(ErrorKind::Unavailable, OVER_TOO_SOON));
                }
                Wait::Over => break,
            }
        }
    }
}

/// A connection to a database in which the doorbell is installed.
async fn connect(node: &Node) -> Result<Link, Error> {
    let (mut link, _) = node.connect().await?;
    if matches!(*node.doorbell.borrow(), Doorbell::Missing(_)) {
        // It may have been installed meanwhile.
        node.forget_objects().await;
    }
    let prepared = node.prepare(&mut link).await?;
    match (prepared.doorbell, prepared.trouble) {
        (look::Doorbell::Installed, _) => Ok(link),
        (_, Some(error)) => Err(error),
        (other, None) => Err(missing(&node.config, other).into_error()),
    }
}

/// Waits until whoever armed the doorbell has found it broken; what is wrong with it.
async fn broken(node: &Node) -> Error {
    let mut doorbell = node.doorbell.subscribe();
    loop {
        if let Doorbell::Missing(error) = &*doorbell.borrow_and_update() {
            return error.clone();
        }
        // The sender is in `node`, so the channel cannot be closed.
        let _ = doorbell.changed().await;
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
    let ready = async { Values::first(link.call(call).await?, "register")?.number() }.await;
    match ready.map_err(|failure| node.failed(link, failure, REGISTERING))? {
        1 => Ok(()),
        // Messages to ourselves are not delivered.
        _ => Err(missing(&node.config, look::Doorbell::Off).into_error()),
    }
}

async fn wait(node: &Node, link: &mut Link, timeout: Duration) -> Result<Wait, Error> {
    let call = Call::new(&node.names.wait)
        .with("@listener", node.listener)
        .with("@timeout_ms", i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    let limit = timeout + node.config.command_timeout;
    let outcome = async { Values::first(link.call_within(limit, call).await?, "wait")?.number() }.await;
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

/// Gives up what `register` made, if it made anything.
///
/// # Errors
/// The store could not be reached. The registration ends with its lease then.
async fn release(node: &Node) -> Result<(), Error> {
    let released = async {
        let mut link = node.pool.lease().await?;
        let call = Call::new(&node.names.unregister).with("@listener", node.listener);
        match link.call(call).await {
            Err(failure) if !look::is_missing(&failure) => Err(node.failed(&link, failure, RELEASING)),
            _ => Ok(()),
        }
    };
    let limit = node.config.command_timeout;
    let late = || Error::new(ErrorKind::Timeout, format!("{RELEASING}: not done within {limit:?}"));
    tokio::time::timeout(limit, released).await.unwrap_or_else(|_| Err(late()))
}

/// Why there is no doorbell, and what to do about it.
pub(crate) fn missing(config: &SqlServerConfig, why: look::Doorbell) -> Trouble {
    match why {
        look::Doorbell::NoBroker => Trouble::new(
            ErrorKind::Unsupported,
            "this server has no Service Broker, as is so with Azure SQL Database and Babelfish: nothing is wrong",
        ),
        look::Doorbell::Off => Trouble::new(
            ErrorKind::Config,
            "Service Broker is off in this database, or does not deliver; a DBA turns it on, while nobody else is \
             connected",
        )
        .mended_by(format!("ALTER DATABASE {} SET ENABLE_BROKER WITH NO_WAIT", identifier(&config.database))),
        look::Doorbell::NotInstalled | look::Doorbell::Installed => Trouble::new(
            ErrorKind::Config,
            format!("the doorbell is not installed in schema {}", config.schema),
        )
        .mended_by(HOW_TO_INSTALL),
    }
}

fn works(node: &Node) {
    if !matches!(node.doorbell.send_replace(Doorbell::Works), Doorbell::Works) {
        tracing::info!(app = %node.config.app, "the doorbell works");
    }
    // What was armed before is not any more.
    node.rung.notify_one();
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

const OVER_TOO_SOON: &str = "the conversation of the doorbell ends as soon as it has begun";
const RELEASING: &str = "giving up the doorbell";
const REGISTERING: &str = "registering for the doorbell";
