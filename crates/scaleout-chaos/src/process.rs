//! A node process, seen from the orchestrator.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command as Program},
    time::timeout,
};

use crate::protocol::{Answer, Command, Setup, Status};

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running node; it ends with this value, and with this process.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    pub(crate) number: usize,
    /// Its id on the bus.
    pub(crate) id: String,
    pub(crate) journal: PathBuf,
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl NodeProcess {
    /// Starts one, and waits until it is up. What it says of its troubles goes to `errors`.
    ///
    /// # Errors
    /// Where it does not start, or does not come up in time.
    pub(crate) async fn start(kind: &str, setup: &Setup, errors: &Path) -> Result<Self> {
        let errors = std::fs::File::options().create(true).append(true).open(errors)?;
        let mut program = Program::new(std::env::current_exe()?);
        program.arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
        let mut child = program.spawn().context("a node process")?;
        let stdin = child.stdin.take().context("its input is a pipe")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut node = Self {
            number: setup.number,
            id: String::new(),
            journal: setup.journal.clone(),
            child,
            stdin,
            answers: BufReader::new(stdout).lines(),
        };
        node.id = node.talk(&serde_json::to_string(setup)?).await?.node;
        Ok(node)
    }

    /// # Errors
    /// What the node answers, or that it does not.
    pub(crate) async fn ask(&mut self, command: &Command) -> Result<Answer> {
        self.talk(&serde_json::to_string(command)?).await.with_context(|| format!("asked for {command:?}"))
    }

    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) async fn status(&mut self) -> Result<Status> {
        self.ask(&Command::Status).await?.status.context("an answer without a status")
    }

    /// # Errors
    /// Where it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(kill_process(pid.context("the node has ended")?, signal)?)
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    /// Where it stays.
    pub(crate) async fn wait_gone(&mut self) -> Result<()> {
        timeout(PATIENCE, self.child.wait()).await.context("a killed node does not go")??;
        Ok(())
    }

    /// Has it close its bus and end.
    ///
    /// # Errors
    /// Where it does not end well.
    pub(crate) async fn finish(mut self) -> Result<PathBuf> {
        self.ask(&Command::Finish).await?;
        let status = timeout(PATIENCE, self.child.wait()).await.context("the node does not end")??;
        if !status.success() {
            bail!("node {} ended with {status}", self.number);
        }
        Ok(self.journal)
    }

    async fn talk(&mut self, line: &str) -> Result<Answer> {
        let number = self.number;
        let talking = async {
            self.stdin.write_all(line.as_bytes()).await?;
            self.stdin.write_all(b"\n").await?;
            self.stdin.flush().await?;
            self.answers.next_line().await
        };
        let answer = timeout(PATIENCE, talking).await;
        let answer = answer.with_context(|| format!("node {number} does not answer"))?;
        let Some(answer) = answer.with_context(|| format!("node {number} has ended"))? else {
            let status = timeout(Duration::from_secs(5), self.child.wait()).await;
            bail!("node {number} has ended: {status:?}");
        };
        let answer: Answer = serde_json::from_str(&answer)?;
        match answer.error {
            Some(error) => bail!("node {number}: {error}"),
            None => Ok(answer),
        }
    }
}
