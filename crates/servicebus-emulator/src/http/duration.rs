//! Durations as ISO 8601 writes them: `PT5M`.

use std::{fmt::Write as _, time::Duration};

use crate::namespace::FOREVER;

const DAY: u64 = 24 * 3600;

/// Reads days, hours, minutes and seconds, with as much as seven digits after the point; longer than [`FOREVER`] is
/// [`FOREVER`]. `None`: it is none of that. Years and months have no length, so they are not taken.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (&text[1..], ""),
    };
    let mut rest = days;
    let mut total = Duration::ZERO;
    let mut add = |rest: &mut &str, unit: char, seconds: u64| -> Option<()> {
        let Some((number, after)) = rest.split_once(unit) else { return Some(()) };
        total = total.checked_add(times(number, seconds, unit == 'S')?)?;
        *rest = after;
        Some(())
    };
    add(&mut rest, 'D', DAY)?;
    let mut time = time;
    add(&mut time, 'H', 3600)?;
    add(&mut time, 'M', 60)?;
    add(&mut time, 'S', 1)?;
    (rest.is_empty() && time.is_empty() && text.len() > 2).then_some(total.min(FOREVER))
}

/// Writes it as .NET does.
pub(crate) fn format(duration: Duration) -> String {
    let duration = duration.min(FOREVER);
    let seconds = duration.as_secs();
    let (days, hours, minutes, rest) = (seconds / DAY, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Ticks of 100 ns.
    let fraction = duration.subsec_nanos() / 100;
    let mut text = String::from("P");
    // Writing to a string cannot fail.
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if duration.is_zero() || !seconds.is_multiple_of(DAY) || fraction > 0 {
        text.push('T');
        for (number, unit) in [(hours, 'H'), (minutes, 'M')] {
            if number > 0 {
                let _ = write!(text, "{number}{unit}");
            }
        }
        if fraction > 0 {
            let digits = format!("{fraction:07}");
            let _ = write!(text, "{rest}.{}S", digits.trim_end_matches('0'));
        } else if rest > 0 || duration.is_zero() {
            let _ = write!(text, "{rest}S");
        }
    }
    text
}

fn times(number: &str, seconds: u64, fraction: bool) -> Option<Duration> {
    let (whole, part) = match number.split_once('.') {
        Some((whole, part)) if fraction && !part.is_empty() && part.len() <= 9 => (whole, part),
        Some(_) => return None,
        None => (number, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let nanos = format!("{part:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse::<u64>().ok()?.checked_mul(seconds)?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_written_are_the_same() {
        for text in [
            "PT0S",
            "PT5M",
            "PT1M30S",
            "P14D",
            "P1DT2H",
            "PT0.5S",
            "PT1M0.0000001S",
            "P10675199DT2H48M5.4775807S",
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        assert_eq!(parse("P10675199DT2H48M5.4775807S"), Some(FOREVER));
        assert_eq!(parse("P99999999D"), Some(FOREVER));
        assert_eq!(parse("PT90S"), Some(Duration::from_secs(90)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "5M",
            "P5M",
            "P1Y",
            "PT5",
            "PT-5S",
            "PT1.S",
            "PT1.5M",
            "PTS",
            "PT5S5S",
            "P1DT",
            "PT5SX",
            "PT99999999999999999999S",
            "-PT5S",
            "PT1.0000000001S",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
