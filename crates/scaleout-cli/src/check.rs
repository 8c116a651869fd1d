//! `scaleout check`: what is wrong with a store, and how to mend it.

mod probe;

use std::time::Duration;

use scaleout::{BackplaneConfig, BusConfig, Error, ErrorKind, Finding, Severity};
use scaleout_cluster::Observer;
use serde::Serialize;
use tokio::time::timeout;

use self::probe::RoundTrips;
use crate::{
    Global,
    exit::{Exit, chain},
    output::{Output, Paint, Shown},
    store::{self, Node, Target},
};

/// Look at a store as a node would find it, and measure a round trip.
///
/// What is found is ok, a warning or a problem, and what is to be mended says how. Nothing is changed, but for what a
/// node makes when it connects, and the small messages of the round trips, on channels that nobody else has. It
/// connects only where no problem was found, and not at all with --no-probe.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Round trips to measure, over all streams.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    probes: u32,
    /// Connect no node: only examine.
    #[arg(long)]
    no_probe: bool,
    /// A warning fails the command as a problem does.
    #[arg(long)]
    strict: bool,
    /// How long to wait: for the examination, for the connection, for one round trip.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = store::time)]
    timeout: Duration,
    /// The cluster whose nodes are asked for their clocks.
    #[arg(long, value_name = "NAME", default_value = "main")]
    cluster: String,
}

const EXAMPLES: &str = "\
Examples:
  scaleout check 'redis://localhost?app=chat'
  scaleout check --json --no-probe 'sqlserver://user:password@host/database?app=chat'
  SCALEOUT_URL='Endpoint=sb://…;App=chat' scaleout check --probes 50

Exit codes: 0 nothing worse than a warning; 1 a problem, or with --strict a warning; 3 the store cannot be reached.";

/// How long the nodes of the cluster may take to answer.
const NODES_DEADLINE: Duration = Duration::from_secs(1);

/// A clock further off than that is worth a warning.
const MAX_SKEW: Duration = Duration::from_secs(1);

/// All that was found, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    app: Option<String>,
    worst: &'static str,
    findings: Vec<Item>,
    /// What was measured; nothing where no node connected.
    round_trip: Option<RoundTrips>,
}

#[derive(Debug, Serialize)]
struct Item {
    severity: &'static str,
    subject: &'static str,
    what: String,
    fix: Option<String>,
}

impl From<&Finding> for Item {
    fn from(finding: &Finding) -> Self {
        let Finding { severity, subject, what, fix, .. } = finding;
        Self { severity: severity.name(), subject, what: what.clone(), fix: fix.clone() }
    }
}

pub(crate) async fn run(options: Options, global: &Global, output: &Output) -> anyhow::Result<Exit> {
    let settings = options.target.settings(global)?;
    let mut told = Told { output, findings: Vec::new() };
    for finding in examine(&settings, &options, output).await? {
        told.tell(finding)?;
    }
    let mut round_trip = None;
    if told.worst() == Severity::Problem {
        output.note("round trips are not measured: there is a problem that comes first");
    } else if !options.no_probe {
        round_trip = connect_and_measure(&settings, &options, &mut told).await?;
    }

    let worst = told.worst();
    output.json(&Report {
        app: settings.app().map(ToString::to_string),
        worst: worst.name(),
        findings: told.findings.iter().map(Item::from).collect(),
        round_trip,
    })?;
    let is_unreachable =
        |finding: &Finding| finding.severity == Severity::Problem && finding.subject == "connection";
    Ok(match worst {
        Severity::Problem if told.findings.iter().any(is_unreachable) => Exit::Unreachable,
        Severity::Problem => Exit::Failed,
        Severity::Warning if options.strict => Exit::Failed,
        _ => Exit::Done,
    })
}

/// The findings so far, which are shown as they come.
struct Told<'a> {
    output: &'a Output,
    findings: Vec<Finding>,
}

impl Told<'_> {
    fn tell(&mut self, finding: Finding) -> anyhow::Result<()> {
        let paint = match finding.severity {
            Severity::Ok => Paint::Good,
            Severity::Warning => Paint::Warning,
            Severity::Problem => Paint::Problem,
        };
        let severity = self.output.paint(paint, format_args!("{:<8}", finding.severity.name()));
        let subject = self.output.paint(Paint::Strong, format_args!("{:<12}", finding.subject));
        self.output.text(format_args!("{severity} {subject} {}", Shown(&finding.what)))?;
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            self.output.text(format_args!(
                "{:<21} {} {}",
                "",
                self.output.paint(Paint::Faint, "fix:"),
                Shown(line)
            ))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }
}

async fn examine(
    settings: &BackplaneConfig,
    options: &Options,
    output: &Output,
) -> anyhow::Result<Vec<Finding>> {
    let _progress = output.progress("examining", None);
    let examined = store::or_interrupted(timeout(options.timeout, settings.examine())).await?;
    Ok(examined.unwrap_or_else(|_| {
        let what = format!("the examination did not end within {:?}", options.timeout);
        let fix =
            "check the address, and that nothing between drops packets; or give more time with --timeout";
        vec![Finding::problem("connection", what, fix)]
    }))
}

/// Connects a node that receives all streams, as any node of an application does.
async fn connect_and_measure(
    settings: &BackplaneConfig,
    options: &Options,
    told: &mut Told<'_>,
) -> anyhow::Result<Option<RoundTrips>> {
    let progress = told.output.progress("connecting", None);
    let config = BusConfig::default().with_max_backlog_payloads(0);
    let node = match Node::connect(settings, config, options.timeout).await {
        Ok(node) => node,
        Err(error) => {
            drop(progress);
            let Some(of_store) = error.downcast_ref::<Error>() else { return Err(error) };
            told.tell(refusal(of_store))?;
            return Ok(None);
        }
    };
    drop(progress);
    let measured = measure(&node, options, told).await;
    node.close().await;
    measured.map(Some)
}

async fn measure(node: &Node, options: &Options, told: &mut Told<'_>) -> anyhow::Result<RoundTrips> {
    let progress = told.output.progress("measuring", Some(options.probes.into()));
    let probing = probe::measure(&node.bus, options.probes, options.timeout, |done| {
        progress.0.set_position(done.into());
    });
    let round_trips = store::or_interrupted(probing).await?;
    drop(progress);
    told.tell(round_trips.finding())?;
    let mut observer = Observer::new(&node.bus, &options.cluster)?;
    let observed = store::or_interrupted(observer.observe(NODES_DEADLINE)).await?;
    if let Ok(observed) = observed
        && let Some(finding) = clocks(&observed.seen)
    {
        told.tell(finding)?;
    }
    Ok(round_trips)
}

/// What the nodes of the application say of their clocks.
fn clocks(seen: &[scaleout_cluster::Observation]) -> Option<Finding> {
    // What the way took may be all in one direction.
    let off = |seen: &scaleout_cluster::Observation| {
        Duration::from_millis(seen.clock_ahead_ms.unsigned_abs()).saturating_sub(seen.round_trip / 2)
    };
    let worst = seen.iter().max_by_key(|seen| off(seen))?;
    let (nodes, most) = (seen.len(), off(worst));
    if most <= MAX_SKEW {
        return Some(Finding::ok(
            "nodes",
            format!("{nodes} answered, their clocks are within {MAX_SKEW:?} of this one"),
        ));
    }
    let (id, label, way) = (
        worst.member.node(),
        worst.member.label(),
        if worst.clock_ahead_ms > 0 { "ahead of" } else { "behind" },
    );
    let what = format!(
        "the clock of node {id} ({label}) is {most:.1?} {way} the one here: times of messages are off by that"
    );
    Some(Finding::warning("nodes", what, "let both hosts keep their clocks by NTP: timedatectl set-ntp true"))
}

/// What it means that a node cannot connect where the examination found no problem.
fn refusal(error: &Error) -> Finding {
    let (subject, fix) = match error.kind() {
        ErrorKind::Unauthorized => ("permissions", "grant what is named here, or correct user and password"),
        ErrorKind::Config => ("layout", "make these settings those of the other nodes"),
        ErrorKind::Unsupported => ("version", "use a server that the provider supports"),
        _ => ("connection", "see that the server runs and that this host reaches it, then try again"),
    };
    Finding::problem(subject, format!("no node can connect: {}", chain(error)), fix)
}
