//! A task that publishes at a rate.

use std::{sync::Arc, time::Duration};

use scaleout_core::{Bus, Receipt};
use tokio::{
    select,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

use super::Shared;

/// Messages are published in bursts, so often.
const TICK: Duration = Duration::from_millis(5);

/// What is published on a node.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// The channels, in turn.
    pub channels: Vec<String>,
    /// Messages a second.
    pub rate: u32,
    /// Bytes of a message, at least 12.
    pub len: usize,
}

pub(super) async fn run(
    shared: Arc<Shared>,
    node: usize,
    bus: Bus,
    traffic: Traffic,
    mut stops: watch::Receiver<bool>,
) {
    let (receipts, outcomes) = mpsc::unbounded_channel();
    let resolving = tokio::spawn(resolve(Arc::clone(&shared), outcomes));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut channels = traffic.channels.iter().cycle();
    let (mut last, mut due) = (Instant::now(), 0.0);
    loop {
        select! {
            biased;
            _ = stops.wait_for(|stops| *stops) => break,
            now = ticks.tick() => {
                due += now.saturating_duration_since(last).as_secs_f64() * f64::from(traffic.rate);
                last = now;
            }
        }
        while due >= 1.0 {
            due -= 1.0;
            let Some(channel) = channels.next() else { return };
            let (id, receipt) = shared.publish(node, &bus, channel, traffic.len);
            match receipt {
                Ok(receipt) => drop(receipts.send((id, receipt))),
                Err(error) => shared.resolved(id, &Err(error)),
            }
        }
    }
    drop(receipts);
    resolving.await.expect("a task that waits for receipts does not panic");
}

async fn resolve(shared: Arc<Shared>, mut receipts: mpsc::UnboundedReceiver<(usize, Receipt)>) {
    while let Some((id, receipt)) = receipts.recv().await {
        let result = receipt.await;
        shared.resolved(id, &result);
    }
}
