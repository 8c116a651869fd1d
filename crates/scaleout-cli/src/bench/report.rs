//! From runs to lines of JSON, and to tables.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{case::Case, run::Run, tally::histogram};

/// What all runs of one size came to: a line of JSON.
///
/// Speeds are medians of the runs, and `None` where a run was not sound; percentiles are of the messages of all runs.
/// The README of the crate describes the fields.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    pub(super) store: &'static str,
    pub(super) size: usize,
    pub(super) mode: &'static str,
    pub(super) in_flight: Option<u64>,
    pub(super) rate: Option<u64>,
    pub(super) seconds: u32,
    pub(super) runs: usize,
    pub(super) nodes: usize,
    pub(super) channels: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// What the baseline is, in words.
    pub(super) baseline: Option<String>,
    pub(super) baseline_msgs_per_s: Option<f64>,
    pub(super) baseline_p50_us: Option<f64>,
    pub(super) baseline_p99_us: Option<f64>,
    pub(super) baseline_cpu_us_per_msg: Option<Cpu>,
    pub(super) baseline_lost: Option<u64>,
    /// Of messages a second.
    pub(super) ratio: Option<f64>,
    /// Of the median latencies.
    pub(super) p50_ratio: Option<f64>,
    pub(super) load_average: Option<f64>,
    #[serde(skip)]
    pub(super) baseline_figures: Option<Figures>,
}

/// The figures of one carrier.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    #[serde(skip)]
    pub(super) what: String,
    pub(super) sound: bool,
    pub(super) msgs_per_s: Option<f64>,
    pub(super) msgs_per_s_min: Option<f64>,
    pub(super) msgs_per_s_max: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p90_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
    pub(super) p999_us: Option<f64>,
    pub(super) max_us: Option<f64>,
    pub(super) confirm_p50_us: Option<f64>,
    pub(super) confirm_p99_us: Option<f64>,
    pub(super) cpu_us_per_msg: Cpu,
    pub(super) msgs_per_frame: Option<f64>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) gaps: u64,
    pub(super) errors: u64,
    /// The first gap or error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<String>,
}

/// Processor time per message, in µs, of each process; `None` where it is not known.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cpu {
    pub(super) publisher: Option<f64>,
    /// Each per message that it received.
    pub(super) receivers: Vec<Option<f64>>,
    /// Of a Redis server, whatever else it did meanwhile.
    pub(super) store: Option<f64>,
}

impl Figures {
    pub(super) fn of(case: &Case, runs: &[Run]) -> Self {
        let sound = !runs.is_empty() && runs.iter().all(Run::is_sound);
        let rates = || runs.iter().map(|run| run.per_second);
        let only_sound = |figure: Option<f64>| figure.filter(|_| sound).map(rounded);
        let latencies = merged(runs.iter().map(|run| &run.latencies));
        let confirms = merged(runs.iter().map(|run| &run.confirms));
        let at =
            |of: &Histogram<u64>, part| only_sound((!of.is_empty()).then(|| us(of.value_at_quantile(part))));
        let total = |of: fn(&Run) -> u64| runs.iter().map(of).sum::<u64>();
        let cpu = |of: &dyn Fn(&Run) -> Option<f64>| median(runs.iter().filter_map(of)).map(rounded);
        Self {
            what: case.to_string(),
            sound,
            msgs_per_s: only_sound(median(rates())),
            msgs_per_s_min: only_sound(rates().reduce(f64::min)),
            msgs_per_s_max: only_sound(rates().reduce(f64::max)),
            p50_us: at(&latencies, 0.5),
            p90_us: at(&latencies, 0.9),
            p99_us: at(&latencies, 0.99),
            p999_us: at(&latencies, 0.999),
            max_us: at(&latencies, 1.0),
            confirm_p50_us: at(&confirms, 0.5),
            confirm_p99_us: at(&confirms, 0.99),
            cpu_us_per_msg: Cpu {
                publisher: cpu(&|run| run.publisher_us),
                receivers: (0..case.nodes)
                    .map(|index| cpu(&|run| run.receivers_us.get(index).copied().flatten()))
                    .collect(),
                store: cpu(&|run| run.store_us),
            },
            msgs_per_frame: cpu(&|run| run.per_frame),
            sent: total(|run| run.sent),
            received: total(|run| run.received),
            lost: total(|run| run.lost),
            duplicates: total(|run| run.duplicates),
            reordered: total(|run| run.reordered),
            gaps: total(|run| run.gaps),
            errors: total(|run| run.errors),
            trouble: runs.iter().find_map(|run| run.trouble.clone()),
        }
    }

    /// What went wrong, in one line.
    pub(super) fn wrong(&self) -> Option<String> {
        if self.sound {
            return None;
        }
        let counts = [
            (self.lost, "lost"),
            (self.duplicates, "came twice"),
            (self.reordered, "out of order"),
            (self.gaps, "gaps told"),
            (self.errors, "not published"),
        ];
        let told: Vec<_> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let told = if told.is_empty() { "nothing was published".to_owned() } else { told.join(", ") };
        let trouble = self.trouble.as_ref().map_or(String::new(), |trouble| format!(" (first: {trouble})"));
        Some(format!("{told}, of {} messages{trouble}", self.sent))
    }

    fn cells(&self, size: usize, ratio: Option<f64>) -> [String; 12] {
        let number = |of: Option<f64>, digits| of.map_or("-".into(), |of| format!("{of:.digits$}"));
        let time = |of: Option<f64>| number(of, if of.is_some_and(|of| of < 9.95) { 1 } else { 0 });
        let receivers = median(self.cpu_us_per_msg.receivers.iter().copied().flatten());
        [
            size.to_string(),
            self.what.clone(),
            self.msgs_per_s.map_or("not sound".into(), speed),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            time(self.p50_us),
            time(self.p90_us),
            time(self.p99_us),
            time(self.p999_us),
            number(self.cpu_us_per_msg.publisher, 2),
            number(receivers, 2),
            number(self.cpu_us_per_msg.store, 2),
            self.msgs_per_frame.map_or("-".into(), |of| format!("{of:.0}")),
        ]
    }
}

const HEADS: [&str; 12] = [
    "bytes",
    "what",
    "messages/s",
    "×",
    "p50 µs",
    "p90",
    "p99",
    "p99.9",
    "publisher",
    "receiver",
    "store",
    "a frame",
];

/// A table of these lines, for people.
pub(super) fn table(lines: &[Line]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned)];
    for line in lines {
        rows.push(line.figures.cells(line.size, line.shown_ratio()));
        rows.extend(line.baseline_figures.as_ref().map(|of| of.cells(line.size, None)));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text.push_str("publisher, receiver, store: µs of a processor per message; a frame: messages in one");
    if lines.iter().any(|line| line.baseline.is_some()) {
        let of = if lines.iter().any(|line| line.rate.is_some()) { "median latencies" } else { "messages/s" };
        text.push_str(&format!("; ×: of {of}, to the baseline below"));
    }
    text
}

impl Line {
    /// The ratio that matters: of latencies where the rate is given.
    pub(super) fn shown_ratio(&self) -> Option<f64> {
        if self.rate.is_some() { self.p50_ratio } else { self.ratio }
    }
}

/// A speed, for people.
pub(super) fn speed(per_second: f64) -> String {
    match per_second {
        1e6.. => format!("{:.2} M", per_second / 1e6),
        1e4.. => format!("{:.0} k", per_second / 1e3),
        1e3.. => format!("{:.2} k", per_second / 1e3),
        _ => format!("{per_second:.0}"),
    }
}

/// What of two figures is how often the other.
pub(super) fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    of.zip(to).filter(|(_, to)| *to > 0.0).map(|(of, to)| rounded(of / to))
}

fn merged<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut whole = histogram();
    for part in parts {
        whole.add(part).expect("they have the same bounds");
    }
    whole
}

fn us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// Three digits behind the point: more is noise.
fn rounded(of: f64) -> f64 {
    (of * 1e3).round() / 1e3
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[odd / 2]),
        even => Some((values[even / 2 - 1] + values[even / 2]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_number_lies_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
    }

    #[test]
    fn speeds_are_short() {
        assert_eq!([3_441_000.0, 891_200.0, 1_653.0, 12.3].map(speed), ["3.44 M", "891 k", "1.65 k", "12"]);
    }
}
