//! From a URL to a store, and to a node on it.

use std::{env, future::Future, time::Duration};

use scaleout::{BackplaneConfig, Bus, BusBuilder, BusConfig, Error, ErrorKind, StreamState};

use crate::{
    Global,
    exit::{Interrupted, usage},
};

/// The environment variable that names the store.
pub(crate) const URL_VARIABLE: &str = "SCALEOUT_URL";

/// How long a node that ends may take to send what waits, and to release what it holds.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The store of a command that takes nothing else by position.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// The store: a URL or a connection string. The environment keeps its password out of the list of processes.
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
    let Some(first) = words.next() else { return Err(no_url()) };
    if is_url(&first) {
        return Ok((Target { url: Some(first) }, words.collect()));
    }
    match env::var(URL_VARIABLE) {
        Ok(url) => Ok((Target { url: Some(url) }, [first].into_iter().chain(words).collect())),
        Err(_) => Err(no_url()),
    }
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
    if let (Some(given), Some(named)) = (&global.app, settings.app())
        && given != named
    {
        return Err(usage(format!(
            "--app says {given}, and the URL says app {named}: leave one of them out"
        )));
    }
    Ok(settings)
}

/// Waits until every stream of a node is open, for `deadline` at most.
///
/// # Errors
/// A fatal error of the store, or, past the deadline, the one for which it cannot be reached.
pub(crate) async fn connect(
    settings: &BackplaneConfig,
    config: BusConfig,
    deadline: Duration,
) -> anyhow::Result<Bus> {
    let bus = node(settings, config)?.start()?;
    let mut state = bus.state();
    let opened = async {
        loop {
            let streams = state.current();
            if let Some(error) = first_error(&streams).filter(Error::is_fatal) {
                return Err(error);
            }
            if streams.iter().all(|state| matches!(state, StreamState::Up)) {
                return Ok(());
            }
            state.changed().await;
        }
    };
    let result = match or_interrupted(tokio::time::timeout(deadline, opened)).await {
        Ok(Ok(result)) => result.map_err(anyhow::Error::from),
        Ok(Err(_)) => Err(first_error(&bus.state().current())
            .unwrap_or_else(|| {
                Error::new(ErrorKind::Timeout, format!("the store did not answer within {deadline:?}"))
            })
            .into()),
        Err(interrupted) => Err(interrupted),
    };
    if result.is_err() {
        bus.close(Duration::ZERO).await;
    }
    result.map(|()| bus)
}

/// A node of the app that the settings name.
pub(crate) fn node(settings: &BackplaneConfig, config: BusConfig) -> Result<BusBuilder, Error> {
    settings.bus(config)
}

/// The result of `future`, unless Ctrl-C comes first.
///
/// # Errors
/// [`Interrupted`].
pub(crate) async fn or_interrupted<F: Future>(future: F) -> anyhow::Result<F::Output> {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(Interrupted.into()),
        output = future => Ok(output),
    }
}

fn first_error(streams: &[StreamState]) -> Option<Error> {
    streams.iter().find_map(|state| match state {
        StreamState::Degraded { error, .. } => Some(error.clone()),
        _ => None,
    })
}

/// Whether a word is a store rather than the name of a channel.
fn is_url(word: &str) -> bool {
    let begins =
        |scheme: &str| word.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let is_connection_string = word.contains(';') && word.contains('=');
    word.contains("://") || begins("memory:") || is_connection_string
}

fn no_url() -> anyhow::Error {
    usage(format!("which store? Give its URL, such as redis://localhost?app=chat, or set {URL_VARIABLE}"))
}
