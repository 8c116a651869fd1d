//! The task that reads the streams, and hands what it read to their receptions.

use std::sync::Arc;

use scaleout_core::{
    Backoff, Error, Event, Start,
    provider::{Arrival, Body, Entry, Events, Head, Outbox, Place, Track},
};
use tiberius::Row;
use tokio::time::{Instant, sleep_until};

use crate::{
    bell::{self, Armed},
    error::Failure,
    link::{Call, Link, Values},
    look,
    node::{Node, to_sql},
    pace::Pace,
    send::OTHER_EPOCH,
    store::{BEFORE_ALL, Positions, place_of},
    upkeep,
};

/// Rows that one read asks for at most, of each stream.
const MAX_ROWS: usize = 64;

/// Bytes that one read asks for at most in all; the first row of each stream comes whatever its size.
const READ_BYTES: usize = 4 << 20;

/// The receptions of a node, and where the streams stand.
struct Reader {
    node: Arc<Node>,
    /// By stream.
    lanes: Vec<Reading>,
    pace: Pace,
    /// That the store had when it was looked at last.
    epoch: u64,
}

/// The receptions of one stream.
struct Reading {
    receptions: Vec<Reception>,
    head: Head,
    /// The last row that was read.
    witness: Option<Witness>,
    /// It is to be read again over this link, to see that it is still the same.
    is_witness_due: bool,
}

/// A row that has to be in the store with just these, unless it was trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Witness {
    seq: i64,
    place: Place,
    at: i64,
}

struct Reception {
    start: Start,
    track: Track,
    outbox: Arc<Outbox>,
    /// Whether it was put on this link.
    is_linked: bool,
    /// The row behind which it reads.
    after: i64,
    /// It has room for what the read under way brings.
    is_ready: bool,
    /// What this step has for it.
    events: Vec<Event>,
}

/// What came of a read.
struct Taken {
    /// Rows that were not read before.
    rows: usize,
    /// The store has more of them.
    has_more: bool,
    /// The store replaced rows that were read before.
    is_forked: bool,
}

impl Node {
    /// Begins a reception of the stream at place `lane`; `None` after `close`.
    pub(crate) fn receive(self: &Arc<Self>, lane: usize, start: Start) -> Option<Events> {
        let (events, starts) = self.arrivals.receive(lane, start)?;
        if starts {
            tokio::spawn(run(Arc::clone(self)));
        }
        Some(events)
    }
}

async fn run(node: Arc<Node>) {
    upkeep::begin(&node);
    let _bell = bell::begin(&node);
    let (min, max, fatal) = (node.config.min_backoff, node.config.max_backoff, node.config.fatal_retry);
    let mut backoff = Backoff::new(min, max, fastrand::u64(..));
    let mut reader = Reader::new(node);
    while reader.has_receptions() {
        let (served, result) = reader.serve().await;
        let Err(error) = result else { continue };
        if served {
            backoff.reset();
        }
        let delay = if error.is_fatal() { fatal } else { backoff.next_delay() };
        tracing::debug!(app = %reader.node.config.app, %error, ?delay, "reading from SQL Server failed");
        for reception in reader.all() {
            reception.outbox.fault(error.clone());
        }
        reader.rest(Instant::now() + delay).await;
    }
}

impl Reader {
    fn new(node: Arc<Node>) -> Self {
        let reading = |_| Reading {
            receptions: Vec::new(),
            head: Head { last: Place::START, after: None },
            witness: None,
            is_witness_due: false,
        };
        let pace = Pace::new(&node.config);
        Self { lanes: (0..node.lanes.len()).map(reading).collect(), pace, epoch: 0, node }
    }

    fn all(&self) -> impl Iterator<Item = &Reception> {
        self.lanes.iter().flat_map(|lane| &lane.receptions)
    }

    /// Takes new receptions in and lets go of dropped ones; `false`, and never to be called again, if none is left.
    fn has_receptions(&mut self) -> bool {
        for lane in &mut self.lanes {
            lane.receptions.retain(|reception| !reception.outbox.is_dropped());
        }
        for Arrival { lane, start, outbox } in self.node.arrivals.take() {
            self.lanes[lane].receptions.push(Reception {
                start,
                track: Track::default(),
                outbox,
                is_linked: false,
                after: BEFORE_ALL,
                is_ready: false,
                events: Vec::new(),
            });
        }
        let is_idle =
            self.node.arrivals.has_ended() || self.lanes.iter().all(|lane| lane.receptions.is_empty());
        !(is_idle && self.node.arrivals.rest())
    }

    /// Waits for the next attempt; a new reception does not wait, nor does anybody once a send got through.
    async fn rest(&self, until: Instant) {
        let reachable = self.node.reachable.notified();
        tokio::pin!(reachable);
        loop {
            tokio::select! {
                biased;
                () = self.node.changed.notified() => {
                    if self.node.is_closed() || self.node.arrivals.is_waiting() {
                        return;
                    }
                }
                () = &mut reachable => return,
                () = sleep_until(until) => return,
            }
        }
    }

    /// Reads over one link until it fails; whether it ever worked, and `Ok` when nobody is left.
    async fn serve(&mut self) -> (bool, Result<(), Error>) {
        let node = Arc::clone(&self.node);
        self.unlink();
        let (mut link, positions) = match node.unless_closed(node.connect()).await {
            Ok(connected) => connected,
            Err(_) if node.is_closed() => return (false, Ok(())),
            Err(error) => return (false, Err(error)),
        };
        self.attach(&positions);
        (true, self.read(&mut link).await)
    }

    /// Takes every reception off the link, so that it is told where the store stands before it gets more.
    fn unlink(&mut self) {
        for lane in &mut self.lanes {
            lane.is_witness_due = true;
            for reception in &mut lane.receptions {
                reception.is_linked = false;
            }
        }
    }

    /// Puts receptions on the link that are not yet.
    fn attach(&mut self, positions: &Positions) {
        let epoch = positions.layout.as_ref().map_or(0, |layout| layout.epoch);
        let known = std::mem::replace(&mut self.epoch, epoch);
        for (lane, lineage) in self.lanes.iter_mut().zip(&positions.streams) {
            let head = lineage.head();
            if head.last >= lane.head.last {
                lane.head = head;
            }
            if lane.is_witness_due {
                lane.witness =
                    lane.witness.filter(|witness| lineage.includes(witness.seq, witness.place, known));
                lane.is_witness_due = lane.witness.is_some();
            }
            for reception in lane.receptions.iter_mut().filter(|reception| !reception.is_linked) {
                reception.after = match reception.track.stand() {
                    Some(stand) => lineage.resume(reception.after, stand, known),
                    None => {
                        let (after, place) = lineage.start(reception.start);
                        reception.track.begin(place);
                        after
                    }
                };
                reception.track.linked(lane.head, &mut reception.events);
                reception.is_linked = true;
                reception.outbox.push(&mut reception.events);
            }
        }
    }

    async fn read(&mut self, link: &mut Link) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        self.pace.begin();
        loop {
            if !self.has_receptions() {
                return Ok(());
            }
            if self.all().any(|reception| !reception.is_linked) {
                let positions = node.unless_closed(node.open(link)).await?;
                self.attach(&positions);
            }
            let wanted = self.wanted();
            self.pace.polled();
            if wanted.iter().any(Option::is_some) {
                let read = self.fetch(link, &wanted);
                let Some(rows) = node.unless_closed(read).await? else {
                    self.unlink();
                    continue;
                };
                let taken = self.take(rows).map_err(|failure| failure.into_error(READING, &node.config))?;
                if taken.is_forked {
                    self.unlink();
                    continue;
                }
                self.deliver();
                self.pace.found(taken.rows);
                if taken.has_more {
                    // Not even a stream that is always busy keeps the task from others.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            self.idle(link).await?;
        }
    }

    /// Waits until there is a reason to read.
    async fn idle(&mut self, link: &mut Link) -> Result<(), Error> {
        let node = Arc::clone(&self.node);
        loop {
            if self.pace.may_arm() && bell::is_ready(&node) {
                match node.unless_closed(bell::arm(&node, link)).await? {
                    Armed::At(positions) => {
                        self.pace.armed();
                        if self.is_behind(&positions) {
                            return Ok(());
                        }
                    }
                    Armed::Not => self.pace.not_armed(),
                }
            }
            let is_read_due = self.pause().await;
            // While the doorbell works, arming again looks at the streams, too.
            if is_read_due || !self.pace.is_armed() {
                return Ok(());
            }
        }
    }

    /// Waits until a poll is due, or something happens; whether it is more than that.
    async fn pause(&mut self) -> bool {
        let node = Arc::clone(&self.node);
        loop {
            let due = self.pace.due();
            tokio::select! {
                biased;
                () = node.changed.notified() => {
                    let waits =
                        self.node.arrivals.is_waiting() || self.all().any(|reception| reception.outbox.has_room_again());
                    if waits || node.is_closed() || self.all().any(|reception| reception.outbox.is_dropped()) {
                        return true;
                    }
                }
                () = node.rung.notified() => {
                    self.pace.woken();
                    return true;
                }
                () = node.appended.notified() => self.pace.appended(),
                () = sleep_until(due) => return self.pace.is_hurried(),
            }
        }
    }

    /// The row behind which each stream is to be read; `None`: nobody waits for it.
    fn wanted(&mut self) -> Vec<Option<i64>> {
        let of = |lane: &mut Reading| {
            for reception in &mut lane.receptions {
                reception.is_ready = reception.is_linked && reception.outbox.room(MAX_ROWS);
            }
            let ready = lane.receptions.iter().filter(|reception| reception.is_ready);
            let from = ready.map(|reception| reception.after).min()?;
            match lane.witness.filter(|_| lane.is_witness_due) {
                Some(witness) => Some(from.min(witness.seq - 1)),
                None => Some(from),
            }
        };
        self.lanes.iter_mut().map(of).collect()
    }

    /// Reads; `None`: it has to be looked where the streams stand first.
    async fn fetch(&self, link: &mut Link, wanted: &[Option<i64>]) -> Result<Option<Vec<Row>>, Error> {
        let names = &self.node.names;
        let streams = wanted.iter().flatten().count().max(1);
        let mut call = Call::new(&names.read).with("@epoch", to_sql(self.epoch));
        for (parameter, after) in names.after.iter().zip(wanted) {
            call = call.with(parameter, *after);
        }
        let call = call
            .with("@max_rows", i32::try_from(MAX_ROWS).unwrap_or(i32::MAX))
            .with("@max_bytes", to_sql((READ_BYTES / streams) as u64));
        match link.call(call).await {
            Ok(results) => Ok(Some(results.into_iter().flatten().collect())),
            Err(failure) if failure.number() == Some(OTHER_EPOCH) => Ok(None),
            Err(failure) if look::is_missing(&failure) => {
                self.node.forget_objects().await;
                Ok(None)
            }
            Err(failure) => Err(self.node.failed(link, failure, READING)),
        }
    }

    /// Turns rows into events.
    fn take(&mut self, rows: Vec<Row>) -> Result<Taken, Failure> {
        let mut taken = Taken { rows: 0, has_more: false, is_forked: false };
        let (mut stream, mut count, mut bytes) = (usize::MAX, 0, 0);
        let max_bytes = READ_BYTES / self.lanes.len().max(1);
        for row in rows {
            let row = StoredRow::read(row)?;
            let Some(lane) = self.lanes.get_mut(row.stream) else {
                return Err(Failure::Answer(format!("a row of stream {}", row.stream)));
            };
            if stream != row.stream {
                (stream, count, bytes) = (row.stream, 0, 0);
            }
            (count, bytes) = (count + 1, bytes + row.entry.body.frame_bytes());
            // A read that was cut short by a bound, or may have been.
            taken.has_more |= count >= MAX_ROWS || bytes >= max_bytes / 2;
            if std::mem::take(&mut lane.is_witness_due)
                && lane.witness.is_some_and(|witness| !witness.is_like(&row))
            {
                self.node.lanes[row.stream].forked(lane.head.last.epoch);
                lane.witness = None;
                taken.is_forked = true;
                return Ok(taken);
            }
            if lane.witness.is_none_or(|witness| witness.place < row.entry.place) {
                lane.witness = Some(Witness { seq: row.seq, place: row.entry.place, at: row.at });
                self.node.lanes[row.stream].saw(row.entry.place, row.entry.body.frame_bytes());
                taken.rows += 1;
            }
            lane.head.follow(&row.entry);
            for reception in lane.receptions.iter_mut().filter(|reception| reception.is_ready) {
                if row.seq > reception.after {
                    reception.after = row.seq;
                    reception.track.take(&row.entry, lane.head, &mut reception.events);
                }
            }
        }
        Ok(taken)
    }

    fn deliver(&mut self) {
        for reception in self.lanes.iter_mut().flat_map(|lane| &mut lane.receptions) {
            reception.outbox.push(&mut reception.events);
        }
    }

    /// Whether the streams have more than what was read.
    fn is_behind(&self, positions: &Positions) -> bool {
        let mut streams = self.lanes.iter().zip(&positions.streams);
        streams.any(|(lane, lineage)| !lane.receptions.is_empty() && lineage.last() > lane.head.last)
    }
}

/// A row as `read` yields it.
pub(crate) struct StoredRow {
    stream: usize,
    seq: i64,
    at: i64,
    pub(crate) entry: Entry,
}

impl StoredRow {
    pub(crate) fn read(row: Row) -> Result<Self, Failure> {
        let mut values = Values::of(row);
        let stream = usize::try_from(values.number()?).unwrap_or(usize::MAX);
        let seq = values.seq()?;
        let place = Place { epoch: values.number()?, id: values.number()? };
        let after = place_of(values.number_if_any()?, values.number_if_any()?);
        let (at, bytes) = (values.seq()?, values.bytes()?);
        let body = if place.id == 0 { Body::Opening { after } } else { Body::Frame(bytes) };
        Ok(Self { stream, seq, at, entry: Entry { place, body } })
    }
}

impl Witness {
    /// Whether `row` is this one, or a later one because this one was trimmed.
    fn is_like(&self, row: &StoredRow) -> bool {
        row.seq > self.seq || (row.seq, row.entry.place, row.at) == (self.seq, self.place, self.at)
    }
}

const READING: &str = "reading the streams";
