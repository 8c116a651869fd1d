//! From runs to tables.

use std::fmt::Write as _;

use crate::{
    case::{Case, How, Runtime, Which},
    pair::Run,
};

/// The medians of a case.
///
/// Times in µs are of processors, per message.
#[derive(Debug)]
pub struct Row {
    pub case: Case,
    pub name: String,
    /// `None` where a run was not sound.
    pub per_second: Option<f64>,
    /// The slowest and the fastest run.
    pub range: (f64, f64),
    /// Parts of what was sent, of all runs.
    pub lost: f64,
    redis_us: f64,
    publisher_us: f64,
    receiver_us: f64,
    p50_us: f64,
    p99_us: f64,
    confirm_p50_us: f64,
    per_frame: f64,
    load: (f64, f64),
}

/// One row for each case, in the order in which they ran first.
pub fn rows(runs: &[Run]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        if rows.iter().any(|row| row.name == run.name && row.case.size == run.case.size) {
            continue;
        }
        let same: Vec<&Run> =
            runs.iter().filter(|other| other.name == run.name && other.case.size == run.case.size).collect();
        let of = |field: fn(&Run) -> f64| median(same.iter().map(|run| field(run)));
        let rates: Option<Vec<f64>> = same.iter().map(|run| run.per_second).collect();
        let rates = rates.unwrap_or_default();
        let sent: u64 = same.iter().map(|run| run.case.count * run.case.receivers as u64).sum();
        let loads = || same.iter().map(|run| run.load);
        rows.push(Row {
            case: run.case.clone(),
            name: run.name.clone(),
            per_second: (!rates.is_empty()).then(|| median(rates.iter().copied())),
            range: (least(rates.iter().copied()), most(rates.iter().copied())),
            lost: same.iter().map(|run| run.lost).sum::<u64>() as f64 / sent.max(1) as f64,
            redis_us: of(|run| run.redis_us),
            publisher_us: of(|run| run.publisher_us),
            receiver_us: of(|run| run.receiver_us),
            p50_us: of(|run| run.p50_us),
            p99_us: of(|run| run.p99_us),
            confirm_p50_us: of(|run| run.confirm_p50_us),
            per_frame: of(|run| run.per_frame),
            load: (least(loads()), most(loads())),
        });
    }
    rows
}

pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = throughput(&mut text, rows);
    let _ = latency(&mut text, rows);
    let (least, most) = (least(rows.iter().map(|row| row.load.0)), most(rows.iter().map(|row| row.load.1)));
    let _ = writeln!(text, "Load average while it ran: {least:.1} to {most:.1}.");
    text
}

fn throughput(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.case.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let of_size: Vec<&Row> =
            rows.iter().filter(|row| row.case.size == size && row.case.rate == 0).collect();
        if of_size.is_empty() {
            continue;
        }
        writeln!(text, "### {size} bytes\n")?;
        writeln!(
            text,
            "| What | messages/s | slowest, fastest run | × bare pipelines | × best peer | × peer at 64 | Redis µs | publisher µs | receiver µs | messages a frame | lost |"
        )?;
        writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        let bare =
            best(&of_size, |case| case.which == Which::Bare && case.how == How::Pipe && is_plain(case));
        let peer = best(&of_size, |case| is_peer(case) && is_plain(case));
        let peer_64 = best(&of_size, |case| is_peer(case) && case.tasks == 64 && is_plain(case));
        for row in &of_size {
            let times = |of: Option<f64>| match (row.per_second, of) {
                (Some(rate), Some(of)) if row.case.which == Which::Scaleout => format!("{:.1}", rate / of),
                _ => String::new(),
            };
            let rate = row.per_second.map_or("not sound".into(), thousands);
            let per_frame = if row.per_frame > 0.0 { format!("{:.0}", row.per_frame) } else { String::new() };
            let lost = if row.lost > 0.0 { format!("{:.1} %", row.lost * 100.0) } else { "0".into() };
            writeln!(
                text,
                "| {} | {rate} | {}, {} | {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {per_frame} | {lost} |",
                row.name,
                thousands(row.range.0),
                thousands(row.range.1),
                times(bare),
                times(peer),
                times(peer_64),
                row.redis_us,
                row.publisher_us,
                row.receiver_us,
                row.redis_us + row.publisher_us + row.receiver_us * row.case.receivers as f64,
            )?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn latency(text: &mut String, rows: &[Row]) -> std::fmt::Result {
    let paced: Vec<&Row> = rows.iter().filter(|row| row.case.rate > 0).collect();
    if paced.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Latency\n")?;
    writeln!(text, "| What | bytes | p50 µs | × bare | p99 µs | confirmed after, p50 µs | lost |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for row in &paced {
        let is_base = |base: &&&Row| {
            let (base, case) = (&base.case, &row.case);
            base.which == Which::Bare && base.runtime == case.runtime && base.size == case.size
        };
        let times = paced
            .iter()
            .find(is_base)
            .map_or(String::new(), |base| format!("{:.2}", row.p50_us / base.p50_us));
        let Row { name, p50_us, p99_us, confirm_p50_us, lost, .. } = row;
        let size = row.case.size;
        writeln!(
            text,
            "| {name} | {size} | {p50_us:.0} | {times} | {p99_us:.0} | {confirm_p50_us:.0} | {lost} |"
        )?;
    }
    writeln!(text)
}

/// What the peers are compared in: one channel, one receiver, whichever runtime serves them best.
fn is_plain(case: &Case) -> bool {
    case.channels == 1 && case.receivers == 1 && case.rate == 0
}

fn is_peer(case: &Case) -> bool {
    matches!(case.which, Which::SocketioxideRedis | Which::SocketioxideFred)
}

fn best(rows: &[&Row], wanted: impl Fn(&Case) -> bool) -> Option<f64> {
    rows.iter().filter(|row| wanted(&row.case)).filter_map(|row| row.per_second).reduce(f64::max)
}

/// What a plot shows: one channel, one receiver, one runtime.
pub fn is_shown(row: &Row) -> bool {
    is_plain(&row.case) && row.case.runtime == Runtime::Current
}

pub fn thousands(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2} M", rate / 1e6),
        1e3.. => format!("{:.0} k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.reduce(f64::min).unwrap_or(0.0)
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.reduce(f64::max).unwrap_or(0.0)
}
