//! Memory of idle subscriptions, by the allocator's count and by the system's.

mod support;

use std::{
    env, fs,
    pin::Pin,
    process::Command,
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use peak_alloc::PeakAlloc;
use scaleout_core::{Bus, MemoryBackplane, Subscription};
use support::{is_measuring, read, single_thread};
use tokio::sync::broadcast;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PAGE_BYTES: usize = 4096;

/// What is measured, each in a process of its own, so that none finds memory that another one gave back.
const SCENES: [&str; 4] = [
    "receivers of one tokio broadcast (baseline)",
    "subscriptions, of one channel in a hundred",
    "subscriptions, of one channel in a hundred, after a message each",
    "subscriptions, each of a channel of its own",
];

fn main() {
    let count = if is_measuring() { 1_000_000 } else { 1_000 };
    if let Some(scene) = env::args().nth(1).and_then(|argument| argument.parse::<usize>().ok()) {
        let count = env::args().nth(2).and_then(|argument| argument.parse().ok()).unwrap_or(count);
        let (allocated, resident) = match scene {
            0 => cost(count, || {
                let (sender, _) = broadcast::channel::<u64>(16);
                let receivers: Vec<_> = (0..count).map(|_| sender.subscribe()).collect();
                (sender, receivers)
            }),
            1 => cost(count, || subscriptions(count, count / 100, 0)),
            2 => cost(count, || subscriptions(count, count / 100, 1)),
            _ => cost(count, || subscriptions(count, count, 0)),
        };
        println!("{allocated} {resident}");
        return;
    }
    let mut baseline = None;
    for (scene, what) in SCENES.iter().enumerate() {
        let program = env::current_exe().expect("it runs, so there is a file of it");
        let arguments = [scene.to_string(), count.to_string()];
        let output = Command::new(program).args(arguments).output().expect("it can run again");
        let text = String::from_utf8(output.stdout).expect("it prints numbers");
        let (allocated, resident) = text.trim().split_once(' ').expect("it prints two numbers");
        let bytes: f64 = allocated.parse().expect("it prints numbers");
        let ratio = bytes / *baseline.get_or_insert(bytes);
        println!("{count} {what}: {allocated} bytes allocated, {resident} resident each ({ratio:.1} x)");
    }
}

/// Subscriptions that have read so many messages, and wait for more.
fn subscriptions(count: usize, channels: usize, messages: usize) -> impl Sized {
    let runtime = single_thread();
    let bus = runtime.block_on(Bus::builder(MemoryBackplane::default()).connect()).expect("memory opens");
    let name = |index: usize| format!("room:{}", index % channels);
    let mut held: Vec<Subscription> = Vec::with_capacity(count);
    held.extend((0..count).map(|index| bus.subscribe([name(index)])));
    runtime.block_on(async {
        for _ in 0..messages {
            let published = bus.publish_many((0..channels).map(|index| (name(index), "hello")));
            published.await.expect("memory takes everything");
        }
        for subscription in &mut held {
            read(subscription, messages).await;
            let mut context = Context::from_waker(Waker::noop());
            assert!(matches!(Pin::new(subscription).poll_next(&mut context), Poll::Pending));
            // Thousands of subscriptions are not one task's.
            tokio::task::yield_now().await;
        }
    });
    (held, bus, runtime)
}

/// Bytes that each of `count` takes, allocated and resident.
fn cost<T>(count: usize, make: impl FnOnce() -> T) -> (usize, usize) {
    let (allocated, resident) = (ALLOCATED.current_usage(), resident_bytes());
    let made = make();
    let each = |before: usize, after: usize| after.saturating_sub(before).div_ceil(count);
    let cost = (each(allocated, ALLOCATED.current_usage()), each(resident, resident_bytes()));
    drop(made);
    cost
}

/// What the system has given this process, 0 where it does not tell.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * PAGE_BYTES
}
