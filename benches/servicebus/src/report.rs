//! From runs to tables.

use std::fmt::Write as _;

use crate::{
    case::{Case, How, Wire},
    http::Fault,
    pair::{Counts, Recovery, Run},
    start::{Starts, What},
    suite::Measured,
};

/// The runs of one case.
struct Row<'a> {
    case: &'a Case,
    runs: Vec<&'a Run>,
}

/// Markdown, with the medians of each case.
pub fn markdown(what: &str, measured: &Measured) -> String {
    let Measured { runs, starts, recoveries } = measured;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        match rows.iter_mut().find(|row| row.case.is_beside(&run.case) && row.case.how == run.case.how) {
            Some(row) => row.runs.push(run),
            None => rows.push(Row { case: &run.case, runs: vec![run] }),
        }
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "On {what}. Figures of an emulator say nothing about the service.\n");
    let _ = throughput(&mut text, &rows);
    let _ = latency(&mut text, &rows);
    let _ = connects(&mut text, starts);
    let _ = after_faults(&mut text, recoveries);
    let loads = runs.iter().map(|run| run.load).chain(starts.iter().map(|starts| starts.load));
    let loads: Vec<f64> = loads.chain(recoveries.iter().map(|recovery| recovery.load)).collect();
    let (least, most) =
        (loads.iter().copied().fold(f64::INFINITY, f64::min), loads.iter().copied().fold(0.0, f64::max));
    if !loads.is_empty() {
        let _ = writeln!(text, "Load average {least:.1} to {most:.1}.");
    }
    text
}

fn throughput(text: &mut String, rows: &[Row<'_>]) -> std::fmt::Result {
    if rows.iter().all(|row| row.case.is_paced()) {
        return Ok(());
    }
    writeln!(
        text,
        "| by | bytes | frames | messages/s | slowest, fastest run | × one message a frame | × bare | frames/s | messages a frame | publisher µs | receiver µs |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in rows.iter().filter(|row| !row.case.is_paced()) {
        let Case { wire, size, how, .. } = row.case;
        let (rate, range) = match row.rates() {
            Some(rates) => (
                thousands(median(&rates)),
                format!("{}, {}", thousands(rates[0]), thousands(rates[rates.len() - 1])),
            ),
            None => ("not sound".into(), String::new()),
        };
        let ratio = |of: How| {
            let other = rows.iter().find(|other| other.case.is_beside(row.case) && other.case.how == of);
            match (row.rates(), other.and_then(Row::rates)) {
                (Some(rates), Some(other)) => format!("{:.2}", median(&rates) / median(&other)),
                _ => String::new(),
            }
        };
        writeln!(
            text,
            "| {wire} | {size} | {how} | {rate} | {range} | {} | {} | {:.0} | {:.0} | {:.1} | {:.1} |",
            ratio(How::Single),
            ratio(How::Bare),
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
        "| by | bytes | at {} messages/s, frames | p50 ms | p99 ms | max ms | confirmed after, p50 ms | p99 ms | messages a frame |",
        first.case.rate
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in rows.iter().filter(|row| row.case.is_paced()) {
        let Case { wire, size, how, .. } = row.case;
        write!(text, "| {wire} | {size} | {how} |")?;
        if row.rates().is_none() {
            writeln!(text, " not sound | | | | | |")?;
            continue;
        }
        let times: [fn(&Run) -> u64; 5] = [
            |run| run.latency.p50,
            |run| run.latency.p99,
            |run| run.latency.max,
            |run| run.confirmed.p50,
            |run| run.confirmed.p99,
        ];
        for time in times {
            write!(text, " {:.2} |", row.of(|run| time(run) as f64 / 1e6))?;
        }
        writeln!(text, " {:.1} |", row.of(|run| run.per_frame))?;
    }
    writeln!(text)
}

fn connects(text: &mut String, starts: &[Starts]) -> std::fmt::Result {
    if starts.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "| by | start | starts | median ms | least, most ms | × bare |\n| --- | --- | --- | --- | --- | --- |"
    )?;
    let bare = starts.iter().find(|starts| starts.what == What::Bare);
    let bare = bare.map(|starts| median(&sorted(&starts.connect_ms)));
    for Starts { what: of, case, connect_ms, .. } in starts {
        let times = sorted(connect_ms);
        let ratio = bare.filter(|_| case.wire == Wire::Amqp).map(|bare| median(&times) / bare);
        let ratio = ratio.map(|ratio| format!("{ratio:.1}")).unwrap_or_default();
        let topics = match of {
            What::Bare => 1,
            What::ExistingTopics | What::EmptyNamespace => case.topics,
        };
        let (wire, what) = (case.wire, what(*of));
        writeln!(
            text,
            "| {wire} | {what}, topics: {topics} | {} | {} | {ratio} |",
            times.len(),
            row_of(&times)
        )?;
    }
    writeln!(text)
}

fn after_faults(text: &mut String, recoveries: &[Recovery]) -> std::fmt::Result {
    let Some(first) = recoveries.first() else { return Ok(()) };
    writeln!(
        text,
        "| by | at {} messages/s, fault | faults | median ms | least, most ms | lost, twice, gaps, errors of messages |\n| --- | --- | --- | --- | --- | --- |",
        first.rate
    )?;
    for Recovery { wire, fault: of, counts, live_after_ms, .. } in recoveries {
        let Counts { sent, lost, duplicates, gaps, errors, .. } = counts;
        let times = match counts.are_sound() {
            true => row_of(&sorted(live_after_ms)),
            false => "not sound |".into(),
        };
        let faults = live_after_ms.len();
        writeln!(
            text,
            "| {wire} | {} | {faults} | {times} | {lost}, {duplicates}, {gaps}, {errors} of {sent} |",
            fault(*of)
        )?;
    }
    writeln!(text)
}

/// What a run came to, in a few words.
pub fn told(run: &Run) -> String {
    let Run { latency, .. } = run;
    match run.per_second {
        None => unsound(&run.counts),
        Some(_) if run.case.is_paced() => {
            format!("p50 {:.2} ms, p99 {:.2} ms", latency.p50 as f64 / 1e6, latency.p99 as f64 / 1e6)
        }
        Some(rate) => format!("{} messages/s", thousands(rate)),
    }
}

/// What a series of faults came to, in a few words.
pub fn recovered(recovery: &Recovery) -> String {
    match recovery.counts.are_sound() {
        true => times(&recovery.live_after_ms),
        false => unsound(&recovery.counts),
    }
}

/// Times in a few words.
pub fn times(ms: &[f64]) -> String {
    let times = sorted(ms);
    let (least, most) = (times.first().unwrap_or(&0.0), times.last().unwrap_or(&0.0));
    format!("median {:.1} ms, {least:.1} to {most:.1} ms", median(&times))
}

/// A start, in words.
pub fn what(what: What) -> &'static str {
    match what {
        What::Bare => "bare: connection, token, two links",
        What::ExistingTopics => "`connect`, topics are there",
        What::EmptyNamespace => "`connect`, nothing is there",
    }
}

/// A fault, in words.
pub fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "all connections are broken",
        Fault::Detach => "all links are detached",
    }
}

impl Row<'_> {
    /// The rates of all runs, ascending; `None` if one was not sound.
    fn rates(&self) -> Option<Vec<f64>> {
        let rates: Vec<f64> = self.runs.iter().map(|run| run.per_second).collect::<Option<_>>()?;
        Some(sorted(&rates))
    }

    /// The median of a field.
    fn of(&self, field: impl Fn(&Run) -> f64) -> f64 {
        let values: Vec<f64> = self.runs.iter().map(|run| field(run)).collect();
        median(&sorted(&values))
    }
}

fn unsound(counts: &Counts) -> String {
    let Counts { lost, duplicates, gaps, errors, .. } = counts;
    format!("{lost} lost, {duplicates} twice, {gaps} gaps, {errors} errors")
}

/// Two cells: the median, and the least and the most.
fn row_of(times: &[f64]) -> String {
    let (least, most) = (times.first().unwrap_or(&0.0), times.last().unwrap_or(&0.0));
    format!("{:.1} | {least:.1}, {most:.1}", median(times))
}

fn thousands(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2} M", rate / 1e6),
        1e4.. => format!("{:.1} k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Of values that ascend.
fn median(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}
