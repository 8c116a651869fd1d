//! The task that reads a group's streams, and hands what it read to their receptions.

use std::{
    collections::HashMap,
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, MaybeDone, maybe_done},
};
use redis::{Cmd, RedisError, Value};
use scaleout_core::{
    Backoff, Error, Event, Start,
    provider::{Arrival, Events, Head, Outbox, Place, Track},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::{
    entries::{Read, entries_of},
    entry_id::entry_id,
    epochs::open,
    error::from_redis,
    group::Group,
    link::{Link, pulse},
    start::start_of,
    writer::Writer,
};

/// Entries that one read asks for at most, of each stream.
const MAX_COUNT: usize = 64;

/// Bytes that an answer should hold about at most, by the sizes seen so far.
const ANSWER_BYTES: usize = 1 << 20;

/// What an entry is taken to hold before any was seen: many streams at once must not make an answer of gigabytes.
const FIRST_ENTRY_BYTES: usize = 4 << 10;

/// An answer with so many entries at most came as soon as it could.
const FEW_ENTRIES: usize = 2;

/// After how many looks at an idle server what is too old is dropped by a node that does not publish.
const TRIM_BEATS: u32 = 4;

/// The receptions of a group, and where the streams stand.
struct Reader {
    group: Arc<Group>,
    /// By the stream's place in the group.
    receptions: Vec<Vec<Reception>>,
    lanes: HashMap<String, usize>,
    heads: Vec<Head>,
    /// The greatest epoch of the group that this reader has looked at.
    epoch: u64,
    /// Bytes of an entry, by the last ones.
    entry_bytes: usize,
    /// A stream holds so much too much that the server should be told soon.
    trim_is_due: bool,
}

struct Reception {
    start: Start,
    track: Track,
    outbox: Arc<Outbox>,
    /// Whether it was put on this link.
    linked: bool,
    /// What this step has for it.
    events: Vec<Event>,
}

/// What came of a look at the server while nothing is read.
enum Beat {
    /// The greatest epoch of the group in the store.
    Epoch(Option<u64>),
    /// The server is not the master any more, or refuses to tell.
    Unfit(Error),
    /// Commands do not get through. Sends tell, and a server that is gone ends the read.
    Unknown,
}

type Reading = Pin<Box<MaybeDone<BoxFuture<'static, Result<Value, RedisError>>>>>;

impl Group {
    /// Begins a reception of the stream at place `lane`; `None` after `close`.
    pub(crate) fn receive(self: &Arc<Self>, lane: usize, start: Start) -> Option<Events> {
        let (events, starts) = self.arrivals.receive(lane, start)?;
        self.lanes[lane].received.fetch_add(1, Ordering::AcqRel);
        if starts {
            tokio::spawn(run(Arc::clone(self)));
        }
        Some(events)
    }
}

async fn run(group: Arc<Group>) {
    let (min, max, fatal) = (group.config.min_backoff, group.config.max_backoff, group.config.fatal_retry);
    let mut backoff = Backoff::new(min, max, fastrand::u64(..));
    let mut reader = Reader::new(group);
    while reader.has_receptions() {
        let (served, error) = reader.serve().await;
        let Err(error) = error else { continue };
        if served {
            backoff.reset();
        }
        let delay = if error.is_fatal() { fatal } else { backoff.next_delay() };
        tracing::debug!(app = %reader.group.config.app, %error, ?delay, "reading from Redis failed");
        for reception in reader.all() {
            reception.outbox.fault(error.clone());
        }
        reader.pause(Instant::now() + delay).await;
    }
}

impl Reader {
    fn new(group: Arc<Group>) -> Self {
        let lanes = group.lanes.iter().enumerate().map(|(index, lane)| (lane.key.clone(), index)).collect();
        let receptions = group.lanes.iter().map(|_| Vec::new()).collect();
        Self {
            group,
            receptions,
            lanes,
            heads: Vec::new(),
            epoch: 0,
            entry_bytes: FIRST_ENTRY_BYTES,
            trim_is_due: false,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Reception> {
        self.receptions.iter().flatten()
    }

    /// Takes new receptions in and lets go of dropped ones; `false`, and never to be called again, if none is left.
    fn has_receptions(&mut self) -> bool {
        for (lane, receptions) in self.receptions.iter_mut().enumerate() {
            let before = receptions.len();
            receptions.retain(|reception| !reception.outbox.is_dropped());
            self.group.lanes[lane].received.fetch_sub(before - receptions.len(), Ordering::AcqRel);
        }
        for Arrival { lane, start, outbox } in self.group.arrivals.take() {
            let track = Track::default();
            let reception = Reception { start, track, outbox, linked: false, events: Vec::new() };
            self.receptions[lane].push(reception);
        }
        let is_idle = self.group.arrivals.has_ended() || self.receptions.iter().all(Vec::is_empty);
        !(is_idle && self.group.arrivals.rest())
    }

    /// Waits for the next attempt; a new reception does not wait, nor does anybody once the writer is connected.
    async fn pause(&self, until: Instant) {
        let reachable = self.group.reachable.notified();
        tokio::pin!(reachable);
        loop {
            tokio::select! {
                biased;
                () = self.group.changed.notified() => {
                    if self.group.is_closed() || self.group.arrivals.is_waiting() {
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
        let group = Arc::clone(&self.group);
        for reception in self.receptions.iter_mut().flatten() {
            reception.linked = false;
        }
        let connecting = async {
            let target = group.places.target(&group.config, &group.keys.meta()).await?;
            Link::connect(&group.config, &target, &group.name(), None).await
        };
        let link = match group.unless_closed(connecting).await {
            Ok(link) => link,
            Err(_) if group.is_closed() => return (false, Ok(())),
            Err(error) => return (false, Err(error)),
        };
        if let Err(error) = self.attach(&link).await {
            return (false, Err(error));
        }
        (true, self.read(&link).await)
    }

    /// Puts receptions on the link that are not yet: looks where the streams stand, and where the new ones begin.
    async fn attach(&mut self, link: &Link) -> Result<(), Error> {
        let heads = open(&self.group, link).await?;
        // Before anybody hears that the stream is open, and sends.
        self.group.reached();
        self.look(heads);
        for (lane, receptions) in self.receptions.iter_mut().enumerate() {
            let head = self.heads[lane];
            for reception in receptions.iter_mut().filter(|reception| !reception.linked) {
                if reception.track.stand().is_none() {
                    let place = &self.group.lanes[lane];
                    let start = start_of(&self.group, link, place, head, reception.start).await?;
                    reception.track.begin(start);
                }
                reception.track.linked(head, &mut reception.events);
                reception.linked = true;
                reception.outbox.push(&mut reception.events);
            }
        }
        Ok(())
    }

    async fn read(&mut self, link: &Link) -> Result<(), Error> {
        let group = Arc::clone(&self.group);
        let pulse = pulse(group.config.liveness);
        let mut beats = interval_at(Instant::now() + pulse, pulse);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut beat, mut beat_count) = (None::<BoxFuture<'static, Beat>>, 0_u32);
        let mut unblocking = None::<BoxFuture<'static, ()>>;
        let mut reading = None;
        loop {
            if !self.has_receptions() {
                return Ok(());
            }
            if reading.is_none() {
                if self.all().any(|reception| !reception.linked) {
                    self.attach(link).await?;
                }
                reading = self.next_read(link);
            }
            tokio::select! {
                // Answers come last, so that a busy stream does not keep the rest from its turn.
                biased;
                _ = beats.tick() => {
                    beat_count = beat_count.wrapping_add(1);
                    if beat.is_none() {
                        let trims = beat_count.is_multiple_of(TRIM_BEATS);
                        beat = Some(probe(Arc::clone(&group), trims).boxed());
                    }
                }
                taken = some(&mut beat) => match taken {
                    Beat::Epoch(epoch) => self.beat(epoch).await,
                    Beat::Unfit(error) => return Err(error),
                    Beat::Unknown => {}
                },
                () = some(&mut unblocking) => {}
                () = group.changed.notified() => {
                    let waits =
                        self.group.arrivals.is_waiting() || self.all().any(|reception| reception.outbox.has_room_again());
                    if waits && reading.is_some() && unblocking.is_none() {
                        unblocking = link.client().map(|client| unblock(Arc::clone(&group), client).boxed());
                    }
                }
                answer = finished(&mut reading) => {
                    unblocking = None;
                    let answer = answer.map_err(|error| {
                        group.places.note(&error);
                        from_redis(error, "reading from Redis", &group.config)
                    })?;
                    let entries = self.take(entries_of(answer)?);
                    if beat.is_none() && std::mem::take(&mut self.trim_is_due) {
                        // Those who publish here receive nothing, and trim by a count alone.
                        beat = Some(probe(Arc::clone(&group), true).boxed());
                    }
                    if entries <= FEW_ENTRIES {
                        // What came alone is delivered before anything else is done.
                        self.deliver();
                        tokio::task::yield_now().await;
                        continue;
                    }
                    // Under load, the next read is sent before this one's entries are worked on.
                    if self.all().all(|reception| reception.linked) && !self.group.arrivals.is_waiting() {
                        reading = self.next_read(link);
                        poll_once(&mut reading).await;
                    }
                    self.deliver();
                }
            }
        }
    }

    /// The next blocking read, of every stream that a reception with room waits for.
    fn next_read(&self, link: &Link) -> Option<Reading> {
        let mut wanted = Vec::new();
        for (lane, receptions) in self.receptions.iter().enumerate() {
            let ready =
                receptions.iter().filter(|reception| reception.linked && reception.outbox.room(MAX_COUNT));
            if let Some(from) = ready.filter_map(|reception| reception.track.stand()).min() {
                wanted.push((lane, from));
            }
        }
        if wanted.is_empty() {
            return None;
        }
        let config = &self.group.config;
        let count = ANSWER_BYTES / (self.entry_bytes.max(1) * wanted.len());
        let block = pulse(config.liveness).as_millis();
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(count.clamp(1, MAX_COUNT));
        command.arg("BLOCK").arg(u64::try_from(block).unwrap_or(u64::MAX)).arg("STREAMS");
        for (lane, _) in &wanted {
            command.arg(&self.group.lanes[*lane].key);
        }
        for (_, from) in &wanted {
            command.arg(entry_id(*from));
        }
        Some(Box::pin(maybe_done(query(link.clone(), command).boxed())))
    }

    /// Turns entries into events; tells how many entries there were.
    fn take(&mut self, read: Vec<Read>) -> usize {
        let now = std::time::Instant::now();
        let (mut bytes, mut count) = (0, 0);
        for Read { key, entries } in read {
            let Some(&lane) = self.lanes.get(&key) else { continue };
            let place = &self.group.lanes[lane];
            let head = &mut self.heads[lane];
            for entry in &entries {
                head.follow(entry);
                let size = entry.body.frame_bytes();
                self.trim_is_due |= place.note(entry.place, size, now);
                (bytes, count) = (bytes + size, count + 1);
            }
            place.saw(head.last);
            self.epoch = self.epoch.max(head.last.epoch);
            for reception in &mut self.receptions[lane] {
                if reception.linked {
                    for entry in &entries {
                        reception.track.take(entry, *head, &mut reception.events);
                    }
                }
            }
        }
        if let Some(size) = bytes.checked_div(count) {
            self.entry_bytes = (3 * self.entry_bytes + size) / 4;
        }
        count
    }

    fn deliver(&mut self) {
        for reception in self.receptions.iter_mut().flatten() {
            reception.outbox.push(&mut reception.events);
        }
    }

    /// Takes the epoch that the store names; another one than is known, or none, has every stream looked at.
    async fn beat(&mut self, epoch: Option<u64>) {
        // Missing: the store was flushed. Another one: somebody opened an epoch that is not read yet, or one that
        // readers would never reach, since its opener did not know of this one.
        let Ok(writer) = self.group.writer().await else { return };
        if epoch == Some(self.epoch) && !writer.is_due(&self.group) {
            return;
        }
        if let Ok(heads) = self.group.reopen(&writer).await {
            self.look(heads);
        }
    }

    /// Takes over where the streams stand, unless more of one was read already.
    fn look(&mut self, heads: Vec<Head>) {
        self.epoch = heads.iter().map(|head| head.last.epoch).max().unwrap_or(0);
        self.heads.resize(heads.len(), Head { last: Place::START, after: None });
        for (known, head) in self.heads.iter_mut().zip(heads) {
            if head.last >= known.last {
                *known = head;
            }
        }
    }
}

async fn query(link: Link, command: Cmd) -> Result<Value, RedisError> {
    link.query(&command).await
}

/// Looks whether the server is alive, still the master, and in the epoch that is known.
async fn probe(group: Arc<Group>, trims: bool) -> Beat {
    let Ok(writer) = group.writer().await else { return Beat::Unknown };
    if trims {
        trim(&group, &writer).await;
    }
    match group.stored_epoch(&writer).await {
        Ok(epoch) => Beat::Epoch(epoch),
        Err(refusal) if refusal.is_read_only || refusal.error.is_fatal() => Beat::Unfit(refusal.error),
        Err(_) => Beat::Unknown,
    }
}

/// Drops what is too old or too much where no append does.
async fn trim(group: &Group, writer: &Writer) {
    let mut commands = redis::pipe();
    for lane in &group.lanes {
        if let Some(floor) = lane.untold_floor() {
            commands.cmd("XTRIM").arg(&lane.key).arg("MINID").arg("~").arg(entry_id(floor));
        }
    }
    if commands.is_empty() {
        return;
    }
    let answers = writer.link.run(&commands).await;
    let refused =
        answers.and_then(|answers| answers.into_iter().try_for_each(|it| it.extract_error().map(drop)));
    if let Err(error) = refused {
        // The next one tries again; whatever is wrong with the connection, its next use finds.
        tracing::debug!(%error, "dropping old entries failed");
    }
}

/// Ends the blocking read of the reader's connection, so that the next one can ask for more streams.
async fn unblock(group: Arc<Group>, client: i64) {
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..TRIES {
        let Ok(writer) = group.writer().await else { return };
        let mut command = redis::cmd("CLIENT");
        command.arg("UNBLOCK").arg(client);
        match writer.link.query(&command).await {
            // The read has not reached the server yet.
            Ok(Value::Int(0)) => tokio::time::sleep(PAUSE).await,
            // Ended, or there is no permission: then it ends by itself, a little later.
            _ => return,
        }
    }
}

/// The answer of a read, which is then gone.
async fn finished(reading: &mut Option<Reading>) -> Result<Value, RedisError> {
    let Some(future) = reading else { return pending().await };
    future.as_mut().await;
    let answer = future.as_mut().take_output();
    *reading = None;
    answer.unwrap_or(Ok(Value::Nil))
}

/// Lets a read be sent.
async fn poll_once(reading: &mut Option<Reading>) {
    let Some(reading) = reading else { return };
    poll_fn(|context| {
        let _ = reading.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// What a future comes to, which is then gone; never, if there is none.
async fn some<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    let Some(running) = future else { return pending().await };
    let result = running.await;
    *future = None;
    result
}
