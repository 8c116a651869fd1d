//! What the benchmarks share: a backplane that yields what it is fed, and figures as ratios of a baseline.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each benchmark compiles this anew and uses a part"
)]

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU16,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use scaleout_core::{
    AppName, Backplane, Bus, BusConfig, Capabilities, Epoch, Error, Event, FrameId, NodeId, PayloadId,
    Received, Start, StreamIndex, Subscription,
    frame::{self, FrameHead, Layout},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Bytes of the messages in a full frame, as the send queue makes it by default.
pub const FULL_FRAME_BYTES: usize = (64 << 10) - frame::MAX_HEAD_BYTES;

/// Whether to measure: `cargo bench` says so, `cargo test` only wants to see it run.
pub fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Short measurements, so that all of them together stay short too.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

pub fn single_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime of one thread starts")
}

pub fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime of two threads starts")
}

/// A backplane that takes every frame and yields what its [`Feed`] is given.
pub struct Replay {
    streams: NonZeroU16,
    queues: Mutex<BTreeMap<StreamIndex, UnboundedReceiver<Event>>>,
}

/// The store's side of a [`Replay`].
pub struct Feed {
    lanes: Vec<Lane>,
}

struct Lane {
    queue: UnboundedSender<Event>,
    next_id: u64,
}

impl Replay {
    pub fn new(streams: u16) -> (Self, Feed) {
        let streams = NonZeroU16::new(streams).expect("there is at least one stream");
        let (mut queues, mut lanes) = (BTreeMap::new(), Vec::new());
        for stream in 0..streams.get() {
            let (queue, receiver) = unbounded_channel();
            queues.insert(StreamIndex(stream), receiver);
            lanes.push(Lane { queue, next_id: 0 });
        }
        (Self { streams, queues: Mutex::new(queues) }, Feed { lanes })
    }
}

impl Feed {
    pub fn yields(&mut self, stream: StreamIndex, bytes: Bytes) {
        let lane = &mut self.lanes[stream.index()];
        let id = PayloadId(lane.next_id);
        lane.next_id += 1;
        lane.queue.send(Event::Payload { id, bytes }).expect("the bus receives as long as it lives");
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

impl Backplane for Replay {
    fn stream_count(&self) -> NonZeroU16 {
        self.streams
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_dense_ids(true)
    }

    fn send(&self, _: StreamIndex, _: FrameId, _: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn receive(&self, stream: StreamIndex, _: Start) -> BoxStream<'static, Event> {
        let queue = self.queues.lock().expect("nobody panics with it").remove(&stream);
        let Some(mut queue) = queue else { return stream::pending().boxed() };
        let epoch = Epoch(1);
        let opened = Event::Opened { epoch, after: None, head: (epoch, None), unbroken: true };
        stream::iter([opened]).chain(stream::poll_fn(move |cx| queue.poll_recv(cx))).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A bus on a [`Replay`], in a runtime of its own.
pub struct Node {
    pub runtime: Runtime,
    pub bus: Bus,
    pub feed: Feed,
    pub frames: Vec<FrameMaker>,
}

impl Node {
    pub fn new(runtime: Runtime, streams: u16) -> Self {
        Self::with_config(runtime, streams, BusConfig::default())
    }

    pub fn with_config(runtime: Runtime, streams: u16, config: BusConfig) -> Self {
        let (replay, feed) = Replay::new(streams);
        let bus = runtime
            .block_on(Bus::builder(replay).config(config).connect())
            .expect("this backplane opens at once");
        let frames = (0..streams).map(|_| FrameMaker::new(streams)).collect();
        Self { runtime, bus, feed, frames }
    }
}

/// Makes the frames of some other node.
pub struct FrameMaker {
    head: FrameHead,
    messages: Vec<u8>,
}

impl FrameMaker {
    pub fn new(stream_count: u16) -> Self {
        let (app, node) = (AppName::default().hash(), NodeId(0x5ca1_ab1e));
        let head =
            FrameHead { app, stream_count, node, number: 1, after: 0, sent_at_micros: 1_700_000_000_000_000 };
        Self { head, messages: Vec::new() }
    }

    pub fn layout(&self) -> Layout {
        let stream_count = NonZeroU16::new(self.head.stream_count).expect("there is at least one stream");
        Layout { app: self.head.app, stream_count }
    }

    pub fn make<'a>(&mut self, messages: impl Iterator<Item = (&'a str, &'a [u8])>) -> Bytes {
        self.messages.clear();
        let mut count = 0;
        for (channel, payload) in messages {
            frame::encode_message(&mut self.messages, channel, payload, &[]);
            count += 1;
        }
        let bytes = frame::seal(&self.head, count, &self.messages);
        self.head.after = self.head.number;
        self.head.number += 1;
        bytes
    }
}

/// How many messages with such a channel and payload fill a frame.
pub fn messages_of_full_frame(channel: &str, payload_bytes: usize) -> usize {
    FULL_FRAME_BYTES / frame::encoded_message_len(channel.len(), payload_bytes, &[])
}

/// Reads messages; anything else is a failure of the benchmark.
pub async fn read(subscription: &mut Subscription, messages: usize) {
    for _ in 0..messages {
        match subscription.recv().await {
            Some(Received::Message(message)) => drop(std::hint::black_box(message)),
            other => panic!("a message was expected, not {other:?}"),
        }
    }
}

/// The time of one repetition of each benchmark of a group, and its ratio to the first of them.
///
/// Ratios are of medians over the samples of one run, which noise of the machine hits alike.
#[derive(Default)]
pub struct Figures {
    rows: Vec<(String, Vec<f64>)>,
}

impl Figures {
    /// Measures `run`, which repeats something as often as it is told and answers how long that took.
    ///
    /// One repetition counts as `per` messages, and the figures are of one message.
    pub fn measure(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        per: usize,
        mut run: impl FnMut(u64) -> Duration,
    ) {
        let mut samples = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|repetitions| {
                let took = run(repetitions);
                // The system counts what a thread spent in steps of some milliseconds.
                if took > Duration::from_millis(20) {
                    samples.push(took.as_nanos() as f64 / (repetitions as f64 * per as f64));
                }
                took.max(Duration::from_nanos(per as u64)) / u32::try_from(per).expect("few messages")
            });
        });
        if !samples.is_empty() {
            samples.sort_by(f64::total_cmp);
            self.rows.push((name.to_owned(), samples));
        }
    }

    pub fn print(&self, title: &str) {
        let Some((baseline, samples)) = self.rows.first().filter(|_| is_measuring()) else { return };
        let unit = samples[samples.len() / 2];
        println!("{title}: median, best, ratio of medians to `{baseline}`");
        for (name, samples) in &self.rows {
            let median = samples[samples.len() / 2];
            println!("  {name:<44} {median:>10.1} ns {:>10.1} ns {:>8.2} x", samples[0], median / unit);
        }
        println!();
    }
}

/// Measures what this thread spends, so that others on the same cores do not count.
///
/// It is the thread's time on a processor where the system tells it (Linux), else the time that passes.
pub struct Stopwatch {
    start: Instant,
    spent: Option<Duration>,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { start: Instant::now(), spent: spent() }
    }

    pub fn elapsed(&self) -> Duration {
        match (self.spent, spent()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.start.elapsed(),
        }
    }
}

fn spent() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = stat.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

/// Runs `work` and tells what it took.
pub fn timed(work: impl FnOnce()) -> Duration {
    let watch = Stopwatch::start();
    work();
    watch.elapsed()
}

/// The middle and the end of some times.
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Spread {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1?}, p99 {:.1?}, max {:.1?}", self.p50, self.p99, self.max)
    }
}
