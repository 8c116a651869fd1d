//! `scaleout publish`: messages from the command line or from stdin.

use std::{
    collections::VecDeque,
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use scaleout::{BusConfig, Error, ErrorKind, Overflow, Publish, Role, check_channel};
use serde::Serialize;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, stdin},
    time::timeout,
};

use crate::{
    Global,
    exit::{Exit, usage},
    output::Output,
    store::{self, Node},
};

/// Publish a message, or one for each line of stdin, and wait until the store has them.
///
/// The order of the lines is the order of the messages. The first that fails ends the command, which says which line
/// it was; what was published before stays published.
#[derive(Debug, clap::Args)]
#[command(override_usage = "scaleout publish [OPTIONS] [URL] <CHANNEL> [TEXT|-]", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The store (else SCALEOUT_URL names it), the channel, and the message; `-` or nothing reads stdin.
    #[arg(required = true, value_name = "URL|CHANNEL|TEXT", num_args = 1..=3)]
    words: Vec<String>,
    /// All of stdin is one message.
    #[arg(long)]
    whole: bool,
    /// How long to wait for the connection, and then for each confirmation.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = store::time)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  scaleout publish 'redis://localhost?app=chat' room:42 hello
  journalctl -f | scaleout publish 'redis://localhost?app=chat' logs -
  SCALEOUT_URL='redis://localhost?app=chat' scaleout publish --whole room:42 - < picture.png";

/// Messages that wait for their confirmation at a time; lines are not read faster than that.
const MAX_WAITING: usize = 1_000;

/// What was published.
#[derive(Debug, Default, Serialize)]
struct Published {
    channel: String,
    messages: u64,
    bytes: u64,
    took_ms: u64,
}

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let (target, names) = store::target_and_names(options.words)?;
    let mut names = names.into_iter();
    let channel = names.next().ok_or_else(|| usage("which channel? It stands behind the URL"))?;
    let text = names.next();
    if names.next().is_some() {
        return Err(usage("one channel and one text: put a text of several words into quotes"));
    }
    let is_stdin = text.as_deref().is_none_or(|text| text == "-");
    if options.whole && !is_stdin {
        return Err(usage("--whole is for stdin, and there is a text"));
    }
    check_channel(&channel)?;
    let settings = target.settings(global)?;
    let config = BusConfig::default()
        .with_role(Role::PublishOnly)
        .with_overflow(Overflow::Wait)
        .with_max_queue_messages(MAX_WAITING);
    let progress = output.progress("connecting", None);
    let node = Node::connect(&settings, config, options.timeout).await?;
    drop(progress);

    let began = Instant::now();
    let mut sender = Sender { node: &node, timeout: options.timeout, waiting: VecDeque::new(), next: 0 };
    let mut published = Published { channel, ..Published::default() };
    let sending = async {
        match text.filter(|_| !is_stdin) {
            Some(text) => sender.send(&mut published, text.into_bytes()).await?,
            None if options.whole => {
                let mut all = Vec::new();
                stdin().read_to_end(&mut all).await.context("stdin")?;
                sender.send(&mut published, all).await?;
            }
            None => sender.send_lines(&mut published, BufReader::new(stdin())).await?,
        }
        sender.finish().await
    };
    let outcome = store::or_interrupted(sending).await;
    node.close().await;
    outcome??;

    published.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Published { channel, messages, .. } = &published;
    let plural = if *messages == 1 { "" } else { "s" };
    output.text(format_args!("the store has {messages} message{plural} to {}", channel.escape_debug()))?;
    output.json(&published)?;
    Ok(Exit::Done)
}

/// Messages on their way, in order.
struct Sender<'a> {
    node: &'a Node,
    timeout: Duration,
    waiting: VecDeque<Publish>,
    /// The number of the message whose confirmation is awaited next.
    next: u64,
}

impl Sender<'_> {
    async fn send_lines(
        &mut self,
        published: &mut Published,
        mut input: impl AsyncBufRead + Unpin,
    ) -> anyhow::Result<()> {
        let mut line = Vec::new();
        loop {
            // A confirmation that fails is told although no line follows.
            let read = tokio::select! {
                biased;
                read = input.read_until(b'\n', &mut line) => read.context("stdin")?,
                outcome = confirmed(&mut self.waiting, self.timeout), if !self.waiting.is_empty() => {
                    self.note(outcome)?;
                    continue;
                }
            };
            // What was read before a confirmation came stays in `line`.
            if read == 0 && line.is_empty() {
                return Ok(());
            }
            let mut whole = std::mem::take(&mut line);
            if whole.last() == Some(&b'\n') {
                whole.pop();
            }
            if whole.last() == Some(&b'\r') {
                whole.pop();
            }
            self.send(published, whole).await?;
        }
    }

    async fn send(&mut self, published: &mut Published, payload: Vec<u8>) -> anyhow::Result<()> {
        while self.waiting.len() >= MAX_WAITING {
            let outcome = confirmed(&mut self.waiting, self.timeout).await;
            self.note(outcome)?;
        }
        published.messages += 1;
        published.bytes += payload.len() as u64;
        self.waiting.push_back(self.node.bus.publish(&published.channel, payload));
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while !self.waiting.is_empty() {
            let outcome = confirmed(&mut self.waiting, self.timeout).await;
            self.note(outcome)?;
        }
        Ok(())
    }

    fn note(&mut self, outcome: Result<(), Error>) -> anyhow::Result<()> {
        self.next += 1;
        let number = self.next;
        outcome.with_context(|| format!("message {number} was not published, or not confirmed"))
    }
}

/// Waits for the confirmation of the first message that waits for one.
async fn confirmed(waiting: &mut VecDeque<Publish>, deadline: Duration) -> Result<(), Error> {
    let Some(first) = waiting.front_mut() else { return Ok(()) };
    let outcome = timeout(deadline, Pin::new(first)).await;
    waiting.pop_front();
    outcome.unwrap_or_else(|_| {
        let problem = format!("no confirmation of the store within {deadline:?}: it may be there");
        Err(Error::new(ErrorKind::Timeout, problem))
    })
}
