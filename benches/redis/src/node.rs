//! The processes of a run: what they say to the one that started them, by lines.
//!
//! Both say `READY`. The publisher is told `GO`, and says what it did as JSON. Receivers are told `END <sent> <times…>`
//! and say what they got as JSON.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use crate::{
    bare,
    case::{Case, Runtime, Which},
    peer, scaleout,
    tally::{Published, Received, Tally, cpu},
};

#[derive(Debug, Subcommand)]
pub enum Role {
    Publish { case: String },
    Receive { case: String },
}

pub fn run(role: Role) -> anyhow::Result<()> {
    let (Role::Publish { case } | Role::Receive { case }) = &role;
    let case: Case = serde_json::from_str(case)?;
    let mut builder = match case.runtime {
        Runtime::Current => tokio::runtime::Builder::new_current_thread(),
        Runtime::Multi => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        }
    };
    builder.enable_all().build()?.block_on(async move {
        // A task of its own, since what `block_on` polls itself does not run on a worker.
        match role {
            Role::Publish { .. } => tokio::spawn(async move { say(&publish(case).await?) }).await?,
            Role::Receive { .. } => tokio::spawn(async move { say(&receive(case).await?) }).await?,
        }
    })
}

async fn publish(case: Case) -> anyhow::Result<Published> {
    match case.which {
        Which::Scaleout => scaleout::publish(case).await,
        Which::Bare => bare::publish(case).await,
        Which::SocketioxideRedis | Which::SocketioxideFred => peer::publish(case).await,
    }
}

async fn receive(case: Case) -> anyhow::Result<Received> {
    match case.which {
        Which::Scaleout => scaleout::receive(case).await,
        Which::Bare => bare::receive(case).await,
        Which::SocketioxideRedis | Which::SocketioxideFred => peer::receive(case).await,
    }
}

fn say(what: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(std::io::stdout().flush()?)
}

/// What this process is told.
#[derive(Debug)]
pub struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    /// Says that this process is ready.
    pub fn ready() -> anyhow::Result<Self> {
        println!("READY");
        std::io::stdout().flush()?;
        Ok(Self(BufReader::new(tokio::io::stdin()).lines()))
    }

    /// Waits for the word to begin; gives what the process has used before.
    pub async fn go(&mut self) -> anyhow::Result<u64> {
        match self.0.next_line().await?.as_deref() {
            Some("GO") => Ok(cpu()),
            other => bail!("expected GO, not {other:?}"),
        }
    }

    /// Waits for the word to stop.
    pub async fn stop(&mut self) {
        // What ends the standard input ends this process as well.
        let _ = self.0.next_line().await;
    }
}

/// How long a receiver waits for what is still under way.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// After everything came: for how long what came twice would be seen.
const AFTERMATH: std::time::Duration = std::time::Duration::from_millis(30);

/// What messages come from.
pub trait Source: Send {
    /// Counts the next message; `false` where there will be none. Dropping it loses nothing.
    fn next(&mut self, tally: &mut Tally) -> impl Future<Output = bool> + Send;
}

/// Receives until all came that was sent, or nothing comes any more.
pub async fn tally_all(case: &Case, mut source: impl Source) -> anyhow::Result<Received> {
    let mut tally = Tally::new(case.count, case.endless);
    let mut orders = Orders::ready()?;
    let before = cpu();
    let (mut sent, mut asked) = (u64::MAX, Vec::new());
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    let mut quiet_since = tokio::time::Instant::now();
    let mut count = 0;
    let mut ended = false;
    // Only what cannot go on at once looks at the other arms, so they cost nothing under load.
    while tally.received() < sent {
        tokio::select! {
            biased;
            more = source.next(&mut tally), if !ended => ended = !more,
            line = orders.0.next_line(), if sent == u64::MAX => {
                let line = line?.context("the run was given up")?;
                let mut words = line.strip_prefix("END ").context("expected END")?.split(' ').map(str::parse);
                sent = words.next().context("expected a number")??;
                asked = words.collect::<Result<_, _>>()?;
                quiet_since = tokio::time::Instant::now();
            }
            _ = ticks.tick() => {
                if tally.received() != count {
                    count = tally.received();
                    quiet_since = tokio::time::Instant::now();
                } else if sent != u64::MAX && quiet_since.elapsed() > PATIENCE {
                    break;
                }
            }
        }
    }
    let used = cpu() - before;
    if !ended {
        let aftermath = async { while source.next(&mut tally).await {} };
        let _ = tokio::time::timeout(AFTERMATH, aftermath).await;
    }
    Ok(tally.finish(used, &asked))
}
