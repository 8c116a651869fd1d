//! The journals of all processes of a run, put together to what the checker judges.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use scaleout::{Cursor, CursorEntry, StreamIndex};
use scaleout_testkit::{
    checker::{Client, End, Item, NodeRecord, Outcome, Published, Recording},
    fixture::Held,
    load::fill_log,
};

use crate::line::{Closed, Line, node_id};

/// How long a publish may take, faults included.
const RESOLVE_WITHIN: Duration = Duration::from_secs(120);

/// What a node process left.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) journal: PathBuf,
    /// When it was killed, if it was.
    pub(crate) killed: Option<Duration>,
}

/// How the run ended outside of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) stream_count: Option<NonZeroU16>,
    pub(crate) held: BTreeMap<StreamIndex, Vec<Held>>,
    /// Where each client stood, and the last payload of each stream of the store then.
    pub(crate) cursors: BTreeMap<usize, String>,
    /// Whether the store may have lost something that it had confirmed.
    pub(crate) may_forget: bool,
}

/// A run as the checker judges it, and figures beside it.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) recording: Recording,
    pub(crate) closed: Vec<Closed>,
    /// Confirmed, then forgotten by the store before anybody read it, and its publisher was killed: nobody can know.
    pub(crate) beyond_proof: usize,
}

/// Puts journals together; a node's place in the recording is its place in `left`.
///
/// What a killed node had under way counts as unconfirmed: nobody was told how it ended.
///
/// # Errors
/// Where a journal cannot be read, or says what no node writes.
pub(crate) fn merge(left: &[Left], ending: &Ending) -> Result<Merged> {
    let mut merged = Merged::default();
    let mut stays: BTreeMap<usize, BTreeMap<u32, Vec<Item>>> = BTreeMap::new();
    for (node, left) in left.iter().enumerate() {
        read(node, left, &mut merged, &mut stays)
            .with_context(|| format!("the journal {}", left.journal.display()))?;
    }
    let recording = &mut merged.recording;
    recording.resolve_within = RESOLVE_WITHIN;
    let clients = stays.keys().next_back().map_or(0, |last| last + 1);
    recording.clients.resize_with(clients, Client::default);
    for (client, stays) in stays {
        recording.clients[client].items = stays.into_values().flatten().collect();
    }
    for (client, cursor) in &ending.cursors {
        let cursor: Cursor = cursor.parse().context("the last cursor of a client")?;
        let ends: Vec<_> = cursor.entries().filter_map(|entry| end(entry, &ending.held)).collect();
        let of_client = &mut recording.clients[*client];
        of_client.drained = ends.iter().all(is_at_end);
        of_client.end = ends;
    }
    if let Some(stream_count) = ending.stream_count {
        fill_log(recording, stream_count, &ending.held);
        for publish in &mut recording.publishes {
            let unseen = ending.may_forget && publish.outcome == Outcome::Ok && !publish.in_log;
            if unseen && recording.nodes[publish.node].ended.is_some() {
                publish.outcome = Outcome::Unconfirmed;
                merged.beyond_proof += 1;
            }
        }
    }
    Ok(merged)
}

/// Whether clients with these cursors have read all that the store holds.
///
/// # Errors
/// Where a cursor is none.
pub(crate) fn all_at_end<'a>(
    cursors: impl IntoIterator<Item = &'a String>,
    held: &BTreeMap<StreamIndex, Vec<Held>>,
) -> Result<bool> {
    for cursor in cursors {
        let cursor: Cursor = cursor.parse()?;
        if !cursor.entries().filter_map(|entry| end(entry, held)).all(|end| is_at_end(&end)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The last cursor of a client in the journal of a process that was killed.
///
/// # Errors
/// Where the journal cannot be read or does not know the client.
pub(crate) fn last_cursor(journal: &Path, client: usize) -> Result<String> {
    let (mut current, mut last) = (None, None);
    for line in lines(journal)? {
        match line? {
            Line::Stay { local, client: of, .. } if of == client => current = Some(local),
            Line::Happened { local, cursor, .. } if current == Some(local) => last = Some(cursor),
            _ => {}
        }
    }
    last.context("a client without a cursor")
}

fn read(
    node: usize,
    left: &Left,
    merged: &mut Merged,
    stays: &mut BTreeMap<usize, BTreeMap<u32, Vec<Item>>>,
) -> Result<()> {
    let recording = &mut merged.recording;
    let mut record = None;
    // A node receives before it has said who it is.
    let mut arrivals = Vec::new();
    let mut locals: HashMap<usize, (usize, u32)> = HashMap::new();
    let first = recording.publishes.len();
    for line in lines(&left.journal)? {
        match line? {
            Line::Node { id, replay, dense_ids, ring_bytes, ring_age, tail_age } => {
                record = Some(NodeRecord {
                    id: node_id(&id)?,
                    ended: left.killed,
                    replay,
                    dense_ids,
                    ring_bytes: Some(ring_bytes),
                    ring_age: Duration::from_nanos(ring_age),
                    tail_age: Duration::from_nanos(tail_age),
                    arrivals: Vec::new(),
                    up: Vec::new(),
                    states: Vec::new(),
                    samples: Vec::new(),
                    accounts: Vec::new(),
                });
            }
            Line::Stay { local, client, stay } => {
                locals.insert(local, (client, stay));
                stays.entry(client).or_default().entry(stay).or_default();
            }
            Line::Published { id, stream, channel, bytes, at } => {
                recording.places.insert(id, recording.publishes.len());
                recording.publishes.push(Published {
                    node,
                    stream: StreamIndex(stream),
                    channel,
                    order: id as u64,
                    bytes: crate::line::unhex(&bytes)?,
                    began: Duration::from_nanos(at),
                    resolved: None,
                    outcome: Outcome::Unresolved,
                    in_log: false,
                });
            }
            Line::Resolved { id, at, outcome } => {
                let place = *recording.places.get(&id).context("an outcome without a publish")?;
                let publish = &mut recording.publishes[place];
                publish.resolved = Some(Duration::from_nanos(at));
                publish.outcome = outcome.outcome();
            }
            Line::Happened { local, what, cursor } => {
                let (client, stay) = locals.get(&local).context("a client that has not come")?;
                let items = stays.entry(*client).or_default().entry(*stay).or_default();
                items.push(what.item(node, &cursor)?);
            }
            Line::Arrived { at, stream, what } => {
                arrivals.push(what.arrival(at, stream)?);
            }
            Line::Closed(closed) => {
                closed.fill(record.as_mut().context("an end before the node")?);
                recording.left_over.push(("readers", closed.readers));
                merged.closed.push(*closed);
            }
        }
    }
    if let Some(killed) = left.killed {
        let open = recording.publishes[first..].iter_mut().filter(|publish| publish.resolved.is_none());
        open.for_each(|publish| (publish.resolved, publish.outcome) = (Some(killed), Outcome::Unconfirmed));
    }
    let mut record = record.context("it names no node")?;
    record.arrivals = arrivals;
    recording.nodes.push(record);
    Ok(())
}

/// The lines of a journal; half a line at the end is that of a process that was killed.
fn lines(journal: &Path) -> Result<impl Iterator<Item = Result<Line>>> {
    let text = fs::read_to_string(journal).with_context(|| format!("the journal {}", journal.display()))?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines: Vec<String> = text[..whole].lines().map(str::to_owned).collect();
    Ok(lines.into_iter().map(|line| match serde_json::from_str(&line) {
        Ok(line) => Ok(line),
        Err(error) => bail!("{error} in {line}"),
    }))
}

fn end((stream, entry): (StreamIndex, &CursorEntry), held: &BTreeMap<StreamIndex, Vec<Held>>) -> Option<End> {
    let last = held.get(&stream)?.iter().map(|held| (held.epoch, held.id)).max()?;
    let cursor = match entry {
        CursorEntry::At { position, .. } => Some(*position),
        CursorEntry::Unpositioned => None,
    };
    Some(End { stream, cursor, head: last })
}

fn is_at_end(end: &End) -> bool {
    end.cursor.is_some_and(|position| position.is_whole() && (position.epoch, position.id) == end.head)
}
