//! What a node does for the store now and then: trim what is beyond retention, and give up what dead nodes left.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use scaleout_core::{Error, NodeId};

use crate::{
    error::Failure,
    link::{Call, Link, Values},
    node::{Node, to_sql},
    send::node_bytes,
};

/// How often a node looks whether there is something to do.
const BEAT: Duration = Duration::from_secs(1);

/// Rows that one transaction of trim deletes: far fewer than make SQL Server lock the whole table.
const BATCH_ROWS: i32 = 500;

/// Transactions of one call of trim, so that it stays short.
const MAX_BATCHES: i32 = 10;

/// How long a listener may be silent before any other node may give it up. It shows itself at least once in `max_poll_with_broker`.
const LEASE: Duration = Duration::from_secs(300);

/// Begins the task, if it does not run already; it ends with the node.
pub(crate) fn begin(node: &Arc<Node>) {
    if node.begins_upkeep() {
        tokio::spawn(run(Arc::downgrade(node)));
    }
}

async fn run(node: Weak<Node>) {
    // Nodes that started together do not all come at once.
    let jitter = |pause: Duration| pause.mul_f64(0.75 + fastrand::f64() / 2.0);
    let mut renewed = Instant::now();
    let mut cleaned = Instant::now();
    // Its own, since a send would have to wait for a connection of the pool, or for a new one. It ends when nothing is to do.
    let mut link = None;
    loop {
        tokio::time::sleep(jitter(BEAT)).await;
        let Some(node) = node.upgrade().filter(|node| !node.is_closed()) else { return };
        let now = Instant::now();
        let mut is_idle = true;
        for lane in 0..node.lanes.len() {
            if node.lanes[lane].trim_is_due(&node.config, now) {
                is_idle = false;
                told(&node, trim(&node, &mut link, lane).await, "dropping old rows failed");
            }
        }
        if now.duration_since(renewed) >= jitter(node.config.sender_expiry / 8) {
            (renewed, is_idle) = (now, false);
            told(&node, renew(&node, &mut link).await, "renewing what the store holds of this node failed");
        }
        if crate::bell::is_ready(&node) && now.duration_since(cleaned) >= jitter(LEASE / 2) {
            (cleaned, is_idle) = (now, false);
            told(&node, clean(&node, &mut link).await, "giving up dead listeners failed");
        }
        if is_idle {
            link = None;
        }
    }
}

/// The connection in `kept`, or a new one.
async fn linked<'a>(node: &Node, kept: &'a mut Option<Link>) -> Result<&'a mut Link, Error> {
    let link = match kept.take().filter(Link::is_clean) {
        Some(link) => link,
        None => node.unless_closed(node.connect()).await?.0,
    };
    Ok(kept.insert(link))
}

/// The next round tries again; whatever is wrong with the store, senders and readers tell.
fn told(node: &Node, result: Result<(), Error>, what: &str) {
    if let Err(error) = result {
        tracing::debug!(app = %node.config.app, %error, "{what}");
    }
}

async fn trim(node: &Node, kept: &mut Option<Link>, lane: usize) -> Result<(), Error> {
    let config = &node.config;
    let link = linked(node, kept).await?;
    loop {
        let call = Call::new(&node.names.trim[lane])
            .with("@keep_rows", to_sql(config.max_retained_rows))
            .with("@keep_seconds", i32::try_from(config.max_retained_age.as_secs()).unwrap_or(i32::MAX))
            .with("@keep_bytes", to_sql(config.max_retained_bytes))
            .with("@batch", BATCH_ROWS)
            .with("@max_batches", MAX_BATCHES);
        let trimmed = async { trimmed_of(link.call(call).await?) }.await;
        let (deleted, has_more) =
            trimmed.map_err(|failure| node.failed(link, failure, "trimming a stream"))?;
        node.lanes[lane].trimmed();
        if deleted > 0 {
            tracing::debug!(app = %config.app, stream = lane, deleted, "old rows are dropped");
        }
        if !has_more {
            return Ok(());
        }
    }
}

fn trimmed_of(results: Vec<Vec<tiberius::Row>>) -> Result<(i64, bool), Failure> {
    let mut values = Values::first(results, "trim")?;
    Ok((values.seq()?, values.number()? == 1))
}

async fn renew(node: &Node, kept: &mut Option<Link>) -> Result<(), Error> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for lane in &node.lanes {
        let sent = lane.sending.lock().await;
        nodes.extend(sent.confirmed.keys());
    }
    nodes.sort_unstable();
    nodes.dedup();
    let keep = i32::try_from(node.config.sender_expiry.as_secs()).unwrap_or(i32::MAX);
    for id in nodes {
        let link = linked(node, kept).await?;
        let call = Call::new(&node.names.renew).with("@node", node_bytes(id)).with("@keep_seconds", keep);
        let asked = Instant::now();
        call_once(node, link, call, "renewing what the streams hold of this node").await?;
        for lane in &node.lanes {
            if let Some(confirmed) = lane.sending.lock().await.confirmed.get_mut(&id) {
                confirmed.renewed = confirmed.renewed.max(asked);
            }
        }
    }
    Ok(())
}

async fn clean(node: &Node, kept: &mut Option<Link>) -> Result<(), Error> {
    let lease = i32::try_from(LEASE.as_secs()).unwrap_or(i32::MAX);
    let link = linked(node, kept).await?;
    let call = Call::new(&node.names.janitor).with("@lease_seconds", lease);
    call_once(node, link, call, "giving up dead listeners").await
}

async fn call_once(node: &Node, link: &mut Link, call: Call<'_>, doing: &str) -> Result<(), Error> {
    let called = link.call(call).await;
    called.map(drop).map_err(|failure| node.failed(link, failure, doing))
}
