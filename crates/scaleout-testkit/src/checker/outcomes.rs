//! Invariants 6, 9, 10 and 11: what must have come, and what must be in the store.

use std::collections::{BTreeMap, BTreeSet};

use scaleout_core::{Position, StreamIndex};

use super::{
    Findings, Invariant,
    history::{Chain, Histories, Place, Since},
    recording::{Arrival, ArrivalKind, Content, Outcome, Reason, Recording},
    view::{Views, had},
};

/// 6: each publish that ended `Ok` and began after the client listened to its channel came, or a gap of the client
/// stands in its place.
///
/// Not owed: what the store forgot when its publisher was no more, and, by a chain that was not read to its end or
/// left the channel, what lies behind the last message it got. A client that was reset begins anew with its node: see
/// [`had_before_reset`].
pub(super) fn completeness(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut views = Views::default();
    for chain in &histories.chains {
        let delivered = chain.delivered(recording);
        for (id, publish) in recording.publishes.iter().enumerate() {
            if publish.outcome != Outcome::Ok
                || delivered[id]
                || !owed(recording, chain, id, histories.places(id))
                || had_before_reset(recording, &mut views, chain, publish.stream, histories.places(id))
            {
                continue;
            }
            found.expect(chain.covers(recording, id, histories.places(id)), Invariant::Completeness, || {
                let places: Vec<_> = histories
                    .places(id)
                    .iter()
                    .map(|place| (place.position, place.frame.forgotten_in))
                    .collect();
                format!(
                    "client {}: publish {id} of node {} on stream {} ({}) is missing without a gap; in the store at {places:?}",
                    chain.client, publish.node, publish.stream, publish.channel
                )
            });
        }
    }
}

/// Whether a chain must have got a publish, or a gap in its place.
pub(super) fn owed(recording: &Recording, chain: &Chain<'_>, id: usize, places: &[Place<'_>]) -> bool {
    let publish = &recording.publishes[id];
    let forgotten = places.iter().all(|place| place.frame.forgotten_in.is_some());
    if forgotten && recording.nodes[publish.node].ended.is_some() {
        return false;
    }
    let segments = chain.segments(publish.stream);
    let behind_first = |position| {
        // A forged cursor claims to have seen what lies before its first message.
        !chain.forged
            || segments.first().and_then(|first| first.high).is_some_and(|first| first.position < position)
    };
    let before_last = |position| {
        chain.drained
            || segments.last().and_then(|last| last.low).is_some_and(|last| position < last.position)
    };
    chain.stays.iter().any(|stay| {
        stay.channel == publish.channel
            && stay.since.at < publish.began
            && places.iter().all(|place| {
                let before_left = match &stay.left_behind {
                    None => before_last(place.position),
                    Some(last) => last.get(&publish.stream).is_some_and(|last| place.position < *last),
                };
                let behind_start = publish.node == stay.since.node
                    || first_head(recording, stay.since, publish.stream)
                        .is_none_or(|head| head < place.position);
                before_left && behind_first(place.position) && behind_start
            })
    })
}

/// Where "from now" is for who began to listen at a node before the stream opened there: at the head of then.
fn first_head(recording: &Recording, since: Since, stream: StreamIndex) -> Option<Position> {
    let arrivals = recording.nodes[since.node].arrivals.iter().filter(|arrival| arrival.stream == stream);
    // A reception that had ended by then is not the one that serves the client.
    let is_over = |arrival: &Arrival| arrival.at <= since.at && matches!(arrival.kind, ArrivalKind::Ended);
    let over = arrivals.clone().enumerate().filter(|(_, arrival)| is_over(arrival)).last();
    let (at, head) =
        arrivals.skip(over.map_or(0, |(at, _)| at + 1)).find_map(|arrival| match arrival.kind {
            ArrivalKind::Opened { head, .. } => Some((arrival.at, head)),
            _ => None,
        })?;
    let (epoch, id) = head;
    (since.at <= at).then(|| id.map_or(Position::start_of(epoch), |id| Position::behind(epoch, id)))
}

/// 9: every publish resolves in time; `Ok` is in the store at that moment, a sure error never.
pub(super) fn outcomes(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    for (id, publish) in recording.publishes.iter().enumerate() {
        let mut expect = |held: bool, what: &str| {
            found.expect(held, Invariant::Outcomes, || {
                format!("publish {id} of node {} ({:?}): {what}", publish.node, publish.outcome)
            });
        };
        let took = publish.resolved.map(|resolved| resolved.saturating_sub(publish.began));
        expect(took.is_some_and(|took| took <= recording.resolve_within), "not resolved in time");
        match publish.outcome {
            Outcome::Ok => {
                expect(publish.in_log, "the store did not have it when it resolved");
                expect(!histories.places(id).is_empty(), "the store never had it");
            }
            Outcome::Refused(_) => expect(histories.places(id).is_empty(), "the store has it"),
            Outcome::Unconfirmed => {}
            Outcome::Unresolved => expect(false, "never resolved"),
        }
    }
}

/// 10: what the store forgot, and a living publisher's tail still reached, is in the store again; what the store
/// holds of a publisher is in the order of its numbers.
pub(super) fn repair(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let end = recording.publishes.iter().filter_map(|publish| publish.resolved).max().unwrap_or_default();
    let injected = recording.log.iter().filter(|frame| frame.injected);
    let disguised: BTreeSet<_> = injected
        .filter_map(|frame| match &frame.content {
            Content::Frame(content) => Some((frame.stream, content.node)),
            _ => None,
        })
        .collect();
    for (id, publish) in recording.publishes.iter().enumerate() {
        let node = &recording.nodes[publish.node];
        let places = histories.places(id);
        let reaches = publish.resolved.is_some_and(|resolved| end.saturating_sub(resolved) < node.tail_age);
        let owed = publish.outcome == Outcome::Ok && node.ended.is_none() && reaches && !places.is_empty();
        // A late write that nobody checked makes the store claim all numbers before it.
        let owed = owed && !disguised.contains(&(publish.stream, node.id));
        let held = places.iter().any(|place| place.frame.forgotten_in.is_none());
        found.expect(!owed || held, Invariant::Repair, || {
            let places: Vec<_> =
                places.iter().map(|place| (place.position, place.frame.forgotten_in)).collect();
            format!("publish {id} of node {} was forgotten and never repaired: {places:?}", publish.node)
        });
    }
    let mut newest: BTreeMap<(StreamIndex, _), u64> = BTreeMap::new();
    for frame in recording.log.iter().filter(|frame| frame.forgotten_in.is_none() && !frame.injected) {
        let Content::Frame(content) = &frame.content else { continue };
        let newest = newest.entry((frame.stream, content.node)).or_default();
        found.expect(content.number > *newest, Invariant::Repair, || {
            format!(
                "stream {}: frame {} of {} stands behind its frame {newest} (epoch {}, id {})",
                frame.stream, content.number, content.node, frame.epoch, frame.id
            )
        });
        *newest = content.number.max(*newest);
    }
}

/// 11: a client that hops gets what its twin got that stayed, and the other way round, but for gaps.
///
/// Not owed: what its publisher gave up and the store forgot before the node had it where the client went on.
pub(super) fn transparency(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let chain_of = |client: usize| {
        let mut chains = histories.chains.iter().filter(|chain| chain.client == client);
        let only = chains.next();
        if chains.next().is_some() { None } else { only }
    };
    let mut views = Views::default();
    for (client, of_client) in recording.clients.iter().enumerate() {
        let Some(twin) = of_client.twin else { continue };
        let (Some(hopped), Some(stayed)) = (chain_of(client), chain_of(twin)) else { continue };
        for (one, other) in [(hopped, stayed), (stayed, hopped)] {
            let got = other.delivered(recording);
            for (id, _) in one.delivered(recording).iter().enumerate().filter(|(_, one)| **one) {
                let publish = &recording.publishes[id];
                let both = |chain: &Chain<'_>| owed(recording, chain, id, histories.places(id));
                if got[id] || !both(one) || !both(other) {
                    continue;
                }
                let places = histories.places(id);
                if had_before_reset(recording, &mut views, other, publish.stream, places) {
                    continue;
                }
                if publish.outcome != Outcome::Ok
                    && never_came(recording, &mut views, other, publish.stream, histories.places(id))
                {
                    continue;
                }
                found.expect(
                    other.covers(recording, id, histories.places(id)),
                    Invariant::Transparency,
                    || {
                        format!(
                            "client {} got publish {id} ({:?}, stream {}), its twin {} neither it nor a gap",
                            one.client, publish.outcome, publish.stream, other.client
                        )
                    },
                );
            }
        }
    }
}

/// Whether a chain was told of a `Reset` before the repair of what the store forgot, and goes on there at a node that
/// had the original before it told that `Reset`.
///
/// The repair is a copy to that node, and the original stands before the place where the client began anew: the gap
/// that it was told covers it, though it stands elsewhere in the order of the store.
fn had_before_reset(
    recording: &Recording,
    views: &mut Views,
    chain: &Chain<'_>,
    stream: StreamIndex,
    places: &[Place<'_>],
) -> bool {
    let (forgotten, held): (Vec<_>, Vec<_>) =
        places.iter().partition(|place| place.frame.forgotten_in.is_some());
    let segments = chain.segments(stream);
    let is_covered = |repair: &Place<'_>| {
        let at = segments.iter().position(|segment| segment.holds(repair.position))?;
        let node = segments[at].high?.node;
        let before = segments[..=at].iter().flat_map(|segment| &segment.gaps);
        let reset = before.map(|told| told.gap).rfind(|gap| gap.reason == Reason::Reset)?;
        let by_then = |place: &&Place<'_>| {
            let original = Position { index: 0, ..place.position };
            let mut receptions = had(recording, views, node, stream).iter();
            receptions.any(|had| had.get(&original).is_some_and(|at| *at <= reset.at))
        };
        (reset.node == node).then(|| forgotten.iter().any(by_then))
    };
    !forgotten.is_empty() && !held.is_empty() && held.into_iter().map(is_covered).all(|is| is == Some(true))
}

/// Whether the store forgot a publish everywhere, and the node of the next message that the chain got never had it.
fn never_came(
    recording: &Recording,
    views: &mut Views,
    chain: &Chain<'_>,
    stream: StreamIndex,
    places: &[Place<'_>],
) -> bool {
    places.iter().all(|place| {
        let mut segments = chain.segments(stream).iter();
        let around = segments.find(|segment| segment.holds(place.position));
        around.and_then(|segment| segment.high).is_some_and(|next| {
            let original = Position { index: 0, ..place.position };
            let next_frame = Position { index: 0, ..next.position };
            let mut receptions = had(recording, views, next.node, stream).iter();
            place.frame.forgotten_in.is_some_and(|epoch| epoch <= next.position.epoch)
                && receptions.any(|had| had.contains_key(&next_frame) && !had.contains_key(&original))
        })
    })
}
