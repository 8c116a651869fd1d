//! 100,000 subscribers of one channel: what each costs, and what they cost everybody else.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use scaleout_core::{Received, StreamIndex};
use support::{Feed, FrameMaker, Node, Spread, is_measuring, multi_thread, single_thread};
use tokio::{
    runtime::Runtime,
    sync::{Notify, broadcast},
};

fn main() {
    let (crowd, rounds) = if is_measuring() { (100_000, 20) } else { (100, 2) };
    for (threads, runtime) in
        [("one thread", single_thread as fn() -> Runtime), ("two threads", multi_thread)]
    {
        println!("{crowd} subscribers of one channel, each in a task, {threads}");
        let baseline = broadcast_to(crowd, rounds, runtime());
        let per = |took: Duration| took.as_nanos() as f64 / crowd as f64;
        println!("  broadcast   {:>8.1} ns a subscriber", per(baseline));
        let (took, alone, during) = bus_to(crowd, rounds, runtime());
        println!(
            "  bus         {:>8.1} ns a subscriber {:>8.2} x",
            per(took),
            took.as_secs_f64() / baseline.as_secs_f64()
        );
        println!("  a message on another stream, alone:  {alone}");
        let ratio = during.p50.as_secs_f64() / alone.p50.as_secs_f64();
        println!(
            "  a message on another stream, during: {during}  ({ratio:.1} x; the crowd takes {took:.1?})"
        );
        println!();
    }
}

/// Counts the crowd's messages, and tells when all have one.
struct Arrivals {
    crowd: usize,
    count: AtomicUsize,
    complete: Notify,
}

impl Arrivals {
    fn new(crowd: usize) -> Arc<Self> {
        Arc::new(Self { crowd, count: AtomicUsize::new(0), complete: Notify::new() })
    }

    fn add(&self) {
        if (self.count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.crowd) {
            self.complete.notify_one();
        }
    }
}

fn broadcast_to(crowd: usize, rounds: usize, runtime: Runtime) -> Duration {
    runtime.block_on(async {
        let arrivals = Arrivals::new(crowd);
        let (sender, _) = broadcast::channel::<u64>(16);
        for _ in 0..crowd {
            let (mut receiver, arrivals) = (sender.subscribe(), Arc::clone(&arrivals));
            tokio::spawn(async move {
                while receiver.recv().await.is_ok() {
                    arrivals.add();
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut times = Vec::new();
        for round in 0..rounds {
            let start = Instant::now();
            drop(sender.send(round as u64));
            arrivals.complete.notified().await;
            times.push(start.elapsed());
        }
        Spread::of(times).p50
    })
}

/// The time of one message to all, and the latency of one on another stream, alone and during that.
fn bus_to(crowd: usize, rounds: usize, runtime: Runtime) -> (Duration, Spread, Spread) {
    let Node { runtime, bus, mut feed, frames, .. } = Node::new(runtime, 2);
    let named = |stream| {
        let mut names = (0..).map(|index| format!("room:{index}"));
        names.find(|name| bus.stream_of(name) == StreamIndex(stream)).expect("names never end")
    };
    let (crowded, quiet) = (named(0), named(1));
    let [mut crowd_frames, mut quiet_frames] = <[FrameMaker; 2]>::try_from(frames).ok().expect("two streams");
    let mut other = bus.subscribe([&quiet]);
    runtime.block_on(async {
        let arrivals = Arrivals::new(crowd);
        for _ in 0..crowd {
            let (mut subscription, arrivals) = (bus.subscribe([&crowded]), Arc::clone(&arrivals));
            tokio::spawn(async move {
                while let Some(Received::Message(_)) = subscription.recv().await {
                    arrivals.add();
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;

        let mut crowd_message =
            move || crowd_frames.make([(crowded.as_str(), [1_u8; 64].as_slice())].into_iter());
        let mut times = Vec::new();
        for _ in 0..rounds {
            let start = Instant::now();
            feed.yields(StreamIndex(0), crowd_message());
            arrivals.complete.notified().await;
            times.push(start.elapsed());
        }
        let took = Spread::of(times).p50;

        let mut quiet_message =
            move || quiet_frames.make([(quiet.as_str(), [2_u8; 64].as_slice())].into_iter());
        // From a task, as servers do it; the thread of `block_on` is no worker.
        tokio::spawn(async move {
            let mut trip = async |feed: &mut Feed| {
                let start = Instant::now();
                feed.yields(StreamIndex(1), quiet_message());
                other.recv().await;
                start.elapsed()
            };
            let mut alone = Vec::new();
            for _ in 0..rounds * 1_000 {
                alone.push(trip(&mut feed).await);
                tokio::task::yield_now().await;
            }
            let mut during = Vec::new();
            for _ in 0..rounds {
                feed.yields(StreamIndex(0), crowd_message());
                let done = AtomicBool::new(false);
                let complete = async {
                    arrivals.complete.notified().await;
                    done.store(true, Ordering::Relaxed);
                };
                let trips = async {
                    while !done.load(Ordering::Relaxed) {
                        during.push(trip(&mut feed).await);
                        tokio::task::yield_now().await;
                    }
                };
                futures_util::future::join(complete, trips).await;
            }
            (took, Spread::of(alone), Spread::of(during))
        })
        .await
        .expect("it does not panic")
    })
}
