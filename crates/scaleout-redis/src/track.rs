//! From the entries of a stream to the events of a reception, as a plain value.

use std::collections::VecDeque;

use bytes::Bytes;
use scaleout_core::{Epoch, Event, PayloadId};

use crate::place::Place;

/// One entry of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) body: Body,
}

/// What an entry holds.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// A frame.
    Frame(Bytes),
    /// The beginning of an epoch, and what it continues.
    Opening { after: Option<Place> },
    /// What is not ours. It has an id all the same.
    Other,
}

impl Body {
    /// Bytes of the frame.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Frame(bytes) => bytes.len(),
            Self::Opening { .. } | Self::Other => 0,
        }
    }
}

/// Where a stream stands in the store, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last entry.
    pub(crate) last: Place,
    /// What the epoch of that entry continues.
    pub(crate) after: Option<Place>,
}

/// How far one reception has come.
#[derive(Debug)]
pub(crate) struct Track {
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
    pub(crate) fn new() -> Self {
        Self { stand: None, told: None, past: VecDeque::new() }
    }

    pub(crate) fn stand(&self) -> Option<Place> {
        self.stand
    }

    /// Begins behind `place`.
    pub(crate) fn begin(&mut self, place: Place) {
        self.stand = Some(place);
    }

    /// A new link: an `Opened` is due, at once if nothing is there to be read, else before the first entry.
    pub(crate) fn linked(&mut self, head: Head, events: &mut Vec<Event>) {
        self.told = None;
        if self.stand >= Some(head.last) {
            self.open(head.last.epoch, head.after, head, events);
        }
    }

    /// Takes what was read; entries up to the stand are passed over.
    pub(crate) fn take(&mut self, entry: &Entry, head: Head, events: &mut Vec<Event>) {
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
        let mut track = Track::new();
        track.begin(place(1, 4));
        let head = Head { last: place(2, 1), after: Some(place(1, 5)) };
        let events = run(&mut track, head, &[frame(1, 5), opening(2, Some(place(1, 5))), frame(2, 1)]);
        assert_eq!(events, ["1 after -", "5", "2 after 1-5", "0", "1"]);
    }

    #[test]
    fn a_link_to_a_stream_that_has_nothing_new_opens_at_once() {
        let mut track = Track::new();
        track.begin(place(2, 3));
        let head = Head { last: place(2, 3), after: Some(place(1, 5)) };
        assert_eq!(run(&mut track, head, &[]), ["2 after 1-5"]);
        assert_eq!(run(&mut track, head, &[frame(2, 3), frame(2, 4)]), ["2 after 1-5", "4"]);
    }

    #[test]
    fn an_epoch_that_continues_nothing_is_told_as_broken_to_who_was_there_before() {
        let mut track = Track::new();
        track.begin(place(2, 3));
        let head = Head { last: place(2, 3), after: None };
        assert_eq!(run(&mut track, head, &[]), ["2 after -"]);
        let head = Head { last: place(9, 0), after: None };
        assert_eq!(run(&mut track, head, &[opening(9, None)]), ["9 after -, broken", "0"]);
        let mut fresh = Track::new();
        fresh.begin(Place::START);
        assert_eq!(run(&mut fresh, head, &[opening(9, None)]), ["9 after -", "0"]);
    }

    #[test]
    fn what_a_slow_clock_began_behind_the_stand_is_told_as_broken() {
        let mut track = Track::new();
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
        let mut track = Track::new();
        track.begin(place(1, 3));
        let head = Head { last: place(3, 8), after: Some(place(2, 6)) };
        assert_eq!(run(&mut track, head, &[frame(3, 7), frame(3, 8)]), ["3 after 2-6", "7", "8"]);
    }
}
