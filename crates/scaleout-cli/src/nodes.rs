//! `scaleout nodes`: who is there, how far each is, and how far from losing something.

mod table;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use scaleout::{Lag, Retained, StreamIndex};
use scaleout_cluster::{Observation, Observations, Observer};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Global,
    exit::Exit,
    output::{Output, timestamp},
    store::{self, Node, Target},
};

/// Show the nodes of a cluster: who they are, whether they are ready, and how far behind the store.
///
/// It is no member: no node sees anybody join or leave. Nodes are those that joined by scaleout-cluster, or by what
/// is built on it, such as the adapter for Socket.IO (cluster `socketio`); nodes that only publish are not among
/// them.
///
/// `behind` is what the node did not receive yet of the stream on which it is furthest behind; `headroom` is how much
/// more may come on a stream before the node, if it stood still, lost the first message: at least, and the least of
/// all its streams. Times are those counts over what the streams carried just now.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The name under which the nodes joined.
    #[arg(long, value_name = "NAME", default_value = "main")]
    cluster: String,
    /// Go on, and show it anew after each interval, until Ctrl-C.
    #[arg(long, short)]
    watch: bool,
    /// How long the streams are watched for what they carry, each time.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = store::time)]
    interval: Duration,
    /// How long to wait for the answers of nodes.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = store::time)]
    wait: Duration,
    /// How long to wait for the connection.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = store::time)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  scaleout nodes 'redis://localhost?app=chat'
  scaleout nodes --watch --interval 2s --cluster socketio 'redis://localhost?app=chat'
  scaleout nodes --json 'redis://localhost?app=chat' | jq '.nodes[] | select(.ready | not) | .label'

Exit codes: 0 all nodes that are known answered; 1 one did not, or nobody did; 3 the store cannot be reached.";

/// What was seen at one moment, as JSON and as a table.
#[derive(Debug, Serialize)]
struct Snapshot {
    app: Option<String>,
    cluster: String,
    at: String,
    nodes: Vec<Seen>,
    missing: Vec<Absent>,
    streams: Vec<Stream>,
}

/// A node that answered.
#[derive(Debug, Serialize)]
struct Seen {
    node: String,
    label: String,
    role: String,
    version: String,
    library_version: String,
    incarnation: u64,
    since: String,
    uptime_ms: u64,
    lease_ms: u64,
    ready: bool,
    streams_up: usize,
    streams: usize,
    published: u64,
    received: u64,
    delivered: u64,
    gaps: u64,
    faults: u64,
    clock_ahead_ms: i64,
    round_trip_us: u64,
    #[serde(flatten)]
    behind: Behind,
}

/// How far a node is behind and from losing something, on the streams where it is worst; `None` where the store
/// cannot tell.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
struct Behind {
    behind_payloads: Option<u64>,
    behind_stream: Option<u16>,
    behind_ms: Option<u64>,
    headroom_payloads: Option<u64>,
    headroom_stream: Option<u16>,
    headroom_ms: Option<u64>,
}

/// A node that did not answer.
#[derive(Debug, Serialize)]
struct Absent {
    node: String,
    label: String,
    why: String,
}

/// What the store has of a stream.
#[derive(Debug, Serialize)]
struct Stream {
    stream: u16,
    epoch: u64,
    first: Option<u64>,
    last: Option<u64>,
    payloads_per_s: Option<f64>,
}

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let settings = options.target.settings(global)?;
    let progress = output.progress("connecting", None);
    let node = Node::connect(&settings, store::listener(&settings, 1)?, options.timeout).await?;
    drop(progress);
    let app = settings.app().map(ToString::to_string);
    let outcome = look(&options, app, &node, output).await;
    node.close().await;
    outcome
}

async fn look(options: &Options, app: Option<String>, node: &Node, output: &Output) -> anyhow::Result<Exit> {
    let mut observer = Observer::new(&node.bus, &options.cluster)?;
    let end = store::interrupted();
    tokio::pin!(end);
    let mut before = retained(node).await?;
    loop {
        let progress = output.progress("asking the nodes", None);
        let seeing = async {
            sleep(options.interval.saturating_sub(before.at.elapsed())).await;
            let now = retained(node).await?;
            Ok::<_, scaleout::Error>((now, observer.observe(options.wait).await?))
        };
        let (now, observed) = tokio::select! {
            biased;
            () = &mut end => return Ok(Exit::Done),
            seen = seeing => seen?,
        };
        drop(progress);
        let snapshot = snapshot(app.clone(), &options.cluster, &before, &now, observed);
        output.json(&snapshot)?;
        output.screen(&snapshot, options.watch)?;
        if !options.watch {
            let all = snapshot.missing.is_empty() && !snapshot.nodes.is_empty();
            return Ok(if all { Exit::Done } else { Exit::Failed });
        }
        let next = now.at + options.interval;
        tokio::select! {
            biased;
            () = &mut end => return Ok(Exit::Done),
            () = sleep_until(next) => {}
        }
        before = now;
    }
}

/// What the store had of each stream at one moment.
struct Looked {
    at: Instant,
    streams: BTreeMap<StreamIndex, Retained>,
}

async fn retained(node: &Node) -> Result<Looked, scaleout::Error> {
    let (at, mut streams) = (Instant::now(), BTreeMap::new());
    for stream in (0..node.bus.stream_count().get()).map(StreamIndex) {
        if let Some(retained) = node.backplane.retained(stream).await? {
            streams.insert(stream, retained);
        }
    }
    Ok(Looked { at, streams })
}

fn snapshot(
    app: Option<String>,
    cluster: &str,
    before: &Looked,
    now: &Looked,
    observed: Observations,
) -> Snapshot {
    let mut rates = BTreeMap::new();
    for (stream, later) in &now.streams {
        let rate = before.streams.get(stream).and_then(|earlier| rate(earlier, later, now.at - before.at));
        rates.insert(*stream, rate);
    }
    let streams = now.streams.iter().map(|(stream, retained)| Stream {
        stream: stream.0,
        epoch: retained.epoch.0,
        first: retained.first.map(|id| id.0),
        last: retained.last.map(|id| id.0),
        payloads_per_s: rates[stream],
    });
    let missing = observed.missing.into_iter();
    Snapshot {
        app,
        cluster: cluster.to_owned(),
        at: timestamp(SystemTime::now()),
        nodes: observed.seen.iter().map(|seen| one(seen, now, &rates)).collect(),
        missing: missing
            .map(|(node, label, why)| Absent { node: node.to_string(), label, why: why.to_string() })
            .collect(),
        streams: streams.collect(),
    }
}

/// Payloads in a second; `None` where another epoch began in between.
fn rate(earlier: &Retained, later: &Retained, between: Duration) -> Option<f64> {
    if earlier.epoch != later.epoch || between.is_zero() {
        return None;
    }
    let next = |retained: &Retained| retained.last.map_or(0, |id| id.0.saturating_add(1));
    Some(next(later).saturating_sub(next(earlier)) as f64 / between.as_secs_f64())
}

fn one(seen: &Observation, now: &Looked, rates: &BTreeMap<StreamIndex, Option<f64>>) -> Seen {
    let Observation { member, report, round_trip, clock_ahead_ms, .. } = seen;
    let lags = (0..).map(StreamIndex).zip(&report.streams).filter_map(|(stream, of_node)| {
        let retained = now.streams.get(&stream)?;
        // Of a stream that carried nothing nobody can be behind.
        retained.last?;
        let lag = Lag::of(retained, of_node.position?)?;
        Some((stream, lag, rates.get(&stream).copied().flatten()))
    });
    Seen {
        node: member.node().to_string(),
        label: member.label().to_owned(),
        role: member.role().to_owned(),
        version: member.version().to_owned(),
        library_version: report.library_version.clone(),
        incarnation: member.incarnation(),
        since: timestamp(member.started_at()),
        uptime_ms: millis(report.uptime),
        lease_ms: millis(member.lease()),
        ready: report.ready,
        streams_up: report.streams.iter().filter(|stream| stream.up).count(),
        streams: report.streams.len(),
        published: report.published,
        received: report.received,
        delivered: report.delivered,
        gaps: report.gaps,
        faults: report.faults,
        clock_ahead_ms: *clock_ahead_ms,
        round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
        behind: worst(lags),
    }
}

/// The worst of all streams. In time the worst may be another one than in payloads: what carries more runs out earlier.
fn worst(lags: impl Iterator<Item = (StreamIndex, Lag, Option<f64>)>) -> Behind {
    let time = |payloads: u64, rate: Option<f64>| {
        let rate = rate.filter(|rate| *rate > 0.0)?;
        Some((payloads as f64 / rate * 1_000.0) as u64)
    };
    let mut worst = Behind::default();
    for (StreamIndex(stream), lag, rate) in lags {
        if worst.behind_payloads.is_none_or(|most| lag.behind > most) {
            (worst.behind_payloads, worst.behind_stream) = (Some(lag.behind), Some(stream));
        }
        worst.behind_ms = worst.behind_ms.max(time(lag.behind, rate));
        if worst.headroom_payloads.is_none_or(|least| lag.headroom < least) {
            (worst.headroom_payloads, worst.headroom_stream) = (Some(lag.headroom), Some(stream));
        }
        let until = time(lag.headroom, rate);
        worst.headroom_ms = worst.headroom_ms.into_iter().chain(until).min();
    }
    worst
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write(self, f)
    }
}

#[cfg(test)]
mod tests {
    use scaleout::{Epoch, PayloadId};

    use super::*;

    fn retained(epoch: u64, last: Option<u64>) -> Retained {
        Retained { epoch: Epoch(epoch), first: last.map(|_| PayloadId(0)), last: last.map(PayloadId) }
    }

    #[test]
    fn a_rate_is_that_of_one_epoch() {
        let two_seconds = Duration::from_secs(2);
        assert_eq!(rate(&retained(1, Some(9)), &retained(1, Some(29)), two_seconds), Some(10.0));
        assert_eq!(rate(&retained(1, None), &retained(1, Some(0)), two_seconds), Some(0.5));
        assert_eq!(rate(&retained(1, Some(9)), &retained(2, Some(29)), two_seconds), None);
    }

    #[test]
    fn what_carries_more_runs_out_earlier() {
        let lag = |behind, headroom| Lag { behind, headroom };
        let lags = [
            (StreamIndex(0), lag(0, 1_000), Some(1_000.0)),
            (StreamIndex(1), lag(5, 10), Some(1.0)),
            (StreamIndex(2), lag(1, 900), None),
        ];
        let expected = Behind {
            behind_payloads: Some(5),
            behind_stream: Some(1),
            behind_ms: Some(5_000),
            headroom_payloads: Some(10),
            headroom_stream: Some(1),
            headroom_ms: Some(1_000),
        };
        assert_eq!(worst(lags.into_iter()), expected);
        assert_eq!(worst([].into_iter()), Behind::default());
    }
}
