//! Invariants 1 to 5: what a history may hold, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use scaleout_core::Position;

use super::{
    Findings, Invariant,
    history::{Chain, Histories, Place},
    recording::{Content, Item, MessageItem, Outcome, Reason, Recording},
    view::{Views, had},
};

/// 1: what is received was published, on a channel of the client, with equal bytes and origin; what was surely
/// refused is in no history and no log.
pub(super) fn validity(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    for (client, of_client) in recording.clients.iter().enumerate() {
        let mut listening = BTreeSet::new();
        for item in &of_client.items {
            match item {
                Item::Joined { channel, .. } => {
                    listening.insert(channel.as_str());
                }
                Item::Left { channel } => {
                    listening.remove(channel.as_str());
                }
                Item::Gap(_) | Item::Hop(_) => {}
                Item::Message(message) => {
                    let at = format!("client {client}, stream {} at {:?}", message.stream, message.position);
                    let Some(id) = recording.publish_of(&message.bytes) else {
                        found.add(Invariant::Validity, format!("{at}: a message that nobody published"));
                        continue;
                    };
                    let publish = &recording.publishes[id];
                    let mut expect = |held: bool, what: &str| {
                        found.expect(held, Invariant::Validity, || format!("{at}: publish {id}: {what}"));
                    };
                    expect(publish.bytes == message.bytes, "other bytes");
                    expect(publish.channel == message.channel, "another channel");
                    expect(publish.stream == message.stream, "another stream");
                    expect(recording.nodes[publish.node].id == message.origin, "another origin");
                    expect(listening.contains(message.channel.as_str()), "not a channel of the client");
                    expect(!matches!(publish.outcome, Outcome::Refused(_)), "received though it was refused");
                }
            }
        }
    }
    for (id, publish) in recording.publishes.iter().enumerate() {
        if let (Outcome::Refused(kind), Some(place)) = (publish.outcome, histories.places(id).first()) {
            let detail =
                format!("publish {id} was refused ({kind:?}) and is in the store at {:?}", place.position);
            found.add(Invariant::Validity, detail);
        }
    }
}

/// 2: each message at most once in a history, each (node, number) at most once in an epoch of the store.
///
/// Not held against a bus: a repair that nobody can tell from a new message (see [`unknowable`]).
pub(super) fn uniqueness(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut views = Views::default();
    for chain in &histories.chains {
        let mut seen = BTreeMap::new();
        for (at, message) in chain.messages_and_places() {
            let Some(id) = recording.publish_of(&message.bytes) else { continue };
            if let Some((before, since)) = seen.insert(id, (message.position, at)) {
                if unknowable(recording, histories, &mut views, chain, message, id, since..at) {
                    continue;
                }
                let detail = format!(
                    "client {}: publish {id} of node {} came at {before:?} and again at {:?} (stream {})",
                    chain.client, recording.publishes[id].node, message.position, message.stream
                );
                found.add(Invariant::Uniqueness, detail);
            }
        }
    }
    let mut seen = BTreeSet::new();
    for frame in recording.log.iter().filter(|frame| !frame.injected) {
        let Content::Frame(content) = &frame.content else { continue };
        if !seen.insert((frame.stream, frame.epoch, content.node, content.number)) {
            let detail = format!(
                "stream {}, epoch {}: frame {} of {} is there again as {}",
                frame.stream, frame.epoch, content.number, content.node, frame.id
            );
            found.add(Invariant::Uniqueness, detail);
        }
    }
}

/// Whether a node cannot know that a message was in the store before: it is the repair of what a fork forgot, and
/// the client was told of a `Reset` within `span` of its items, or the node began behind the message in a store
/// that does not replay.
fn unknowable(
    recording: &Recording,
    histories: &Histories<'_>,
    views: &mut Views,
    chain: &Chain<'_>,
    message: &MessageItem,
    id: usize,
    span: Range<usize>,
) -> bool {
    let places = histories.places(id).iter().filter(|place| place.position < message.position);
    let forgotten: Vec<_> = places.filter(|place| place.frame.forgotten_in.is_some()).collect();
    let is_reset = |item: &Item| matches!(item, Item::Gap(gap) if gap.stream == message.stream && gap.reason == Reason::Reset);
    let node = &recording.nodes[message.node];
    let had = had(recording, views, message.node, message.stream);
    let original = |place: &Place<'_>| Position { index: 0, ..place.position };
    let never_had = had.iter().all(|had| forgotten.iter().all(|place| !had.contains_key(&original(place))));
    !forgotten.is_empty() && (chain.items[span].iter().any(is_reset) || !node.replay && never_had)
}

/// 3: positions strictly increase within a stream, and epochs only grow.
pub(super) fn stream_order(histories: &Histories<'_>, found: &mut Findings) {
    for chain in &histories.chains {
        let mut last = BTreeMap::new();
        for message in chain.messages() {
            if let Some(before) = last.insert(message.stream, message.position)
                && message.position <= before
            {
                let detail = format!(
                    "client {}, stream {}: {:?} came after {before:?}",
                    chain.client, message.stream, message.position
                );
                found.add(Invariant::StreamOrder, detail);
            }
        }
    }
}

/// 4: what one node published to one channel comes in the order of the calls, but for unconfirmed ones.
///
/// Not held against a bus: as for uniqueness.
pub(super) fn publisher_order(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut views = Views::default();
    for chain in &histories.chains {
        let mut last: BTreeMap<(usize, &str), (u64, usize)> = BTreeMap::new();
        for (at, message) in chain.messages_and_places() {
            let Some(id) = recording.publish_of(&message.bytes) else { continue };
            let publish = &recording.publishes[id];
            if publish.outcome != Outcome::Ok {
                continue;
            }
            let newest = last.entry((publish.node, &publish.channel)).or_insert((publish.order, id));
            if publish.order < newest.0 {
                if unknowable(recording, histories, &mut views, chain, message, id, 0..at) {
                    continue;
                }
                let detail = format!(
                    "client {}: publish {id} of node {} came at {:?}, after its publish {}",
                    chain.client, publish.node, message.position, newest.1
                );
                found.add(Invariant::PublisherOrder, detail);
            } else {
                *newest = (publish.order, id);
            }
        }
    }
}

/// 5: one (stream, epoch, id, index) names one message everywhere, and a history within an epoch is a subsequence of
/// the store's.
///
/// With stream order (3) the second follows from the first: a place that the store has not is a place that
/// names nothing.
pub(super) fn agreement(recording: &Recording, histories: &Histories<'_>, found: &mut Findings) {
    let mut named = BTreeMap::new();
    for frame in &recording.log {
        let key = (frame.stream, frame.epoch, frame.id);
        if named.insert(key, &frame.content).is_some() {
            let detail = format!(
                "stream {}: the store gave {} of epoch {} twice",
                frame.stream, frame.id, frame.epoch
            );
            found.add(Invariant::Agreement, detail);
        }
    }
    for chain in &histories.chains {
        for message in chain.messages() {
            let position = message.position;
            let there = match named.get(&(message.stream, position.epoch, position.id)) {
                Some(Content::Frame(frame)) => frame.messages.get(position.index as usize),
                _ => None,
            };
            let same =
                there.is_some_and(|(channel, bytes)| *channel == message.channel && *bytes == message.bytes);
            found.expect(same, Invariant::Agreement, || {
                format!(
                    "client {}, stream {}: {position:?} is {:?}, in the store {:?}",
                    chain.client,
                    message.stream,
                    recording.publish_of(&message.bytes),
                    there.map(|(_, bytes)| recording.publish_of(bytes)),
                )
            });
        }
    }
}
