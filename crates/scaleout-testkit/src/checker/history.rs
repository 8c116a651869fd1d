//! Histories taken apart: chains of one client, what they owe, and where gaps stand.

use std::{collections::BTreeMap, time::Duration};

use scaleout_core::{Position, StreamIndex};

use super::recording::{Content, GapItem, HopItem, Item, LogFrame, MessageItem, Recording};

/// The chains of all clients, and where the store held each publish.
pub(super) struct Histories<'a> {
    pub(super) chains: Vec<Chain<'a>>,
    /// For each publish, its places in the log.
    places: Vec<Vec<Place<'a>>>,
}

/// A place of a message in the log.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) position: Position,
    pub(super) frame: &'a LogFrame,
}

/// A part of a client's history that no forged cursor interrupts.
pub(super) struct Chain<'a> {
    /// The client's place in the recording.
    pub(super) client: usize,
    pub(super) items: &'a [Item],
    /// Whether it began with a forged cursor.
    pub(super) forged: bool,
    /// Whether it was read until nothing was left.
    pub(super) drained: bool,
    /// For each stream, what lies between one delivered message and the next.
    segments: BTreeMap<StreamIndex, Vec<Segment<'a>>>,
    /// When each channel was listened to.
    pub(super) stays: Vec<Stay<'a>>,
}

/// What a chain got of one stream between two delivered messages.
#[derive(Default, Clone)]
pub(super) struct Segment<'a> {
    /// The message before; `None` at the start.
    pub(super) low: Option<&'a MessageItem>,
    /// The message behind; `None` at the end.
    pub(super) high: Option<&'a MessageItem>,
    pub(super) gaps: Vec<Told<'a>>,
    pub(super) hops: Vec<&'a HopItem>,
}

/// A gap, and how many of its segment's hops came before it.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) gap: &'a GapItem,
    pub(super) hops: usize,
}

/// A time in which a chain listened to a channel.
pub(super) struct Stay<'a> {
    pub(super) channel: &'a str,
    pub(super) since: Since,
    /// The last message got before the channel was left, per stream; `None`: it was never left.
    pub(super) left_behind: Option<BTreeMap<StreamIndex, Position>>,
}

/// When and where a chain began to listen to a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    pub(super) at: Duration,
    pub(super) node: usize,
}

impl<'a> Histories<'a> {
    pub(super) fn of(recording: &'a Recording) -> Self {
        let mut places = vec![Vec::new(); recording.publishes.len()];
        for frame in &recording.log {
            let Content::Frame(content) = &frame.content else { continue };
            for ((_, bytes), index) in content.messages.iter().zip(0..) {
                if let Some(publish) = recording.publish_of(bytes) {
                    let position = Position { epoch: frame.epoch, id: frame.id, index };
                    places[publish].push(Place { position, frame });
                }
            }
        }
        let mut chains = Vec::new();
        for (place, client) in recording.clients.iter().enumerate() {
            let begins_anew = |item: &Item| matches!(item, Item::Hop(hop) if hop.forged);
            let mut starts: Vec<usize> = client
                .items
                .iter()
                .enumerate()
                .filter(|(_, item)| begins_anew(item))
                .map(|(at, _)| at)
                .collect();
            starts.insert(0, 0);
            starts.dedup();
            let mut listening = BTreeMap::new();
            for (at, &start) in starts.iter().enumerate() {
                let end = starts.get(at + 1).copied();
                let items = &client.items[start..end.unwrap_or(client.items.len())];
                let drained = client.drained && end.is_none();
                chains.push(Chain::new(place, items, drained, &mut listening));
            }
        }
        Self { chains, places }
    }

    /// Where the store held a publish.
    pub(super) fn places(&self, publish: usize) -> &[Place<'a>] {
        &self.places[publish]
    }
}

impl<'a> Chain<'a> {
    /// `listening` are the channels and since when, before `items` and, afterwards, behind them.
    fn new(
        client: usize,
        items: &'a [Item],
        drained: bool,
        listening: &mut BTreeMap<&'a str, Since>,
    ) -> Self {
        let forged = match items.first() {
            Some(Item::Hop(hop)) if hop.forged => Some(Since { at: hop.at, node: hop.to }),
            _ => None,
        };
        if let Some(from) = forged {
            listening.values_mut().for_each(|since| *since = from);
        }
        let mut segments: BTreeMap<StreamIndex, Vec<Segment<'a>>> = BTreeMap::new();
        let mut hops: Vec<&'a HopItem> = Vec::new();
        let mut stays = Vec::new();
        let mut last: BTreeMap<StreamIndex, Position> = BTreeMap::new();
        for item in items {
            match item {
                Item::Joined { at, node, channel } => {
                    listening.entry(channel).or_insert(Since { at: *at, node: *node });
                }
                Item::Left { channel } => {
                    if let Some(since) = listening.remove(channel.as_str()) {
                        stays.push(Stay { channel, since, left_behind: Some(last.clone()) });
                    }
                }
                Item::Message(message) => {
                    let of_stream = open(&mut segments, &hops, message.stream);
                    if let Some(segment) = of_stream.last_mut() {
                        segment.high = Some(message);
                    }
                    of_stream.push(Segment { low: Some(message), ..Segment::default() });
                    last.insert(message.stream, message.position);
                }
                Item::Gap(gap) => {
                    if let Some(segment) = open(&mut segments, &hops, gap.stream).last_mut() {
                        segment.gaps.push(Told { gap, hops: segment.hops.len() });
                    }
                }
                Item::Hop(hop) => {
                    hops.push(hop);
                    for of_stream in segments.values_mut() {
                        if let Some(segment) = of_stream.last_mut() {
                            segment.hops.push(hop);
                        }
                    }
                }
            }
        }
        stays.extend(listening.iter().map(|(channel, since)| Stay {
            channel,
            since: *since,
            left_behind: None,
        }));
        Self { client, items, forged: forged.is_some(), drained, segments, stays }
    }

    /// The segments of a stream, in order; one open segment where it got nothing.
    pub(super) fn segments(&self, stream: StreamIndex) -> &[Segment<'a>] {
        self.segments.get(&stream).map_or(&[], Vec::as_slice)
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = (StreamIndex, &[Segment<'a>])> {
        self.segments.iter().map(|(stream, segments)| (*stream, segments.as_slice()))
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &'a MessageItem> {
        self.messages_and_places().map(|(_, message)| message)
    }

    /// The messages, each with its place among the items.
    pub(super) fn messages_and_places(&self) -> impl Iterator<Item = (usize, &'a MessageItem)> {
        self.items.iter().enumerate().filter_map(|(at, item)| match item {
            Item::Message(message) => Some((at, message)),
            _ => None,
        })
    }

    /// The publishes that it got.
    pub(super) fn delivered(&self, recording: &Recording) -> Vec<bool> {
        let mut delivered = vec![false; recording.publishes.len()];
        for message in self.messages() {
            if let Some(publish) = recording.publish_of(&message.bytes) {
                delivered[publish] = true;
            }
        }
        delivered
    }

    /// Whether a gap stands where the publish should be: between its neighbours in the log, or, for one that the
    /// store forgot, between its neighbours among the messages of its publisher.
    pub(super) fn covers(&self, recording: &Recording, publish: usize, places: &[Place<'_>]) -> bool {
        let of = &recording.publishes[publish];
        let segments = self.segments(of.stream);
        let by_place = places.iter().any(|place| {
            segments.iter().any(|segment| !segment.gaps.is_empty() && segment.holds(place.position))
        });
        by_place
            || (places.iter().all(|place| place.frame.forgotten_in.is_some()) && {
                let order = |message: &MessageItem| {
                    recording
                        .publish_of(&message.bytes)
                        .map(|id| &recording.publishes[id])
                        .filter(|other| other.node == of.node)
                        .map(|other| other.order)
                };
                // The last message of the publisher that is older, and the first that is newer.
                let lows = segments.iter().map(|segment| segment.low.and_then(order));
                let from = lows
                    .enumerate()
                    .filter(|(_, low)| low.is_some_and(|low| low < of.order))
                    .map(|(at, _)| at)
                    .last();
                let highs = segments.iter().map(|segment| segment.high.and_then(order));
                let to = highs
                    .enumerate()
                    .find(|(_, high)| high.is_some_and(|high| high > of.order))
                    .map(|(at, _)| at);
                let (from, to) = (from.unwrap_or(0), to.unwrap_or(segments.len().saturating_sub(1)));
                segments
                    .get(from..=to)
                    .is_some_and(|between| between.iter().any(|segment| !segment.gaps.is_empty()))
            })
    }
}

/// The segments of a stream, with an open one at the end.
fn open<'s, 'a>(
    segments: &'s mut BTreeMap<StreamIndex, Vec<Segment<'a>>>,
    hops: &[&'a HopItem],
    stream: StreamIndex,
) -> &'s mut Vec<Segment<'a>> {
    segments.entry(stream).or_insert_with(|| vec![Segment { hops: hops.to_vec(), ..Segment::default() }])
}

impl Segment<'_> {
    /// Whether a position lies strictly between its ends.
    pub(super) fn holds(&self, position: Position) -> bool {
        self.low.is_none_or(|low| low.position < position)
            && self.high.is_none_or(|high| position < high.position)
    }
}
