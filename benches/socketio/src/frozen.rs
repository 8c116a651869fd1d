//! What a question to all nodes gives while one of three is frozen (`SIGSTOP`): its connections stay open, and it says
//! nothing.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    case::Which,
    ground::Ground,
    process::hear_each_other,
    words::{Fetched, Order},
};

/// How often the question is asked while all nodes answer.
const HEALTHY: usize = 20;

/// What the questions came to.
#[derive(Debug, Clone, Serialize)]
pub struct Frozen {
    /// The median, and how many sockets each answer had at least.
    pub healthy_ms: f64,
    pub healthy_sockets: usize,
    /// One after the other.
    pub questions: Vec<Question>,
}

/// A question while a node is frozen.
#[derive(Debug, Clone, Serialize)]
pub struct Question {
    /// When it was asked, since the node was frozen.
    pub at_ms: f64,
    #[serde(flatten)]
    pub fetched: Fetched,
}

/// Asks until `time` has passed since the node was frozen.
pub async fn run(which: Which, time: Duration, ground: &Ground) -> anyhow::Result<Frozen> {
    let app = Ground::app();
    let mut a = ground.node("a", which, &app, true).await?;
    let mut b = ground.node("b", which, &app, true).await?;
    let mut c = ground.node("c", which, &app, true).await?;
    hear_each_other(&mut [&mut a, &mut b, &mut c]).await?;
    let mut healthy: Vec<Fetched> = Vec::new();
    for _ in 0..HEALTHY {
        healthy.push(a.ask(Order::Fetch).await?);
    }
    healthy.sort_unstable_by(|one, other| one.ms.total_cmp(&other.ms));
    c.freeze()?;
    let (frozen, mut questions) = (Instant::now(), Vec::new());
    while questions.is_empty() || frozen.elapsed() < time {
        let at_ms = frozen.elapsed().as_secs_f64() * 1e3;
        questions.push(Question { at_ms, fetched: a.ask(Order::Fetch).await? });
        // A side that answers at once would be asked without end.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    c.kill().await?;
    a.end().await?;
    b.end().await?;
    ground.clear().await?;
    Ok(Frozen {
        healthy_ms: healthy[HEALTHY / 2].ms,
        healthy_sockets: healthy.iter().filter_map(|fetched| fetched.sockets).min().unwrap_or(0),
        questions,
    })
}
