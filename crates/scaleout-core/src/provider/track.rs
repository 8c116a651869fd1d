//! From the entries of a stream to the events of a reception, as a plain value.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Place;
use crate::{Epoch, Event, PayloadId};

/// One entry of a stream, as it was read from the store.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// What it holds.
    pub body: Body,
}

/// What an entry holds.
#[derive(Debug, Clone)]
pub enum Body {
    /// A frame.
    Frame(Bytes),
    /// The beginning of an epoch, which is an entry with an id as others are.
    Opening {
        /// The last entry of the earlier history that the epoch continues; `None`: nothing, or not known.
        after: Option<Place>,
    },
    /// What is not ours. It has an id all the same, and is passed on as an empty payload.
    Other,
}

impl Body {
    /// The size of the frame, in bytes; 0 where there is none.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Opening { .. } | Self::Other => 0,
        }
    }
}

/// Where a stream stands in the store, as far as this node knows.
///
/// It has an entry: at least the opening of its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last entry.
    pub last: Place,
    /// What the epoch of that entry continues.
    pub after: Option<Place>,
}

impl Head {
    /// Follows the stream by what was read of it.
    pub fn follow(&mut self, entry: &Entry) {
        if entry.place <= self.last {
            return;
        }
        if entry.place.epoch > self.last.epoch {
            self.after = match entry.body {
                Body::Opening { after } => after,
                Body::Frame(_) | Body::Other => None,
            };
        }
        self.last = entry.place;
    }
}

/// How far one reception has come, which outlives the links to the store.
///
/// It makes events of what a reader tells it: [`begin`](Self::begin) once, [`linked`](Self::linked) for every link, and
/// then [`take`](Self::take) for the entries, in the order of the store. After a new link the reader goes on behind
/// [`stand`](Self::stand); it may read further back, since nothing is passed on twice.
#[derive(Debug, Default)]
pub struct Track {
    /// The last entry that was passed on, or that is none of this reception's business; `None` before the first link.
    stand: Option<Place>,
    /// The epoch of the last `Opened` on this link.
    told: Option<u64>,
    /// Epochs that were told, or that these continue, as far as they are remembered.
    past: VecDeque<u64>,
}

/// Epochs of the past that a reception remembers.
const PAST: usize = 64;

impl Track {
    /// The entry behind which to read on; `None` before [`begin`](Self::begin).
    #[must_use]
    pub fn stand(&self) -> Option<Place> {
        self.stand
    }

    /// Begins the reception behind `place`, where its [`Start`](crate::Start) is.
    pub fn begin(&mut self, place: Place) {
        self.stand = Some(place);
    }

    /// A new link, over which the stream stands at `head`; adds to `events` what is to be told now.
    ///
    /// An [`Opened`](Event::Opened) is due: at once if nothing is there to be read, else before the first entry.
    pub fn linked(&mut self, head: Head, events: &mut Vec<Event>) {
        self.told = None;
        if self.stand >= Some(head.last) {
            self.open(head.last.epoch, head.after, head, events);
        }
    }

    /// Takes an entry that was read, and adds to `events` what is to be told of it.
    ///
    /// Entries up to the stand are passed over. `head` may have moved since the link began.
    pub fn take(&mut self, entry: &Entry, head: Head, events: &mut Vec<Event>) {
        let place = entry.place;
        if self.stand >= Some(place) {
            return;
        }
        if self.told != Some(place.epoch) {
            let after = match entry.body {
                Body::Opening { after } => after,
                // Its opening is no longer there; what the newest epoch continues is written down elsewhere, too.
                _ if place.epoch == head.last.epoch => head.after,
                _ => None,
            };
            self.open(place.epoch, after, head, events);
        }
        self.stand = Some(place);
        let bytes = match &entry.body {
            Body::Frame(bytes) => bytes.clone(),
            Body::Opening { .. } | Body::Other => Bytes::new(),
        };
        events.push(Event::Payload { id: PayloadId(place.id), bytes });
    }

    fn open(&mut self, epoch: u64, after: Option<Place>, head: Head, events: &mut Vec<Event>) {
        let hides = self.hides_loss(epoch, after);
        self.told = Some(epoch);
        for epoch in after.map(|after| after.epoch).into_iter().chain([epoch]) {
            if !self.past.contains(&epoch) {
                self.past.push_back(epoch);
            }
        }
        self.past.drain(..self.past.len().saturating_sub(PAST));
        events.push(Event::Opened {
            epoch: Epoch(epoch),
            after: after.map(Place::position),
            head: (Epoch(head.last.epoch), Some(PayloadId(head.last.id))),
            unbroken: !hides,
        });
    }

    /// Whether entries may be missing behind the stand which no id will show.
    fn hides_loss(&self, epoch: u64, after: Option<Place>) -> bool {
        let Some(stand) = self.stand.filter(|stand| !self.past.is_empty() && stand.epoch < epoch) else {
            return false;
        };
        match after {
            // It continues nothing: what it forgot was perhaps never read here.
            None => true,
            // It continues an epoch that began elsewhere meanwhile, with ids that come before those read here.
            Some(after) => after.epoch < stand.epoch && !self.past.contains(&after.epoch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u64, id: u64) -> Place {
        Place { epoch, id }
    }

    fn frame(epoch: u64, id: u64) -> Entry {
        Entry { place: place(epoch, id), body: Body::Frame(Bytes::from_static(b"frame")) }
    }

    fn opening(epoch: u64, after: Option<Place>) -> Entry {
        Entry { place: place(epoch, 0), body: Body::Opening { after } }
    }

    /// `Opened` as `(epoch, after, unbroken)`, payloads as ids.
    fn tell(events: &[Event]) -> Vec<String> {
        let tell = |event: &Event| match event {
            Event::Opened { epoch, after, unbroken, .. } => {
                let after = after.map_or("-".into(), |(epoch, id)| format!("{}-{}", epoch.0, id.0));
                format!("{} after {after}{}", epoch.0, if *unbroken { "" } else { ", broken" })
            }
            Event::Payload { id, .. } => format!("{}", id.0),
            Event::Faulted(error) => error.to_string(),
        };
        events.iter().map(tell).collect()
    }

    fn run(track: &mut Track, head: Head, entries: &[Entry]) -> Vec<String> {
        let mut events = Vec::new();
        track.linked(head, &mut events);
        for entry in entries {
            track.take(entry, head, &mut events);
        }
        tell(&events)
    }

    #[test]
    fn a_fresh_reception_reads_epochs_each_behind_its_opened() {
        let mut track = Track::default();
        track.begin(place(1, 4));
        let head = Head { last: place(2, 1), after: Some(place(1, 5)) };
        let events = run(&mut track, head, &[frame(1, 5), opening(2, Some(place(1, 5))), frame(2, 1)]);
        assert_eq!(events, ["1 after -", "5", "2 after 1-5", "0", "1"]);
    }

    #[test]
    fn a_link_to_a_stream_that_has_nothing_new_opens_at_once() {
        let mut track = Track::default();
        track.begin(place(2, 3));
        let head = Head { last: place(2, 3), after: Some(place(1, 5)) };
        assert_eq!(run(&mut track, head, &[]), ["2 after 1-5"]);
        assert_eq!(run(&mut track, head, &[frame(2, 3), frame(2, 4)]), ["2 after 1-5", "4"]);
    }

    #[test]
    fn an_epoch_that_continues_nothing_is_told_as_broken_to_who_was_there_before() {
        let mut track = Track::default();
        track.begin(place(2, 3));
        let head = Head { last: place(2, 3), after: None };
        assert_eq!(run(&mut track, head, &[]), ["2 after -"]);
        let head = Head { last: place(9, 0), after: None };
        assert_eq!(run(&mut track, head, &[opening(9, None)]), ["9 after -, broken", "0"]);
        let mut fresh = Track::default();
        fresh.begin(Place::START);
        assert_eq!(run(&mut fresh, head, &[opening(9, None)]), ["9 after -", "0"]);
    }

    #[test]
    fn what_a_slow_clock_began_behind_the_stand_is_told_as_broken() {
        let mut track = Track::default();
        track.begin(place(5, 3));
        let head = Head { last: place(5, 3), after: Some(place(4, 9)) };
        assert_eq!(run(&mut track, head, &[]), ["5 after 4-9"]);
        // After a flush somebody opened epoch 2, appended there, and then this node opened 6.
        let head = Head { last: place(6, 0), after: Some(place(2, 7)) };
        assert_eq!(run(&mut track, head, &[opening(6, Some(place(2, 7)))]), ["6 after 2-7, broken", "0"]);
        // A fork that goes back to an epoch this node knows hides nothing.
        let head = Head { last: place(7, 0), after: Some(place(4, 8)) };
        assert_eq!(run(&mut track, head, &[opening(7, Some(place(4, 8)))]), ["7 after 4-8", "0"]);
    }

    #[test]
    fn an_opening_that_was_trimmed_is_known_from_the_head() {
        let mut track = Track::default();
        track.begin(place(1, 3));
        let head = Head { last: place(3, 8), after: Some(place(2, 6)) };
        assert_eq!(run(&mut track, head, &[frame(3, 7), frame(3, 8)]), ["3 after 2-6", "7", "8"]);
    }
}
