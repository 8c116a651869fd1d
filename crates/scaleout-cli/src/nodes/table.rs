//! The nodes as a table.

use std::{fmt, time::Duration};

use super::{Seen, Snapshot};
use crate::output::Shown;

pub(super) fn write(snapshot: &Snapshot, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Snapshot { cluster, nodes, missing, streams, at, app } = snapshot;
    let app = app.as_deref().unwrap_or("none");
    let count = nodes.len() + missing.len();
    writeln!(f, "cluster {cluster} of app {app} at {at}: {count} nodes, {} answered", nodes.len())?;
    if !nodes.is_empty() {
        write_rows(&nodes.iter().map(row).collect::<Vec<_>>(), f)?;
    }
    for absent in missing {
        writeln!(f, "no answer of {} {}: {}", absent.node, shown(&absent.label), Shown(&absent.why))?;
    }
    match streams.iter().filter_map(|stream| stream.payloads_per_s).reduce(|sum, rate| sum + rate) {
        Some(rate) => write!(f, "the store carries {rate:.1} payloads/s on {} streams", streams.len()),
        None => write!(
            f,
            "the store does not tell what it retains, so that nobody knows how far nodes are behind"
        ),
    }
}

const HEAD: [&str; 11] =
    ["NODE", "LABEL", "ROLE", "VERSION", "UP", "LEASE", "READY", "STREAMS", "BEHIND", "HEADROOM", "GAPS"];

fn row(seen: &Seen) -> [String; 11] {
    let behind = &seen.behind;
    [
        // As long as people need to tell nodes apart; JSON has all of it.
        seen.node.chars().take(8).collect(),
        shown(&seen.label),
        shown(&seen.role),
        shown(&seen.version),
        humantime::format_duration(Duration::from_secs(seen.uptime_ms / 1_000)).to_string(),
        humantime::format_duration(Duration::from_millis(seen.lease_ms)).to_string(),
        if seen.ready { "yes" } else { "NO" }.to_owned(),
        format!("{}/{} up", seen.streams_up, seen.streams),
        payloads(behind.behind_payloads, behind.behind_ms),
        payloads(behind.headroom_payloads, behind.headroom_ms),
        seen.gaps.to_string(),
    ]
}

fn payloads(count: Option<u64>, time_ms: Option<u64>) -> String {
    let Some(count) = count else { return "?".to_owned() };
    match time_ms {
        Some(ms) => format!("{count} ({:.1} s)", ms as f64 / 1_000.0),
        None => count.to_string(),
    }
}

/// What another process says of itself, without what a terminal would obey.
fn shown(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.escape_debug().to_string() }
}

fn write_rows(rows: &[[String; 11]], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut widths = HEAD.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: &[&str]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    line(&HEAD)?;
    rows.iter().try_for_each(|row| line(&row.each_ref().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::{super::Absent, *};

    #[test]
    fn why_a_node_did_not_answer_steers_no_terminal() {
        let absent =
            Absent { node: "a1".into(), label: "web\u{1b}[2J".into(), why: "it said \u{1b}]0;\u{9b}".into() };
        let snapshot = Snapshot {
            app: None,
            cluster: "main".into(),
            at: String::new(),
            nodes: Vec::new(),
            missing: vec![absent],
            streams: Vec::new(),
        };
        let text = snapshot.to_string();
        assert!(text.contains("it said ") && text.lines().count() > 1, "{text:?}");
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    }
}
