//! `scaleout tail`: what is published to channels, as it comes.

use std::{
    io::{Write as _, stdout},
    str::FromStr,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use scaleout::{
    Cursor, CursorEntry, Gap, Message, Position, Received, StateWatch, StreamIndex, StreamState,
    Subscription, check_channel,
};
use serde::Serialize;

use crate::{
    Global,
    exit::{Exit, usage},
    output::{Output, Paint, Shown, timestamp},
    store::{self, Node},
};

/// Show the messages of channels as they come, and what may be missing of them.
///
/// Text is shown as it is, but for control characters; what is not UTF-8 as base64. At the end, which is Ctrl-C or
/// --count, it tells the cursor with which to go on.
#[derive(Debug, clap::Args)]
#[command(override_usage = "scaleout tail [OPTIONS] [URL] <CHANNEL>...", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The store (else SCALEOUT_URL names it), and the channels.
    #[arg(required = true, value_name = "URL|CHANNEL")]
    words: Vec<String>,
    /// Where to begin: a cursor, which is told at the end of an earlier run and with every message in JSON, or
    /// `start`, the oldest of the store's newest epoch that it still retains. Without it: from now on.
    #[arg(long, value_name = "CURSOR|start", allow_hyphen_values = true)]
    from: Option<From>,
    /// End after that many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The payloads alone, byte for byte, each with a newline; gaps on stderr.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Payloads asked of the store for each stream, with --from: what lies further back is told as a gap.
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    backlog: usize,
    /// How long to wait for the connection.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = store::time)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  scaleout tail 'redis://localhost?app=chat' room:42 room:43
  scaleout tail --from start --count 10 --json 'redis://localhost?app=chat' room:42
  SCALEOUT_URL='redis://localhost?app=chat' scaleout tail room:42 --from 1BAEC";

/// Where to begin.
#[derive(Debug, Clone)]
enum From {
    Start,
    Cursor(Cursor),
}

impl FromStr for From {
    type Err = scaleout::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "start" { Ok(Self::Start) } else { text.parse().map(Self::Cursor) }
    }
}

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let (target, channels) = store::target_and_names(options.words.clone())?;
    if channels.is_empty() {
        return Err(usage("which channel? It stands behind the URL"));
    }
    for channel in &channels {
        check_channel(channel)?;
    }
    let settings = target.settings(global)?;
    if matches!(options.from, Some(From::Start)) && !settings.backplane()?.capabilities().replay {
        return Err(usage("--from start: this store keeps nothing for nodes that were not there"));
    }
    let backlog = if options.from.is_some() { options.backlog } else { 1 };
    let progress = output.progress("connecting", None);
    let node = Node::connect(&settings, store::listener(&settings, backlog)?, options.timeout).await?;
    let outcome = follow(&options, &channels, &node, output, progress).await;
    node.close().await;
    outcome
}

async fn follow(
    options: &Options,
    channels: &[String],
    node: &Node,
    output: &Output,
    progress: crate::output::Progress,
) -> anyhow::Result<Exit> {
    let mut streams: Vec<_> = channels.iter().map(|channel| node.bus.stream_of(channel)).collect();
    streams.sort();
    streams.dedup();
    let mut subscription = match &options.from {
        Some(From::Cursor(cursor)) => node.bus.resume(channels, cursor),
        _ => node.bus.subscribe(channels),
    };
    node.wait_up(&streams, options.timeout).await?;
    if matches!(options.from, Some(From::Start)) {
        subscription = node.bus.resume(channels, &start(node, &streams).await?);
    }
    drop(progress);
    let names: Vec<_> = channels.iter().map(|channel| channel.escape_debug().to_string()).collect();
    output.note(output.paint_error(Paint::Faint, format_args!("listening to {}", names.join(", "))));

    let mut messages = 0;
    let outcome = show(options, node, &streams, &mut subscription, output, &mut messages).await;
    let cursor = subscription.cursor().to_string();
    outcome?;
    output.note(output.paint_error(Paint::Faint, format_args!("to go on from here: --from {cursor}")));
    output.json(&Line::End { cursor, messages })?;
    Ok(Exit::Done)
}

/// A cursor before the oldest payload of the newest epoch that the store retains of these streams.
async fn start(node: &Node, streams: &[StreamIndex]) -> anyhow::Result<Cursor> {
    let (mut cursor, positions) = (Cursor::new(node.bus.stream_count()), node.bus.positions());
    for &stream in streams {
        let position = match node.backplane.retained(stream).await? {
            Some(retained) => match retained.first {
                Some(first) => Some(Position::before(retained.epoch, first)),
                None => Some(Position::start_of(retained.epoch)),
            },
            None => positions[stream.index()].map(|position| Position::start_of(position.epoch)),
        };
        if let Some(position) = position {
            cursor.set(stream, CursorEntry::At { position, stem: None });
        }
    }
    Ok(cursor)
}

/// Shows what comes, until that is enough or Ctrl-C.
async fn show(
    options: &Options,
    node: &Node,
    streams: &[StreamIndex],
    subscription: &mut Subscription,
    output: &Output,
    messages: &mut u64,
) -> anyhow::Result<()> {
    let end = store::interrupted();
    tokio::pin!(end);
    let (mut states, mut was_up) = (node.bus.state(), true);
    while options.count.is_none_or(|count| *messages < count) {
        let received = tokio::select! {
            biased;
            () = &mut end => return Ok(()),
            received = subscription.recv() => received,
            Some(_) = states.changed() => {
                was_up = show_state(&states, streams, was_up, output)?;
                continue;
            }
        };
        match received {
            Some(Received::Message(message)) => {
                show_message(options, &message, output)?;
                *messages += 1;
            }
            Some(Received::Gap(gap)) => show_gap(options, &gap, output)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Tells when one of `streams` is no longer up, and when all are again; whether they are.
fn show_state(
    states: &StateWatch,
    streams: &[StreamIndex],
    was_up: bool,
    output: &Output,
) -> anyhow::Result<bool> {
    let down = streams.iter().find_map(|&stream| match states.of(stream) {
        Some(StreamState::Degraded { error, .. }) => Some(error.to_string()),
        _ => None,
    });
    if down.is_none() == was_up {
        return Ok(was_up);
    }
    match &down {
        Some(error) => {
            let told = format_args!("nothing comes for now, it is tried again: {}", Shown(error));
            output.note(output.paint_error(Paint::Warning, told));
        }
        None => output.note(output.paint_error(Paint::Faint, "the store is back")),
    }
    output.json(&Line::State { up: down.is_none(), error: down.as_deref() })?;
    Ok(down.is_none())
}

fn show_message(options: &Options, message: &Message, output: &Output) -> anyhow::Result<()> {
    if options.raw {
        let mut stdout = stdout().lock();
        stdout.write_all(message.payload())?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        return Ok(());
    }
    let time = timestamp(message.sent_at());
    let payload = std::str::from_utf8(message.payload());
    let shown = match payload {
        Ok(text) => Shown(text).to_string(),
        Err(_) => output.paint(Paint::Faint, "base64:") + &STANDARD.encode(message.payload()),
    };
    output.text(format_args!(
        "{} {} {shown}",
        output.paint(Paint::Faint, &time),
        output.paint(Paint::Strong, Shown(message.channel())),
    ))?;
    output.json(&Line::Message {
        channel: message.channel(),
        payload: payload.ok(),
        payload_base64: payload.is_err().then(|| STANDARD.encode(message.payload())),
        cursor: message.cursor().to_string(),
        node: message.node().to_string(),
        sent_at: time,
        stream: message.stream().0,
        position: message.position().into(),
    })?;
    Ok(())
}

fn show_gap(options: &Options, gap: &Gap, output: &Output) -> anyhow::Result<()> {
    let frames = gap.frames().map_or_else(String::new, |frames| format!(", {frames} frames at most"));
    let text = format!("-- messages may be missing on stream {}: {}{frames} --", gap.stream(), gap.reason());
    if options.raw {
        output.note(output.paint_error(Paint::Warning, text));
        return Ok(());
    }
    output.text(output.paint(Paint::Warning, text))?;
    output.json(&Line::Gap {
        reason: gap.reason().to_string(),
        stream: gap.stream().0,
        frames: gap.frames(),
        cursor: gap.cursor().to_string(),
    })?;
    Ok(())
}

/// A line of JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Message {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload_base64: Option<String>,
        cursor: String,
        node: String,
        sent_at: String,
        stream: u16,
        position: Place,
    },
    Gap {
        reason: String,
        stream: u16,
        frames: Option<u64>,
        cursor: String,
    },
    State {
        up: bool,
        error: Option<&'a str>,
    },
    End {
        cursor: String,
        messages: u64,
    },
}

/// A position in JSON.
#[derive(Debug, Serialize)]
struct Place {
    epoch: u64,
    id: u64,
    index: u32,
}

impl std::convert::From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch.0, id: position.id.0, index: position.index }
    }
}
