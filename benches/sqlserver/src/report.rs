//! From runs to tables.

use std::fmt::Write as _;

use crate::{
    case::{Case, How},
    idle::{Idle, Mode},
    pair::Run,
};

/// The runs of one case.
struct Row<'a> {
    case: &'a Case,
    runs: Vec<&'a Run>,
}

/// Markdown, with the medians of each case.
pub fn markdown(version: &str, runs: &[Run], idle: &[Idle]) -> String {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        match rows.iter_mut().find(|row| row.case.is_beside(&run.case) && row.case.how == run.case.how) {
            Some(row) => row.runs.push(run),
            None => rows.push(Row { case: &run.case, runs: vec![run] }),
        }
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{version}. Against the TDS test server these figures measure the client only.\n");
    let _ = throughput(&mut text, &rows);
    let _ = latency(&mut text, &rows);
    let _ = idle_nodes(&mut text, idle);
    if let Some(run) = runs.first() {
        let loads = || runs.iter().map(|run| run.load);
        let (least, most) = (loads().fold(f64::INFINITY, f64::min), loads().fold(0.0, f64::max));
        let _ = writeln!(text, "Load average {least:.1} to {most:.1}. Doorbell: {}.", run.doorbell);
    }
    text
}

fn throughput(text: &mut String, rows: &[Row<'_>]) -> std::fmt::Result {
    if rows.iter().all(|row| row.case.is_paced()) {
        return Ok(());
    }
    writeln!(
        text,
        "| tables | bytes | frames | messages/s | slowest, fastest run | × one message a frame | frames/s | messages a frame | publisher µs | receiver µs |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in rows.iter().filter(|row| !row.case.is_paced()) {
        let Case { tables, size, how, .. } = row.case;
        let single =
            rows.iter().find(|other| other.case.is_beside(row.case) && other.case.how == How::Single);
        let (rate, range) = match row.rates() {
            Some(rates) => (
                thousands(median(&rates)),
                format!("{}, {}", thousands(rates[0]), thousands(rates[rates.len() - 1])),
            ),
            None => ("not sound".into(), String::new()),
        };
        let ratio = match (row.rates(), single.and_then(Row::rates)) {
            (Some(rates), Some(single)) => format!("{:.1}", median(&rates) / median(&single)),
            _ => String::new(),
        };
        writeln!(
            text,
            "| {tables} | {size} | {how} | {rate} | {range} | {ratio} | {:.0} | {:.0} | {:.1} | {:.1} |",
            row.of(|run| run.frames_per_second),
            row.of(|run| run.per_frame),
            row.of(|run| run.publisher_us),
            row.of(|run| run.receiver_us),
        )?;
    }
    writeln!(text)
}

fn latency(text: &mut String, rows: &[Row<'_>]) -> std::fmt::Result {
    let Some(first) = rows.iter().find(|row| row.case.is_paced()) else { return Ok(()) };
    writeln!(
        text,
        "| tables | bytes | at {} messages/s, frames | p50 ms | p99 ms | confirmed after, p50 ms | p99 ms | messages a frame |",
        first.case.rate
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in rows.iter().filter(|row| row.case.is_paced()) {
        let Case { tables, size, how, .. } = row.case;
        write!(text, "| {tables} | {size} | {how} |")?;
        if row.rates().is_none() {
            writeln!(text, " not sound | | | | |")?;
            continue;
        }
        let times: [fn(&Run) -> u64; 4] =
            [|run| run.latency.p50, |run| run.latency.p99, |run| run.confirmed.p50, |run| run.confirmed.p99];
        for time in times {
            write!(text, " {:.1} |", row.of(|run| time(run) as f64 / 1e6))?;
        }
        writeln!(text, " {:.1} |", row.of(|run| run.per_frame))?;
    }
    writeln!(text)
}

fn idle_nodes(text: &mut String, idle: &[Idle]) -> std::fmt::Result {
    if idle.is_empty() {
        return Ok(());
    }
    writeln!(text, "| tables | idle node | statements a minute |\n| --- | --- | --- |")?;
    for Idle { tables, mode: of, statements_per_minute, not_available } in idle {
        let told = match (statements_per_minute, not_available) {
            (Some(statements), _) => format!("{statements:.0}"),
            (None, why) => format!("not available: {}", why.as_deref().unwrap_or("unknown")),
        };
        writeln!(text, "| {tables} | {} | {told} |", mode(*of))?;
    }
    writeln!(text)
}

/// What a run came to, in a few words.
pub fn told(run: &Run) -> String {
    let Run { lost, duplicates, gaps, errors, latency, .. } = run;
    match run.per_second {
        None => format!("{lost} lost, {duplicates} twice, {gaps} gaps, {errors} errors"),
        Some(_) if run.case.is_paced() => {
            format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50 as f64 / 1e6, latency.p99 as f64 / 1e6)
        }
        Some(rate) => format!("{} messages/s", thousands(rate)),
    }
}

/// How a node learns of messages, in words.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Polling => "polling",
        Mode::Doorbell => "with the doorbell",
    }
}

impl Row<'_> {
    /// The rates of all runs, ascending; `None` if one was not sound.
    fn rates(&self) -> Option<Vec<f64>> {
        let mut rates: Vec<f64> = self.runs.iter().map(|run| run.per_second).collect::<Option<_>>()?;
        rates.sort_unstable_by(f64::total_cmp);
        Some(rates)
    }

    /// The median of a field.
    fn of(&self, field: impl Fn(&Run) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(|run| field(run)).collect();
        values.sort_unstable_by(f64::total_cmp);
        median(&values)
    }
}

fn thousands(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2} M", rate / 1e6),
        1e4.. => format!("{:.1} k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

/// Of values that ascend.
fn median(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}
