//! From a URL to a store, and to a node on it.

use std::{
    env,
    future::Future,
    io,
    sync::{Arc, LazyLock},
    time::Duration,
};

use scaleout::{
    Backplane, BackplaneConfig, Bus, BusConfig, Error, ErrorKind, Interest, StreamIndex, StreamState,
};
use tokio::{sync::watch, time::timeout};

use crate::{
    Global,
    exit::{Exit, Interrupted, usage},
};

/// The environment variable that names the store.
pub(crate) const URL_VARIABLE: &str = "SCALEOUT_URL";

/// How long a node that ends may take to send what waits, and to release what it holds.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The store of a command that takes nothing else by position.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The store: a URL or a connection string. In the environment its password stays out of the list of processes.
    #[arg(value_name = "URL", env = URL_VARIABLE, hide_env_values = true)]
    url: Option<String>,
}

impl Target {
    /// The settings, of a store that other processes reach as well.
    pub(crate) fn settings(&self, global: &Global) -> anyhow::Result<BackplaneConfig> {
        settings(self.text()?, global)
    }

    /// The URL as it was given; it may hold secrets.
    pub(crate) fn text(&self) -> anyhow::Result<&str> {
        self.url.as_deref().ok_or_else(no_url)
    }
}

/// Splits `[URL] NAME…`: the first word is the store where it looks like one, else the environment names it.
pub(crate) fn target_and_names(words: Vec<String>) -> anyhow::Result<(Target, Vec<String>)> {
    let mut words = words.into_iter();
    let first = words.next().ok_or_else(no_url)?;
    if is_url(&first) {
        return Ok((Target { url: Some(first) }, words.collect()));
    }
    let url = env::var(URL_VARIABLE).map_err(|_| no_url())?;
    Ok((Target { url: Some(url) }, [first].into_iter().chain(words).collect()))
}

/// The settings that `url` is, for the app of the command line where it names none.
pub(crate) fn settings(url: &str, global: &Global) -> anyhow::Result<BackplaneConfig> {
    let settings = match &global.app {
        Some(app) => BackplaneConfig::parse_for(app, url)?,
        None => url.parse::<BackplaneConfig>()?,
    };
    if !settings.reaches_other_processes() {
        return Err(usage("memory: is a store within one process, which no command can look into"));
    }
    match (&global.app, settings.app()) {
        (Some(given), Some(named)) if given != named => {
            Err(usage(format!("--app says {given}, and the URL says app {named}: nothing was done")))
        }
        _ => Ok(settings),
    }
}

/// One connection to a store, and a node on it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) bus: Bus,
}

impl Node {
    /// Waits until every stream of a new node is open, for `deadline` at most.
    ///
    /// # Errors
    /// A fatal error of the store, or, past the deadline, the one for which it cannot be reached.
    pub(crate) async fn connect(
        settings: &BackplaneConfig,
        config: BusConfig,
        deadline: Duration,
    ) -> anyhow::Result<Self> {
        let backplane = settings.backplane()?;
        let config = match settings.app() {
            Some(app) => config.with_app(app.clone()),
            None => config,
        };
        let node = Self { bus: Bus::builder_from(Arc::clone(&backplane)).config(config).start()?, backplane };
        let all: Vec<_> = (0..node.bus.stream_count().get()).map(StreamIndex).collect();
        let opened = node.wait_up(&all, deadline).await;
        if opened.is_err() {
            node.bus.close(Duration::ZERO).await;
        }
        opened.map(|()| node)
    }

    /// Waits until these streams are up, for `deadline` at most.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn wait_up(&self, streams: &[StreamIndex], deadline: Duration) -> anyhow::Result<()> {
        let mut watch = self.bus.state();
        let opened = async {
            loop {
                let states = watch.current();
                if let Some(error) = first_error(&states).filter(Error::is_fatal) {
                    return Err(error);
                }
                if streams.iter().all(|stream| states[stream.index()].is_up()) {
                    return Ok(());
                }
                if watch.changed().await.is_none() {
                    return Err(ErrorKind::Closed.into());
                }
            }
        };
        match or_interrupted(timeout(deadline, opened)).await? {
            Ok(outcome) => Ok(outcome?),
            Err(_) => {
                let told =
                    || Error::new(ErrorKind::Timeout, format!("no answer of the store within {deadline:?}"));
                Err(first_error(&self.bus.state().current()).unwrap_or_else(told).into())
            }
        }
    }

    pub(crate) async fn close(&self) {
        self.bus.close(CLOSE_DEADLINE).await;
    }
}

/// The settings of a node that follows a few channels, with that many payloads of what the store retains.
pub(crate) fn listener(settings: &BackplaneConfig, backlog: usize) -> Result<BusConfig, Error> {
    let config = BusConfig::default().with_max_backlog_payloads(backlog.max(1));
    // Streams of which nobody wants anything are not read, where the store can say later what was missed before.
    Ok(match settings.backplane()?.capabilities().replay {
        true => config.with_interest(Interest::OnDemand),
        false => config,
    })
}

/// The result of `future`, unless Ctrl-C comes first.
///
/// # Errors
/// [`Interrupted`].
pub(crate) async fn or_interrupted<F: Future>(future: F) -> anyhow::Result<F::Output> {
    tokio::select! {
        biased;
        () = interrupted() => Err(Interrupted.into()),
        output = future => Ok(output),
    }
}

/// Waits for Ctrl-C, or for what asks a process to end; returns at once where that came before.
pub(crate) async fn interrupted() {
    // The sender is never dropped.
    drop(INTERRUPTED.subscribe().wait_for(|is_interrupted| *is_interrupted).await);
}

/// Whether the process was asked to end.
static INTERRUPTED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// Hears from now on what asks the process to end. The first time a command ends in its own way, the second time at
/// once.
///
/// # Errors
/// Of the operating system.
pub(crate) fn catch_interrupts() -> io::Result<()> {
    #[cfg(unix)]
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            if INTERRUPTED.send_replace(true) {
                std::process::exit(Exit::Interrupted.code().into());
            }
        }
    });
    Ok(())
}

/// Reads a time as `10s`, `1m 30s`, `500ms`; it is above 0.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}: write 10s or 500ms"))?;
    if time.is_zero() { Err("it must be above 0".into()) } else { Ok(time) }
}

fn first_error(streams: &[StreamState]) -> Option<Error> {
    streams.iter().find_map(|state| match state {
        StreamState::Degraded { error, .. } => Some(error.clone()),
        _ => None,
    })
}

/// Whether a word is a store rather than the name of a channel.
pub(crate) fn is_url(word: &str) -> bool {
    let is_memory = word.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("memory:"));
    let is_connection_string = word.contains(';') && word.contains('=');
    word.contains("://") || is_memory || is_connection_string
}

fn no_url() -> anyhow::Error {
    usage(format!("which store? Give its URL, such as redis://localhost?app=chat, or set {URL_VARIABLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_told_from_a_channel() {
        for store in ["redis://x", "memory:", "MEMORY:a", "Server=x;Database=y", "Endpoint=sb://x;App=chat"] {
            assert!(is_url(store), "{store}");
        }
        for channel in ["room:42", "a=b", "a;b", "localhost:6379", ""] {
            assert!(!is_url(channel), "{channel}");
        }
    }

    #[test]
    fn a_time_is_above_zero() {
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(time("0s").is_err() && time("10").is_err() && time("soon").is_err());
    }
}
