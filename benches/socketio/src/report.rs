//! From runs to tables.

use std::fmt::{self, Write as _};

use crate::{
    case::{Case, What, Which},
    frozen::{Frozen, Question},
    pair::Pair,
    restart::{Part, Restart},
    suite::{Outcome, Run},
};

pub fn markdown(runs: &[Run]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = speed(&mut text, &Row::all(runs));
    let _ = latency(&mut text, &Row::all(runs));
    let _ = restarts(&mut text, runs);
    let _ = frozen(&mut text, runs);
    for run in runs {
        if let Outcome::Failed(why) = &run.result {
            let _ = writeln!(text, "Failed: {}: {why}\n", run.name);
        }
    }
    text
}

/// The medians of a case with two nodes.
struct Row {
    which: Which,
    what: What,
    /// Of the sound runs; `None` where there is none.
    per_second: Option<f64>,
    /// How many runs were sound, and how many there are.
    sound: (usize, usize),
    /// The slowest and the fastest sound run.
    range: (f64, f64),
    emitted: u64,
    lost: u64,
    gaps: u64,
    duplicates: u64,
    reordered: u64,
    errors: u64,
    first_error: Option<String>,
    redis_us: f64,
    a_us: f64,
    b_us: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Row {
    /// One for each case, in the order in which they ran first.
    fn all(runs: &[Run]) -> Vec<Self> {
        let pair = |run: &Run| match &run.result {
            Outcome::Pair(pair) => Some(pair.clone()),
            _ => None,
        };
        by_case(runs, pair).into_iter().map(|(case, pairs)| Self::of(case, &pairs)).collect()
    }

    fn of(case: &Case, pairs: &[Pair]) -> Self {
        let middle = |field: fn(&Pair) -> f64| median(pairs.iter().map(field));
        let total = |field: fn(&Pair) -> u64| pairs.iter().map(field).sum();
        let rates: Vec<f64> = pairs.iter().filter_map(|pair| pair.per_second).collect();
        let most = |field: fn(&Pair) -> f64| pairs.iter().map(field).fold(0.0, f64::max);
        Self {
            which: case.which,
            what: case.what,
            per_second: (!rates.is_empty()).then(|| median(rates.iter().copied())),
            sound: (rates.len(), pairs.len()),
            range: (
                rates.iter().copied().fold(f64::INFINITY, f64::min),
                rates.iter().copied().fold(0.0, f64::max),
            ),
            emitted: total(|pair| pair.emitted),
            lost: total(|pair| pair.lost),
            gaps: total(|pair| pair.gaps),
            duplicates: total(|pair| pair.duplicates),
            reordered: total(|pair| pair.reordered),
            errors: total(|pair| pair.errors),
            first_error: pairs.iter().find_map(|pair| pair.first_error.clone()),
            redis_us: middle(|pair| pair.redis_us),
            a_us: middle(|pair| pair.a_us),
            b_us: middle(|pair| pair.b_us),
            p50_us: middle(|pair| pair.p50_us),
            p99_us: middle(|pair| pair.p99_us),
            max_us: most(|pair| pair.max_us),
        }
    }

    fn all_us(&self) -> f64 {
        self.redis_us + self.a_us + self.b_us
    }

    /// What went wrong: `0`, or how much of what.
    fn lost(&self) -> String {
        let part = |count: u64| format!("{:.2} %", count as f64 * 100.0 / self.emitted.max(1) as f64);
        let mut parts = vec![if self.lost > 0 { part(self.lost) } else { "0".into() }];
        if self.gaps > 0 {
            parts.push(format!("{} gaps told", self.gaps));
        }
        if self.duplicates > 0 {
            parts.push(format!("{} twice", part(self.duplicates)));
        }
        if self.errors > 0 {
            let error = self.first_error.as_deref().unwrap_or_default();
            parts.push(format!("{} refused ({error})", part(self.errors)));
        }
        parts.join(", ")
    }
}

fn speed(text: &mut String, rows: &[Row]) -> fmt::Result {
    let mut sizes: Vec<usize> = rows.iter().filter_map(|row| size_of(row.what)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let rows: Vec<&Row> = rows.iter().filter(|row| size_of(row.what) == Some(size)).collect();
        let peers = || rows.iter().filter(|row| row.which.is_peer() && row.per_second.is_some());
        let fastest = peers().filter_map(|row| row.per_second).reduce(f64::max);
        let least_us = peers().map(|row| row.all_us()).reduce(f64::min);
        writeln!(text, "### {size} bytes\n")?;
        writeln!(
            text,
            "| What | under way | messages/s | slowest, fastest run | × better peer | Redis µs | A µs | B µs | all µs | × better peer's | lost | reordered |"
        )?;
        writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
        for row in &rows {
            let ours = |times: Option<f64>| match times {
                Some(times) if !row.which.is_peer() => format!("{times:.1}"),
                _ => String::new(),
            };
            let times = row.per_second.zip(fastest).map(|(rate, of)| rate / of);
            let cheaper = least_us.map(|of| of / row.all_us());
            let rate = match (row.per_second, row.sound) {
                (None, _) => "never sound".into(),
                (Some(rate), (sound, runs)) if sound < runs => {
                    format!("{}, in {sound} of {runs} runs", thousands(rate))
                }
                (Some(rate), _) => thousands(rate),
            };
            let range = match row.per_second {
                Some(_) => format!("{}, {}", thousands(row.range.0), thousands(row.range.1)),
                None => String::new(),
            };
            let What::Speed { under_way, .. } = row.what else { continue };
            writeln!(
                text,
                "| {} | {under_way} | {rate} | {range} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {} |",
                row.which,
                ours(times),
                row.redis_us,
                row.a_us,
                row.b_us,
                row.all_us(),
                ours(cheaper),
                row.lost(),
                row.reordered,
            )?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn size_of(what: What) -> Option<usize> {
    match what {
        What::Speed { size, .. } => Some(size),
        _ => None,
    }
}

fn latency(text: &mut String, rows: &[Row]) -> fmt::Result {
    let paced = |row: &&Row| matches!(row.what, What::Latency { .. });
    if !rows.iter().any(|row| paced(&row)) {
        return Ok(());
    }
    writeln!(text, "### Latency\n")?;
    writeln!(text, "| What | p50 µs | p99 µs | longest µs | all µs of processors | lost |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- |")?;
    for row in rows.iter().filter(paced) {
        let Row { which, p50_us, p99_us, max_us, .. } = row;
        let (all_us, lost) = (row.all_us(), row.lost());
        writeln!(text, "| {which} | {p50_us:.0} | {p99_us:.0} | {max_us:.0} | {all_us:.0} | {lost} |")?;
    }
    writeln!(text)
}

fn restarts(text: &mut String, runs: &[Run]) -> fmt::Result {
    let restart = |run: &Run| match &run.result {
        Outcome::Restart(restart) => Some(restart.clone()),
        _ => None,
    };
    let rows = by_case(runs, restart);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "### Restart of the server\n")?;
    writeln!(
        text,
        "| What | down: A's own socket got | of that later on B | `emit` said | back: A's own | B | `emit` said | live again, ms | first error |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for (case, restarts) in rows {
        let sum = |of: fn(&Restart) -> &Part| restarts.iter().map(of).fold(Part::default(), add);
        let (down, back) = (sum(|restart| &restart.down), sum(|restart| &restart.back));
        let soon = median(restarts.iter().filter_map(|restart| restart.down.local_ms));
        let local = match down.local {
            0 => format!("0 of {}", down.emitted),
            local => format!("{local} of {}, after {soon:.1} ms", down.emitted),
        };
        let live: Vec<f64> = restarts.iter().filter_map(|restart| restart.live_ms).collect();
        let never = restarts.len() - live.len();
        let live = match (live.len(), never) {
            (0, _) => "never".into(),
            (_, 0) => format!("{:.0}", median(live)),
            (some, never) => format!("{:.0}, never in {never} of {}", median(live), some + never),
        };
        let error = restarts.iter().find_map(|restart| restart.first_error.clone()).unwrap_or_default();
        writeln!(
            text,
            "| {} | {local} | {} | {} | {} of {} | {} | {} | {live} | {error} |",
            case.which,
            remote(&down),
            said(&down),
            back.local,
            back.emitted,
            remote(&back),
            said(&back),
        )?;
    }
    writeln!(text)
}

fn add(sum: Part, of: &Part) -> Part {
    Part {
        emitted: sum.emitted + of.emitted,
        ok: sum.ok + of.ok,
        errors: sum.errors + of.errors,
        hang: sum.hang + of.hang,
        local: sum.local + of.local,
        local_ms: None,
        remote: sum.remote + of.remote,
        remote_duplicates: sum.remote_duplicates + of.remote_duplicates,
        remote_reordered: sum.remote_reordered + of.remote_reordered,
    }
}

fn remote(part: &Part) -> String {
    let mut text = format!("{} of {}", part.remote, part.emitted);
    for (count, what) in [(part.remote_duplicates, "twice"), (part.remote_reordered, "reordered")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn said(part: &Part) -> String {
    let words = [(part.ok, "ok"), (part.errors, "errors"), (part.hang, "hang")];
    let words: Vec<_> =
        words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    words.join(", ")
}

fn frozen(text: &mut String, runs: &[Run]) -> fmt::Result {
    let frozen = |run: &Run| match &run.result {
        Outcome::Frozen(frozen) => Some(frozen.clone()),
        _ => None,
    };
    let rows = by_case(runs, frozen);
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(text, "### A frozen node\n")?;
    writeln!(
        text,
        "| What | healthy, ms | sockets | frozen: first answer, ms | what it is | last question, s after | ms | what it is |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for (case, frozens) in rows {
        let first: Vec<_> = frozens.iter().filter_map(|frozen| frozen.questions.first()).collect();
        let last: Vec<_> = frozens.iter().filter_map(|frozen| frozen.questions.last()).collect();
        let ms = |questions: &[&Question]| median(questions.iter().map(|question| question.fetched.ms));
        let least = frozens.iter().map(|frozen| frozen.healthy_sockets).min().unwrap_or(0);
        writeln!(
            text,
            "| {} | {:.2} | {least} | {:.1} | {} | {:.1} | {:.1} | {} |",
            case.which,
            median(frozens.iter().map(|frozen: &Frozen| frozen.healthy_ms)),
            ms(&first),
            kinds(&first),
            median(last.iter().map(|question| question.at_ms / 1e3)),
            ms(&last),
            kinds(&last),
        )?;
    }
    writeln!(text)
}

/// The different kinds of answers.
fn kinds(questions: &[&Question]) -> String {
    let kind = |question: &&Question| match (&question.fetched.error, question.fetched.sockets) {
        (Some(error), _) => format!("error: {}", without_ids(error)),
        (None, Some(sockets)) => format!("{sockets} sockets, no error"),
        (None, None) => "nothing".into(),
    };
    let mut kinds: Vec<String> = questions.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join("; ")
}

/// The ids of nodes differ from run to run.
fn without_ids(error: &str) -> String {
    let is_id = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = error.split(' ').map(|word| match is_id(word.trim_end_matches(':')) {
        true => "…",
        false => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What runs came to by case, in the order in which cases ran first.
fn by_case<T>(runs: &[Run], of: impl Fn(&Run) -> Option<T>) -> Vec<(&Case, Vec<T>)> {
    let mut rows: Vec<(&Case, Vec<T>)> = Vec::new();
    for run in runs {
        let Some(result) = of(run) else { continue };
        match rows.iter_mut().find(|(case, _)| **case == run.case) {
            Some((_, results)) => results.push(result),
            None => rows.push((&run.case, vec![result])),
        }
    }
    rows
}

fn thousands(rate: f64) -> String {
    match rate {
        1e6.. => format!("{:.2} M", rate / 1e6),
        1e3.. => format!("{:.1} k", rate / 1e3),
        _ => format!("{rate:.0}"),
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}
