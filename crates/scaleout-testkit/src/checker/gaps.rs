//! Invariants 7 and 8: every gap has a cause, and says how much may be missing.

use std::collections::{BTreeMap, BTreeSet};

use scaleout_core::{PayloadId, Position, StreamIndex};

use super::{
    Findings, Invariant,
    history::{Chain, Histories, Segment, Told},
    outcomes::owed,
    recording::{Content, GapItem, HopEntry, LogFrame, NodeRecord, Reason, Recording},
    view::{Got, Loss, View},
};

/// 7: every gap has its cause on record.
///
/// `Lost`: a hole, an unreadable frame or a broken link that the node knows of, between the gap's neighbours, or a
/// cursor that was not yet positioned. `Reset`: a cursor whose epoch, place or stem is not the node's. `Lagged` and
/// `Expired`: a payload between the neighbours that left the ring undelivered, or that the node never had; or a loss
/// that it has forgotten since, behind the place of the client's cursor.
pub(super) fn no_false_gap(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut views = BTreeMap::new();
    for chain in &histories.chains {
        for (stream, segments) in chain.streams() {
            for segment in segments {
                for told in &segment.gaps {
                    let gap = told.gap;
                    let node = &recording.nodes[gap.node];
                    let views = views_at(&mut views, recording, gap);
                    let caused = views.into_iter().any(|view| match gap.reason {
                        Reason::Lost => lost(recording, segment, gap, view),
                        Reason::Reset => reset(segment, told, view),
                        Reason::Lagged | Reason::Expired => {
                            left_ring(recording, chain, segment, told, view, node)
                        }
                    });
                    found.expect(caused, Invariant::NoFalseGap, || {
                        format!(
                            "client {}, stream {stream}, node {}, at {:?}: a gap ({:?}) without cause between {:?} and {:?}",
                            chain.client,
                            gap.node,
                            gap.at,
                            gap.reason,
                            segment.low.map(|low| low.position),
                            segment.high.map(|high| high.position)
                        )
                    });
                }
            }
        }
    }
}

type AllViews<'a> = BTreeMap<(usize, StreamIndex), Vec<View<'a>>>;

/// What the node of a gap knew of the stream when it told the gap: two views where a reception began then, and one of
/// nothing where none had begun.
fn views_at<'v, 'a>(
    views: &'v mut AllViews<'a>,
    recording: &'a Recording,
    gap: &GapItem,
) -> Vec<&'v View<'a>> {
    let of_stream = views.entry((gap.node, gap.stream)).or_insert_with(|| {
        let mut all = View::all(&recording.nodes[gap.node], gap.stream);
        all.push(View::default());
        all
    });
    let (nothing, receptions) = of_stream.split_last().expect("a view of nothing was added");
    let at_that_time: Vec<_> = receptions.iter().filter(|view| view.spans(gap.at)).collect();
    if at_that_time.is_empty() { vec![nothing] } else { at_that_time }
}

fn lost(recording: &Recording, segment: &Segment<'_>, gap: &GapItem, view: &View<'_>) -> bool {
    // What this node cannot read another one may have read in part to the client: the rest of it is lost here.
    let unread = |loss: &Loss, low: Position| {
        let is_lost = |frame: &LogFrame| {
            let Content::Frame(content) = &frame.content else { return false };
            frame.stream == gap.stream
                && place(frame) == loss.position
                && low >= loss.position
                && (low.epoch, low.id) == (frame.epoch, frame.id)
                && (low.index as usize) + 1 < content.messages.len()
        };
        loss.unreadable && recording.log.iter().any(is_lost)
    };
    let within = |loss: &Loss| {
        segment.low.is_none_or(|low| low.position < loss.to || unread(loss, low.position))
            && segment.high.is_none_or(|high| loss.position <= high.position)
    };
    let unpositioned = segment.hops.iter().any(|hop| {
        hop.to == gap.node
            && hop.entries.iter().any(|entry| entry.stream == gap.stream && entry.position.is_none())
    });
    unpositioned || view.losses.iter().any(|loss| loss.at <= gap.at && within(loss))
}

/// The hop that the gap answers is the last one before it.
fn reset(segment: &Segment<'_>, told: &Told<'_>, view: &View<'_>) -> bool {
    let gap = told.gap;
    // "From now" can be a head that the store forgot before the node had reached it.
    let forgot_now =
        || segment.low.is_none() && view.epochs.values().filter(|heard| **heard <= gap.at).count() > 1;
    let Some(hop) = segment.hops[..told.hops].last() else { return forgot_now() };
    if hop.forged {
        return true;
    }
    let entry = hop.entries.iter().find(|entry| entry.stream == gap.stream);
    let Some(HopEntry { position: Some(position), stem, .. }) = entry else { return forgot_now() };
    let reached = |epoch, id: PayloadId| view.last_of(epoch, gap.at).is_some_and(|last| id <= last);
    let mut forks = view.forks.iter().filter(|(epoch, _)| *epoch <= position.epoch).map(|(_, stem)| *stem);
    let other_stem = match (forks.next(), forks.next()) {
        // The stem of two forks is a name for both, which only nodes that had the same can make.
        (Some(_), Some(_)) => true,
        (only, _) => only != *stem,
    };
    let start_of_known =
        *position == Position::start_of(position.epoch) && view.epochs.contains_key(&position.epoch);
    other_stem || !(reached(position.epoch, position.id) || start_of_known)
}

fn left_ring(
    recording: &Recording,
    chain: &Chain<'_>,
    segment: &Segment<'_>,
    told: &Told<'_>,
    view: &View<'_>,
    node: &NodeRecord,
) -> bool {
    let gap = told.gap;
    let channels: BTreeSet<&str> = chain.stays.iter().map(|stay| stay.channel).collect();
    let missed = |got: &&Got<'_>| {
        let Content::Frame(frame) = got.content else { return false };
        let mut messages = (0..).zip(&frame.messages);
        got.at <= gap.at
            && !got.copy
            && messages.any(|(index, (channel, _))| {
                channels.contains(channel.as_str()) && segment.holds(Position { index, ..got.position })
            })
    };
    let left = |got: &Got<'_>| {
        let aged = gap.at.saturating_sub(got.at) >= node.ring_age;
        aged || node.ring_bytes.is_some_and(|limit| ring_use_since(node, got, gap) > limit)
    };
    let evicted = view.payloads.iter().filter(missed).any(left);
    // Where ids have holes, a node cannot know whether anything was before the first payload it got.
    let first = view.payloads.first().map(|got| got.position);
    let before_first = || {
        let entries = segment.hops.iter().filter(|hop| hop.to == gap.node).flat_map(|hop| &hop.entries);
        entries
            .filter(|entry| entry.stream == gap.stream)
            .any(|entry| first.is_none_or(|first| entry.position.is_some_and(|position| position < first)))
    };
    let unknown = || !node.dense_ids && before_first();
    let expired =
        || never_had(recording, segment, gap, view) || unknown() || forgot_loss(segment, told, view, node);
    evicted || gap.reason == Reason::Expired && expired()
}

/// Whether the client came with a cursor from before a loss that the node knew of, and that left with its ring: what
/// could not be read may have been the client's.
fn forgot_loss(segment: &Segment<'_>, told: &Told<'_>, view: &View<'_>, node: &NodeRecord) -> bool {
    let gap = told.gap;
    let Some(hop) = segment.hops[..told.hops].last().filter(|hop| hop.to == gap.node) else { return false };
    let entry = hop.entries.iter().find(|entry| entry.stream == gap.stream);
    let Some(from) = entry.and_then(|entry| entry.position) else { return false };
    // A payload that cannot be read is lost to who read a part of it elsewhere.
    let end =
        |loss: &Loss| if loss.unreadable { Position::behind(loss.to.epoch, loss.to.id) } else { loss.to };
    view.losses.iter().any(|loss| {
        gap.at.saturating_sub(loss.at) >= node.ring_age
            && from < end(loss)
            && segment.high.is_none_or(|high| loss.position <= high.position)
    })
}

/// At most what a ring accounts for the frames that came since, this one included.
fn ring_use_since(node: &NodeRecord, got: &Got<'_>, gap: &GapItem) -> usize {
    use super::recording::ArrivalKind::Payload;
    let since = node.arrivals.iter().filter(|arrival| got.at <= arrival.at && arrival.at <= gap.at);
    since
        .map(|arrival| if let Payload { len, .. } = arrival.kind { 4 * len + RING_OVERHEAD } else { 0 })
        .sum()
}

/// Bytes of index and names that a ring may count for a frame.
const RING_OVERHEAD: usize = 2048;

/// Whether the store held a payload between the gap's neighbours that the node had not got when it told the gap.
fn never_had(recording: &Recording, segment: &Segment<'_>, gap: &GapItem, view: &View<'_>) -> bool {
    let until = view.payloads.iter().take_while(|got| got.at <= gap.at);
    let had: BTreeSet<Position> = until.map(|got| got.position).collect();
    recording
        .log
        .iter()
        .filter(|frame| frame.stream == gap.stream)
        .any(|frame| lies_in(frame, segment) && !had.contains(&place(frame)))
}

/// 8: the frames of the gaps between two messages are at least the missing frames of the client's channels, none
/// more than the missing frames of the stream, and a gap's place lies between its neighbours.
pub(super) fn extent(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut views = BTreeMap::new();
    for chain in &histories.chains {
        let delivered = chain.delivered(recording);
        for (stream, segments) in chain.streams() {
            for segment in segments.iter().filter(|segment| !segment.gaps.is_empty()) {
                let at = |gap: &GapItem| {
                    format!(
                        "client {}, stream {stream}, a gap ({:?}, {:?} frames) between {:?} and {:?}",
                        chain.client,
                        gap.reason,
                        gap.frames,
                        segment.low.map(|low| low.position),
                        segment.high.map(|high| high.position)
                    )
                };
                for Told { gap, .. } in &segment.gaps {
                    // A gap may stand right before a message, whose own place is that of a reader before it.
                    let before_high = |position| segment.high.is_some_and(|high| position == high.position);
                    let stands = |position| segment.holds(position) || before_high(position);
                    let inside = gap.position.is_none_or(stands);
                    found.expect(inside, Invariant::Extent, || {
                        format!("{} stands at {:?}", at(gap), gap.position)
                    });
                    let views = views_at(&mut views, recording, gap).into_iter();
                    let most = views.map(|view| most_missing(recording, segment, stream, view)).max();
                    let most = most.unwrap_or(0);
                    found.expect(gap.frames.is_none_or(|frames| frames <= most), Invariant::Extent, || {
                        format!("{}: only {most} can be missing", at(gap))
                    });
                }
                if let Some(told) = segment.gaps.iter().map(|told| told.gap.frames).sum::<Option<u64>>() {
                    let least = least_missing(recording, histories, chain, segment, stream, &delivered);
                    found.expect(told >= least, Invariant::Extent, || {
                        format!("{}: {told} frames told, {least} missing", at(segment.gaps[0].gap))
                    });
                }
            }
        }
    }
}

/// Frames of the stream that may be missing: those between the neighbours, and those that the store forgot or the
/// node never got, whose loss shows later, by their publisher's next number.
fn most_missing(recording: &Recording, segment: &Segment<'_>, stream: StreamIndex, view: &View<'_>) -> u64 {
    let got = view.positions();
    let missing = |frame: &&LogFrame| {
        frame.stream == stream
            && (frame.forgotten_in.is_some() || lies_in(frame, segment) || !got.contains(&place(frame)))
    };
    recording.log.iter().filter(missing).count() as u64 + given_up(recording, stream)
}

/// Numbers of frames that were given up: nobody can tell them from frames that were lost.
fn given_up(recording: &Recording, stream: StreamIndex) -> u64 {
    let mut numbers: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for frame in recording.log.iter().filter(|frame| frame.stream == stream) {
        if let Content::Frame(content) = &frame.content {
            numbers.entry(content.node).or_default().insert(content.number);
        }
    }
    numbers.values().map(|held| held.last().copied().unwrap_or(0) - held.len() as u64).sum()
}

fn place(frame: &LogFrame) -> Position {
    Position::before(frame.epoch, frame.id)
}

/// Whether a part of a frame lies between the neighbours.
fn lies_in(frame: &LogFrame, segment: &Segment<'_>) -> bool {
    let messages = if let Content::Frame(content) = &frame.content { content.messages.len() } else { 1 };
    (0..).take(messages).any(|index| segment.holds(Position { index, ..place(frame) }))
}

/// Frames between the neighbours with a message of the client that it was owed and never got.
fn least_missing(
    recording: &Recording,
    histories: &Histories<'_>,
    chain: &Chain<'_>,
    segment: &Segment<'_>,
    stream: StreamIndex,
    delivered: &[bool],
) -> u64 {
    let missing = |frame: &&LogFrame| {
        let Content::Frame(content) = &frame.content else { return false };
        let mut messages = content.messages.iter().zip(0..).filter_map(|((_, bytes), index)| {
            let publish = recording.publish_of(bytes)?;
            let position = Position { index, ..place(frame) };
            let places = histories.places(publish);
            // A copy of what was told as missing in its first place is told already.
            let told_elsewhere = || {
                let others = chain.segments(stream).iter().filter(|other| !std::ptr::eq(*other, segment));
                let mut told = others.filter(|other| !other.gaps.is_empty());
                told.any(|other| places.iter().any(|place| other.holds(place.position)))
            };
            let missing =
                !delivered[publish] && segment.holds(position) && owed(recording, chain, publish, places);
            (missing && !told_elsewhere()).then_some(())
        });
        frame.stream == stream && frame.forgotten_in.is_none() && !frame.injected && messages.next().is_some()
    };
    // Behind the last message nothing may have been read yet by a chain that was cut short.
    if segment.high.is_none() && !chain.drained {
        return 0;
    }
    recording.log.iter().filter(missing).count() as u64
}
