//! What the store ever held, put together from what it holds in the end and what it gave to the nodes.

use std::{collections::BTreeMap, num::NonZeroU16};

use scaleout_core::{Epoch, PayloadId, StreamIndex};

use crate::{
    checker::{ArrivalKind, Content, LogFrame, NodeRecord, Outcome, Recording},
    fixture::Held,
    recorder::{content, layout},
};

/// The entries of all streams, by place.
pub(super) struct History {
    /// A place that was given twice has two contents.
    entries: BTreeMap<(StreamIndex, Epoch, PayloadId), Vec<Content>>,
    /// What each epoch continues.
    afters: BTreeMap<(StreamIndex, Epoch), Option<(Epoch, PayloadId)>>,
}

impl History {
    pub(super) fn of(
        stream_count: NonZeroU16,
        held: &BTreeMap<StreamIndex, Vec<Held>>,
        nodes: &[NodeRecord],
    ) -> Self {
        let mut history = Self { entries: BTreeMap::new(), afters: BTreeMap::new() };
        let layout = layout(stream_count);
        for (stream, held) in held {
            for entry in held {
                history.entry(*stream, entry.epoch, entry.id, &content(&entry.bytes, &layout));
            }
        }
        for node in nodes {
            let mut epochs = BTreeMap::new();
            for arrival in &node.arrivals {
                match &arrival.kind {
                    ArrivalKind::Opened { epoch, after, .. } => {
                        epochs.insert(arrival.stream, *epoch);
                        history.opened(arrival.stream, *epoch, *after);
                    }
                    ArrivalKind::Payload { id, content, .. } => {
                        if let Some(epoch) = epochs.get(&arrival.stream) {
                            history.entry(arrival.stream, *epoch, *id, content);
                        }
                    }
                    ArrivalKind::Began | ArrivalKind::Ended | ArrivalKind::Faulted => {}
                }
            }
        }
        history
    }

    fn entry(&mut self, stream: StreamIndex, epoch: Epoch, id: PayloadId, content: &Content) {
        self.afters.entry((stream, epoch)).or_default();
        let contents = self.entries.entry((stream, epoch, id)).or_default();
        if !contents.contains(content) {
            contents.push(content.clone());
        }
    }

    fn opened(&mut self, stream: StreamIndex, epoch: Epoch, after: Option<(Epoch, PayloadId)>) {
        let known = self.afters.entry((stream, epoch)).or_default();
        *known = known.or(after);
    }

    /// The log as the checker reads it.
    pub(super) fn log(self) -> Vec<LogFrame> {
        let Self { entries, afters } = self;
        let mut log = Vec::with_capacity(entries.len());
        for ((stream, epoch, id), contents) in entries {
            let later = afters.range((stream, Epoch(epoch.0 + 1))..=(stream, Epoch(u64::MAX)));
            let mut epochs = later.map(|((_, later), _)| *later);
            let forgotten_in = epochs.find(|later| !continues(&afters, stream, *later, (epoch, id)));
            for content in contents {
                log.push(LogFrame { stream, epoch, id, content, forgotten_in, injected: false });
            }
        }
        log
    }
}

/// Whether an epoch's history holds an entry of an earlier one.
fn continues(
    afters: &BTreeMap<(StreamIndex, Epoch), Option<(Epoch, PayloadId)>>,
    stream: StreamIndex,
    mut epoch: Epoch,
    entry: (Epoch, PayloadId),
) -> bool {
    while let Some(Some(after)) = afters.get(&(stream, epoch)) {
        if after.0 <= entry.0 {
            return entry <= *after;
        }
        epoch = after.0;
    }
    false
}

/// Says of each publish that is confirmed whether the store had it.
pub(super) fn mark_held(recording: &mut Recording) {
    let mut held = vec![false; recording.publishes.len()];
    for frame in &recording.log {
        let Content::Frame(content) = &frame.content else { continue };
        for (_, bytes) in &content.messages {
            if let Some(held) = recording.publish_of(bytes).and_then(|id| held.get_mut(id)) {
                *held = true;
            }
        }
    }
    for (publish, held) in recording.publishes.iter_mut().zip(held) {
        publish.in_log = held && publish.outcome == Outcome::Ok;
    }
}
