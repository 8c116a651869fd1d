//! Encoding, decoding and dispatch: what a message costs a node beside moving its bytes.

mod support;

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::Criterion;
use scaleout_core::{Bus, BusConfig, StreamIndex, Subscription, frame::Frame};
use support::{
    Figures, FrameMaker, Node, Stopwatch, criterion, messages_of_full_frame, read, single_thread, timed,
};

const STREAM: StreamIndex = StreamIndex(0);

/// Frames that are prepared at once, outside of what is measured.
const CHUNK: u64 = 64;

fn main() {
    let mut criterion = criterion();
    full_frames(&mut criterion, 256);
    full_frames(&mut criterion, 64);
    publisher(&mut criterion);
    channels_present(&mut criterion);
    criterion.final_summary();
}

/// Frames of 64 KiB full of messages to 16 channels in turn.
fn full_frames(criterion: &mut Criterion, payload_bytes: usize) {
    let title = format!("full frame of {payload_bytes} B messages, per message");
    let mut group = criterion.benchmark_group(&title);
    let mut figures = Figures::default();
    let channels = names(16);
    let payload = vec![0x5a; payload_bytes];
    let count = messages_of_full_frame(&channels[0], payload_bytes);
    let messages = || channels.iter().cycle().take(count).map(|name| (name.as_str(), payload.as_slice()));

    let mut maker = FrameMaker::new(1);
    let frame = maker.make(messages());
    let mut copy = vec![0; frame.len()];
    figures.measure(&mut group, "memcpy", count, |frames| {
        timed(|| (0..frames).for_each(|_| black_box(&mut copy).copy_from_slice(black_box(&frame))))
    });
    figures.measure(&mut group, "encode", count, |frames| {
        timed(|| (0..frames).for_each(|_| drop(black_box(maker.make(messages())))))
    });
    let layout = maker.layout();
    figures.measure(&mut group, "decode", count, |frames| {
        timed(|| {
            for _ in 0..frames {
                black_box(Frame::decode(black_box(&frame), &layout).expect("it is a frame of this layout"));
            }
        })
    });

    let mut node = Node::new(single_thread(), 1);
    let mut last = node.bus.subscribe(["last"]);
    figures.measure(&mut group, "decode + dispatch, nobody subscribes", count, |frames| {
        let unread = || messages().chain([("last", payload.as_slice())]);
        prepared(&mut node, frames, unread, async |_| read(&mut last, 1).await)
    });

    let mut node = Node::new(single_thread(), 1);
    let mut subscription = node.bus.subscribe(&channels);
    figures.measure(&mut group, "decode + dispatch + read, one subscription", count, |frames| {
        prepared(&mut node, frames, messages, async |_| read(&mut subscription, count).await)
    });

    let mut node = Node::new(single_thread(), 1);
    let mut each: Vec<Subscription> = channels.iter().map(|name| node.bus.subscribe([name])).collect();
    figures.measure(&mut group, "decode + dispatch + read, one per channel", count, |frames| {
        prepared(&mut node, frames, messages, async |_| {
            for (index, subscription) in each.iter_mut().enumerate() {
                read(subscription, (count + channels.len() - 1 - index) / channels.len()).await;
            }
        })
    });

    let mut node = Node::new(single_thread(), 1);
    let mut subscription = node.bus.subscribe(&channels);
    figures.measure(&mut group, "encode + decode + dispatch + read", count, |frames| {
        let Node { runtime, feed, frames: makers, .. } = &mut node;
        runtime.block_on(async {
            let watch = Stopwatch::start();
            for _ in 0..frames {
                feed.yields(STREAM, makers[0].make(messages()));
                read(&mut subscription, count).await;
            }
            watch.elapsed()
        })
    });
    figures.print(&title);
}

/// What a publishing node spends, on a backplane that takes every frame at once.
fn publisher(criterion: &mut Criterion) {
    const MESSAGES: usize = 10_000;
    let title = "publisher, 64 B messages, per message";
    let mut group = criterion.benchmark_group(title);
    let mut figures = Figures::default();
    let channels = names(16);
    let payload = Bytes::from(vec![0x5a; 64]);

    let mut copy = vec![0_u8; 64 << 10];
    figures.measure(&mut group, "memcpy", MESSAGES, |repetitions| {
        timed(|| {
            for _ in 0..repetitions {
                for index in 0..MESSAGES {
                    let at = index * 64 % copy.len();
                    black_box(&mut copy[at..at + 64]).copy_from_slice(black_box(&payload));
                }
            }
        })
    });
    let node = Node::new(single_thread(), 1);
    figures.measure(&mut group, "enqueue", MESSAGES, |repetitions| {
        node.runtime.block_on(async {
            let watch = Stopwatch::start();
            for _ in 0..repetitions {
                enqueue(&node.bus, channels.iter().cycle().take(MESSAGES), &payload).await;
            }
            watch.elapsed()
        })
    });
    figures.measure(&mut group, "publish, awaited by 1,024 at a time", MESSAGES, |repetitions| {
        node.runtime.block_on(async {
            let watch = Stopwatch::start();
            let mut left = repetitions as usize * MESSAGES;
            while left > 0 {
                let part = left.min(1024);
                let publishes: Vec<_> = channels
                    .iter()
                    .cycle()
                    .take(part)
                    .map(|name| node.bus.publish(name, payload.clone()))
                    .collect();
                for publish in publishes {
                    publish.await.expect("the backplane takes everything");
                }
                left -= part;
            }
            watch.elapsed()
        })
    });
    figures.print(title);
}

async fn enqueue<'a>(bus: &Bus, names: impl Iterator<Item = &'a String>, payload: &Bytes) {
    let mut last = None;
    for name in names {
        last = Some(bus.enqueue(name, payload.clone()).expect("the queue has room"));
    }
    if let Some(last) = last {
        last.await.expect("the backplane takes everything");
    }
}

/// The same messages with more and more channels around them, each with a subscription.
fn channels_present(criterion: &mut Criterion) {
    const PAYLOAD: [u8; 64] = [0x5a; 64];
    let title = "dispatch with channels present, 64 B messages, per message";
    let mut group = criterion.benchmark_group(title);
    let mut figures = Figures::default();
    for present in [1, 1_000, 100_000] {
        let mut node = Node::new(single_thread(), 1);
        let channels = names(present);
        let _idle: Vec<Subscription> = channels.iter().map(|name| node.bus.subscribe([name])).collect();
        let busy = &channels[present / 2];
        let mut subscription = node.bus.subscribe([busy]);
        let count = messages_of_full_frame(busy, PAYLOAD.len());
        let messages = || (0..count).map(|_| (busy.as_str(), PAYLOAD.as_slice()));
        figures.measure(&mut group, &format!("to one of {present}"), count, |frames| {
            prepared(&mut node, frames, messages, async |_| read(&mut subscription, count).await)
        });
    }
    for present in [1_000, 100_000] {
        // A small ring, so that messages leave it as well.
        let config = BusConfig::default().with_max_ring_bytes(32 << 20);
        let mut node = Node::with_config(single_thread(), 1, config);
        let channels = names(present);
        let mut everything = node.bus.subscribe(&channels);
        let count = messages_of_full_frame(&channels[0], PAYLOAD.len());
        let mut next = 0;
        let mut frames_of = move || {
            // A stride that is coprime to both counts walks over all of them.
            (0..count)
                .map(|_| {
                    next = (next + 7_919) % present;
                    next
                })
                .collect::<Vec<_>>()
        };
        figures.measure(&mut group, &format!("to all of {present} in turn"), count, |frames| {
            let mut took = Duration::ZERO;
            for _ in 0..frames {
                let order = frames_of();
                took += prepared(
                    &mut node,
                    1,
                    || order.iter().map(|index| (channels[*index].as_str(), PAYLOAD.as_slice())),
                    async |_| read(&mut everything, count).await,
                );
            }
            took
        });
    }
    figures.print(title);
}

/// Feeds frames that were made beforehand, one by one, each once the one before was read.
fn prepared<'a, M: Iterator<Item = (&'a str, &'a [u8])>>(
    node: &mut Node,
    frames: u64,
    messages: impl Fn() -> M,
    mut read: impl AsyncFnMut(&Bus),
) -> Duration {
    let Node { runtime, bus, feed, frames: makers } = node;
    let mut took = Duration::ZERO;
    let mut left = frames;
    while left > 0 {
        let part = left.min(CHUNK);
        left -= part;
        let made: Vec<Bytes> = (0..part).map(|_| makers[0].make(messages())).collect();
        took += runtime.block_on(async {
            let watch = Stopwatch::start();
            for frame in made {
                feed.yields(STREAM, frame);
                read(bus).await;
            }
            watch.elapsed()
        });
    }
    took
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("room:{index:06}")).collect()
}
