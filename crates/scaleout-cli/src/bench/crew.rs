//! The processes of a run: started, told and asked, and ended whatever happens.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};

use super::words::{Answer, Order, Setup};

/// How long a process may take to end by itself.
const ENDING: Duration = Duration::from_secs(10);

/// The option by which this program is a node of a run.
pub(super) const NODE: &str = "--as-node";

/// The processes of a run, by the order in which they were started.
pub(super) struct Crew {
    members: Vec<Member>,
    answers: mpsc::Receiver<(usize, Answer)>,
    answer: mpsc::Sender<(usize, Answer)>,
}

struct Member {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
}

impl Crew {
    pub(super) fn new() -> Self {
        let (answer, answers) = mpsc::channel(64);
        Self { members: Vec::new(), answers, answer }
    }

    /// Starts one more process.
    pub(super) async fn start(&mut self, setup: Setup) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", NODE]).env_remove(crate::store::URL_VARIABLE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("a process of the run does not start")?;
        let orders = child.stdin.take().context("a piped stdin")?;
        let mut lines = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
        let (answer, index) = (self.answer.clone(), self.members.len());
        tokio::spawn(async move {
            let ended = || Answer::Failed { error: "the process ended".into() };
            while let Ok(Some(line)) = lines.next_line().await {
                let said = serde_json::from_str(&line).unwrap_or_else(|_| ended());
                if answer.send((index, said)).await.is_err() {
                    return;
                }
            }
            let _ = answer.send((index, ended())).await;
        });
        let name = if setup.publishes { "the publisher" } else { "a receiver" };
        self.members.push(Member { name, child, orders });
        self.tell(index, &Order::Setup(Box::new(setup))).await
    }

    pub(super) async fn tell(&mut self, index: usize, order: &Order) -> anyhow::Result<()> {
        let member = self.members.get_mut(index).context("a process that there is")?;
        let line = format!("{}\n", serde_json::to_string(order)?);
        if member.orders.write_all(line.as_bytes()).await.is_ok() {
            return Ok(());
        }
        // It ended, and said why.
        loop {
            self.hear(ENDING).await?;
        }
    }

    /// The next answer of any of them, and whose it is.
    pub(super) async fn hear(&mut self, patience: Duration) -> anyhow::Result<(usize, Answer)> {
        let heard = timeout(patience, self.answers.recv()).await;
        let (index, answer) = heard.context("the run stands still")?.context("there is always a sender")?;
        if let Answer::Failed { error } = answer {
            bail!("{} failed: {error}", self.members.get(index).map_or("a process", |member| member.name));
        }
        Ok((index, answer))
    }

    /// Waits until all of these are ready.
    pub(super) async fn ready(&mut self, count: usize, patience: Duration) -> anyhow::Result<()> {
        let mut ready = 0;
        while ready < count {
            let (_, answer) = self.hear(patience).await?;
            ready += usize::from(matches!(answer, Answer::Ready));
        }
        Ok(())
    }

    /// Lets them end, and waits until they have.
    pub(super) async fn finish(&mut self) {
        for member in &mut self.members {
            let line = serde_json::to_string(&Order::End).unwrap_or_default();
            // Who cannot be told is gone.
            let _ = member.orders.write_all(format!("{line}\n").as_bytes()).await;
        }
        let members = &mut self.members;
        let ending = async {
            for member in members {
                let _ = member.child.wait().await;
            }
        };
        let _ = timeout(ENDING, ending).await;
        self.kill().await;
    }

    /// Ends them at once, and waits until they are gone.
    pub(super) async fn kill(&mut self) {
        for mut member in self.members.drain(..) {
            let _ = member.child.kill().await;
        }
    }
}
