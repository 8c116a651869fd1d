//! Speed and latency: one node emits, the other has a socket that counts.

use serde::Serialize;

use crate::{
    case::Which,
    ground::Ground,
    process::hear_each_other,
    words::{Emit, Emitted, Order, Received},
};

/// Emits under way, and seconds, before anything counts: JavaScript is slow until it is compiled.
const WARM_UP: (usize, f64) = (64, 0.3);

/// What a pair of nodes came to. Times in µs; those of processors are per message.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    pub emitted: u64,
    /// How many emits ended with an error, and what the first one said.
    pub errors: u64,
    pub first_error: Option<String>,
    pub received: u64,
    /// Emitted without an error, and never received.
    pub lost: u64,
    /// How often the receiver was told so.
    pub gaps: u64,
    pub duplicates: u64,
    pub reordered: u64,
    /// Messages a second; `None` where something was lost, came twice or was refused.
    pub per_second: Option<f64>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    pub redis_us: f64,
    pub a_us: f64,
    pub b_us: f64,
}

pub async fn run(which: Which, emit: Emit, ground: &Ground) -> anyhow::Result<Pair> {
    let app = Ground::app();
    let mut b = ground.node("b", which, &app, true).await?;
    let mut a = ground.node("a", which, &app, false).await?;
    hear_each_other(&mut [&mut a, &mut b]).await?;
    let warm_up = Emit { rate: 0, under_way: WARM_UP.0, count: None, seconds: WARM_UP.1, ..emit };
    let emitted: Emitted = a.ask(Order::Emit(warm_up)).await?;
    b.ask::<Received>(Order::End { sent: emitted.emitted - emitted.errors }).await?;
    b.ask::<()>(Order::Begin { keep: false }).await?;
    let before = ground.server_cpu().await?;
    let emitted: Emitted = a.ask(Order::Emit(emit)).await?;
    let sent = emitted.emitted - emitted.errors;
    let received: Received = b.ask(Order::End { sent }).await?;
    let used = ground.server_cpu().await? - before;
    a.end().await?;
    b.end().await?;
    ground.clear().await?;
    Ok(sum(emitted, &received, used))
}

fn sum(emitted: Emitted, received: &Received, used: f64) -> Pair {
    let Emitted { emitted, errors, first_error, first, cpu } = emitted;
    let lost = (emitted - errors).saturating_sub(received.received);
    let is_sound = lost + errors + received.duplicates == 0 && received.received > 0;
    let seconds = received.last.saturating_sub(first).max(1) as f64 / 1e9;
    let each = |us: f64, of: u64| us / of.max(1) as f64;
    let us = |nanos: u64| nanos as f64 / 1e3;
    Pair {
        emitted,
        errors,
        first_error,
        received: received.received,
        lost,
        gaps: received.gaps,
        duplicates: received.duplicates,
        reordered: received.reordered,
        per_second: is_sound.then(|| received.received as f64 / seconds),
        p50_us: us(received.p50),
        p99_us: us(received.p99),
        max_us: us(received.max),
        redis_us: each(used * 1e6, emitted),
        a_us: each(us(cpu), emitted),
        b_us: each(us(received.cpu), received.received),
    }
}
