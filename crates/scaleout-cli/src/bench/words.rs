//! What the processes of a run say to each other: lines of JSON, orders on standard input and answers on standard output.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use scaleout::{AppName, BackplaneConfig};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use super::case::Case;

/// What a node of a run is told. The first order is the setup, so that no list of processes shows a password.
#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    Setup(Box<Setup>),
    /// Begins a phase; the publisher publishes for so long.
    Begin {
        seconds: f64,
    },
    /// To the publisher: so far is the slowest receiver.
    Seen {
        behind: u64,
    },
    /// To receivers: so many messages were sent since the run began.
    Sent {
        count: u64,
    },
    End,
}

/// Which node of which run a process is.
#[derive(Serialize, Deserialize)]
pub(super) struct Setup {
    /// It may hold secrets.
    pub(super) url: String,
    /// The app where the URL names none.
    pub(super) url_app: Option<String>,
    /// The app of the run.
    pub(super) app: String,
    pub(super) publishes: bool,
    pub(super) case: Case,
}

impl Setup {
    /// The place of the run in the store.
    pub(super) fn settings(&self) -> anyhow::Result<BackplaneConfig> {
        let settings = match &self.url_app {
            Some(app) => BackplaneConfig::parse_for(&app.parse::<AppName>()?, &self.url)?,
            None => self.url.parse()?,
        };
        Ok(settings.apart(self.app.parse()?))
    }
}

/// What a node of a run says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is connected; or, to receivers, the phase may begin.
    Ready,
    Seen {
        behind: u64,
    },
    Published(Published),
    Received(Received),
    Failed {
        error: String,
    },
}

/// Times in ns, each with how often it was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Times(pub(super) Vec<(u64, u64)>);

/// What a publisher did in a phase. Times in ns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Published {
    /// Messages since the run began, and in this phase.
    pub(super) total: u64,
    pub(super) sent: u64,
    pub(super) errors: u64,
    /// The first error.
    pub(super) error: Option<String>,
    /// When the phase began.
    pub(super) first: u64,
    pub(super) cpu: Option<u64>,
    /// Frames that the store took.
    pub(super) frames: u64,
    /// From a publish to its confirmation.
    pub(super) confirms: Times,
}

/// What a receiver got in a phase; what went wrong counts from the begin of the run on. Times in ns.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Received {
    /// Different messages.
    pub(super) received: u64,
    /// When the last one came.
    pub(super) last: u64,
    pub(super) cpu: Option<u64>,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    /// Gaps that were told.
    pub(super) gaps: u64,
    /// The first of them.
    pub(super) gap: Option<String>,
    /// From a publish to its reception.
    pub(super) latencies: Times,
}

/// What this process is told.
pub(super) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    pub(super) fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The first one.
    pub(super) async fn setup(&mut self) -> anyhow::Result<Setup> {
        match self.next().await? {
            Order::Setup(setup) => Ok(*setup),
            _ => bail!("this is a part of `scaleout bench`, which nobody else starts"),
        }
    }

    /// The next one; the end of the run where nobody is there to give orders.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self) -> anyhow::Result<Order> {
        match self.0.next_line().await? {
            // What cannot be read is not shown: it may hold a URL.
            Some(line) => serde_json::from_str(&line).ok().context("an order that is none"),
            None => Ok(Order::End),
        }
    }
}

pub(super) fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(answer)?)?;
    Ok(stdout.flush()?)
}
