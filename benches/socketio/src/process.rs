//! A node as the runner sees it: a process that takes orders.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Duration, Instant, sleep, timeout},
};

use crate::words::{Order, Spec};

/// How long a node may take for an answer, a run of usual length included.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a node may take to end when its input ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// Between two questions whether nodes hear each other.
const PROBES: Duration = Duration::from_millis(20);

/// A node. It is killed when this value is dropped; a frozen one too.
#[derive(Debug)]
pub struct Node {
    spec: Spec,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Node {
    /// Starts one in a folder, and waits until it takes orders.
    pub async fn start(spec: Spec, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", &serde_json::to_string(&spec)?]).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let orders = child.stdin.take().context("a piped stdin")?;
        let answers = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
        let mut node = Self { spec, child, orders, answers };
        let word: String = node.answer().await?;
        ensure!(word == "ready", "node {} said {word}", node.spec.name);
        Ok(node)
    }

    pub async fn order(&mut self, order: Order) -> anyhow::Result<()> {
        let line = serde_json::to_string(&order)? + "\n";
        Ok(self.orders.write_all(line.as_bytes()).await?)
    }

    pub async fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = timeout(PATIENCE, self.answers.next_line()).await.context("a node takes too long")??;
        let Spec { name, which, .. } = &self.spec;
        let line = line.with_context(|| format!("node {name} of {which} ended"))?;
        serde_json::from_str(&line).with_context(|| format!("node {name} of {which} said {line}"))
    }

    pub async fn ask<T: DeserializeOwned>(&mut self, order: Order) -> anyhow::Result<T> {
        self.order(order).await?;
        self.answer().await
    }

    /// Stops it (`SIGSTOP`) as if its machine were frozen: its connections stay open.
    pub fn freeze(&self) -> anyhow::Result<()> {
        // The child is not waited for while this value lives, so that its id is nobody else's.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("a living node")?;
        Ok(kill_process(pid, Signal::STOP)?)
    }

    /// Ends it, and waits until it did.
    pub async fn end(self) -> anyhow::Result<()> {
        let Self { mut child, orders, answers, .. } = self;
        drop((orders, answers));
        if timeout(FAREWELL, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Kills it, and waits until it did.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Waits until every node with a socket hears all the others: no side says when its subscriptions are up.
pub async fn hear_each_other(nodes: &mut [&mut Node]) -> anyhow::Result<()> {
    let begin = Instant::now();
    let names: Vec<String> = nodes.iter().map(|node| node.spec.name.clone()).collect();
    loop {
        let mut deaf = None;
        for node in nodes.iter_mut() {
            let heard: Vec<String> = node.ask(Order::Probe).await?;
            let misses = names.iter().find(|&name| *name != node.spec.name && !heard.contains(name));
            if let Some(missed) = misses.filter(|_| node.spec.socket) {
                deaf = Some(format!("node {} of {} does not hear {missed}", node.spec.name, node.spec.which));
            }
        }
        let Some(deaf) = deaf else { return Ok(()) };
        ensure!(begin.elapsed() < PATIENCE, deaf);
        sleep(PROBES).await;
    }
}
