//! What a reader is given next.

use std::sync::Arc;

use super::{Entry, Store, pending::Ready, place::Place, reader::ReaderKey};
use crate::{CursorEntry, Gap, GapReason, Message, Position, Received, mutant::Mutant};

impl Store {
    /// Puts the next item of a reader into `item`, if there is one; the answer is whether there is more.
    ///
    /// Into, since an item is large enough for moving it from one function to the next to cost as much as reading it.
    pub(crate) fn read(&mut self, key: ReaderKey, item: &mut Option<Received>) -> bool {
        self.next_item(key, item);
        let holes_end = self.holes_end();
        let reader = &self.readers[key.index()];
        if reader.is_live() && reader.next_hole < holes_end {
            self.settle(key);
        }
        let reader = &mut self.readers[key.index()];
        reader.signalled = reader.is_pending(holes_end);
        reader.signalled
    }

    /// The next item of a reader.
    #[cfg(test)]
    pub(crate) fn read_item(&mut self, key: ReaderKey) -> Option<Received> {
        let mut item = None;
        self.read(key, &mut item);
        item
    }

    fn next_item(&mut self, key: ReaderKey, item: &mut Option<Received>) {
        let first = Place::entry(self.first);
        if let Some(told) = self.readers[key.index()].told.take() {
            *item = Some(self.gap(key, told.reason, told.frames));
            return;
        }
        let reader = &mut self.readers[key.index()];
        if !reader.is_live() {
            return;
        }
        if reader.next_hole < self.first_hole {
            reader.next_hole = self.first_hole;
            *item = Some(self.gap(key, GapReason::Lost, None));
            return;
        }
        self.mark_rest(key);
        let reader = &self.readers[key.index()];
        let next = reader.pending.first();
        if let Some(hole) = self.hole_before(reader, next.map(|next| next.place)) {
            let (place, to, frames) = (hole.place, hole.to, hole.frames);
            let reader = &mut self.readers[key.index()];
            reader.next_hole += 1;
            reader.passed = reader.passed.max(to);
            reader.place = reader.place.max(place);
            *item = Some(self.gap(key, GapReason::Lost, frames));
            return;
        }
        let Some(next) = next else { return };
        if next.place < first {
            let gap = self.skip_evicted(key);
            match self.mutation.is(Mutant::SwallowLagged) {
                true => self.next_item(key, item),
                false => *item = Some(gap),
            }
            return;
        }
        *item = Some(Received::Message(self.message_at(next)));
        let behind = self.behind(next.place);
        let reader = &mut self.readers[key.index()];
        let is_again = reader.passed == behind;
        reader.passed = behind;
        reader.place = match behind.is_whole() {
            true => Place::entry(next.place.ordinal() + 1),
            false => Place::new(next.place.ordinal(), behind.index),
        };
        let tenth = behind.id.0 % 10 == 3;
        if tenth && !is_again && self.mutation.is(Mutant::DeliverTwice) {
            return;
        }
        let channel = self.channels.get_mut(next.channel);
        match channel.place(next.seq + 1) {
            Some(place) => reader.pending.replace_first(Ready { place, seq: next.seq + 1, ..next }),
            None => {
                reader.pending.pop();
                channel.subscribers.set_ready(next.subscriber, false);
            }
        }
        if tenth && self.mutation.is(Mutant::DropEveryTenth) {
            *item = None;
            self.next_item(key, item);
        }
    }

    /// Marks all channels of a reader that came to the payload whose readers are being notified.
    ///
    /// It may come there by way of one channel before it was notified for another one that stands first.
    fn mark_rest(&mut self, key: ReaderKey) {
        let Some((place, _)) = self.notifying else { return };
        if self.readers[key.index()].pending.first().is_none_or(|ready| ready.place < place) {
            return;
        }
        let from = place.max(self.readers[key.index()].place);
        for index in 0..self.readers[key.index()].channels.len() {
            let (channel, subscriber) = self.readers[key.index()].channels[index];
            if !self.channels.get(channel).subscribers.is_ready(subscriber) {
                self.make_ready(key, channel, subscriber, from);
            }
        }
    }

    pub(super) fn entry(&self, place: Place) -> &Entry {
        &self.entries[usize::try_from(place.ordinal() - self.first).expect("entries fit memory")]
    }

    /// The position behind the message at a place in the ring.
    pub(super) fn behind(&self, place: Place) -> Position {
        let entry = self.entry(place);
        let behind = place.index() + 1;
        let index = if behind as usize == entry.slots.len() { Position::WHOLE } else { behind };
        Position { epoch: entry.epoch, id: entry.id, index }
    }

    #[inline]
    fn message_at(&self, ready: Ready) -> Message {
        let entry = self.entry(ready.place);
        let index = self.mutated_index(entry, ready.place.index());
        let slot = &entry.slots[index as usize];
        let behind = self.behind(ready.place);
        let extensions = slot.payload.end..slot.extensions_end;
        let mut message = Message {
            channel: Arc::clone(&self.channels.get(ready.channel).name),
            payload: entry.bytes.slice(slot.payload.start as usize..slot.payload.end as usize),
            // One byte is the count of no extensions at all.
            extensions: (extensions.len() > 1).then(|| Box::new((entry.bytes.clone(), extensions))),
            node: entry.node,
            sent_at_micros: entry.sent_at_micros,
            stream: self.stream,
            position: Position { epoch: entry.epoch, id: entry.id, index },
            behind: CursorEntry::At { position: behind, stem: self.timeline.stem(behind) },
            stream_count: self.stream_count,
            others: None,
        };
        self.mutate(&mut message);
        message
    }

    fn mutated_index(&self, entry: &Entry, index: u32) -> u32 {
        let other = index ^ 1;
        let same =
            entry.slots.get(other as usize).is_some_and(|o| o.channel == entry.slots[index as usize].channel);
        if same && self.mutation.is(Mutant::SwapNeighbours) { other } else { index }
    }

    fn mutate(&self, message: &mut Message) {
        if self.mutation.is(Mutant::CorruptPayload) && message.position.id.0 % 5 == 3 {
            message.payload = message.payload.iter().map(|byte| byte ^ 1).collect();
        }
        if self.mutation.is(Mutant::OwnOrigin) {
            message.node = crate::NodeId(1);
        }
        if self.mutation.is(Mutant::PositionOffByOne) {
            message.position.index += 1;
        }
        if self.mutation.is(Mutant::CursorBeforeMessage) {
            message.behind = CursorEntry::At { position: message.position, stem: None };
        }
    }

    /// Passes what left the ring before the reader came to it.
    fn skip_evicted(&mut self, key: ReaderKey) -> Received {
        let missed = self.first - self.readers[key.index()].place.ordinal().min(self.first);
        self.drop_evicted(key);
        let edge = self.edge.unwrap_or_else(|| self.end_position());
        let reader = &mut self.readers[key.index()];
        reader.place = Place::entry(self.first);
        reader.passed = reader.passed.max(edge);
        self.gap(key, GapReason::Lagged, Some(missed))
    }

    /// Goes on with the oldest message there is, for each channel whose next one has left the ring.
    pub(super) fn drop_evicted(&mut self, key: ReaderKey) {
        let first = Place::entry(self.first);
        while let Some(stale) = self.readers[key.index()].pending.first().filter(|stale| stale.place < first)
        {
            self.readers[key.index()].pending.pop();
            self.channels.get_mut(stale.channel).subscribers.set_ready(stale.subscriber, false);
            self.make_ready(key, stale.channel, stale.subscriber, first);
        }
    }

    fn gap(&self, key: ReaderKey, reason: GapReason, frames: Option<u64>) -> Received {
        let frames = match frames {
            Some(_) if self.mutation.is(Mutant::GapTooSmall) => Some(0),
            Some(frames) if self.mutation.is(Mutant::GapTooLarge) => Some(frames + 10_000),
            frames => frames,
        };
        Received::Gap(Gap {
            stream: self.stream,
            reason,
            frames,
            behind: self.cursor_entry(key),
            stream_count: self.stream_count,
            others: None,
        })
    }
}
