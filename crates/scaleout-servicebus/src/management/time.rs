//! Durations and points in time as Service Bus writes them.
//!
//! Source: ISO 8601, and "XmlConvert.ToString" in the documentation of .NET, which the service is made with.

use std::time::Duration;

/// A duration as `P7DT1H2M3.5S`.
pub(crate) fn iso8601(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes, seconds) =
        (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // The service counts in steps of 100 ns.
    let fraction = duration.subsec_nanos() / 100;
    let mut text = String::from("P");
    if days > 0 {
        text.push_str(&format!("{days}D"));
    }
    let mut time = String::new();
    for (number, unit) in [(hours, 'H'), (minutes, 'M')] {
        if number > 0 {
            time.push_str(&format!("{number}{unit}"));
        }
    }
    if fraction > 0 {
        let fraction = format!("{fraction:07}");
        time.push_str(&format!("{seconds}.{}S", fraction.trim_end_matches('0')));
    } else if seconds > 0 || days == 0 && time.is_empty() {
        time.push_str(&format!("{seconds}S"));
    }
    if !time.is_empty() {
        text.push('T');
        text.push_str(&time);
    }
    text
}

/// Reads `P10675199DT2H48M5.4775807S` and its shorter forms; years and months, which have no length, are refused.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        // A `T` is followed by something.
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None if rest.is_empty() => return None,
        None => (rest, ""),
    };
    let mut total = Duration::ZERO;
    if !date.is_empty() {
        let days: u64 = whole(date.strip_suffix('D')?)?;
        total = Duration::from_secs(days.checked_mul(86_400)?);
    }
    let mut rest = time;
    for (unit, length) in [('H', 3_600), ('M', 60)] {
        if let Some((number, after)) = rest.split_once(unit) {
            total = total.checked_add(Duration::from_secs(whole(number)?.checked_mul(length)?))?;
            rest = after;
        }
    }
    if !rest.is_empty() {
        let (seconds, nanoseconds) = with_fraction(rest.strip_suffix('S')?)?;
        total = total.checked_add(Duration::new(seconds, nanoseconds))?;
    }
    Some(total)
}

/// Reads `2026-11-21T21:39:27.1234567Z` as microseconds since 1970; what is below one is cut off.
///
/// A time before 2010, when the service began, is one that is not known: it is written as the year 1.
pub(super) fn micros_since_1970(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    let mut time = time.split(':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let last = time.next()?;
    let (second, nanoseconds) = with_fraction(last)?;
    let is_date = date.next().is_none() && (2010..=9999).contains(&year) && (1..=12).contains(&month);
    let is_time = time.next().is_none() && hour < 24 && minute < 60 && second < 60;
    if !is_date
        || !is_time
        || day < 1
        || day > days_of(year, month)
        || last.find('.').unwrap_or(last.len()) != 2
    {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
        + (1..month).map(|month| days_of(year, month)).sum::<u64>()
        + day
        - 1;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + u64::from(nanoseconds) / 1_000)
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds and nanoseconds of `5.4775807` or `5`, with up to nine digits behind the point.
fn with_fraction(text: &str) -> Option<(u64, u32)> {
    let Some((seconds, fraction)) = text.split_once('.') else { return Some((whole(text)?, 0)) };
    if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((whole(seconds)?, format!("{fraction:0<9}").parse().ok()?))
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count).then(|| whole(text))?
}

/// A number of digits alone: `parse` takes a sign.
fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_written_as_the_service_does() {
        for (millis, text) in [
            (0, "PT0S"),
            (5_000, "PT5S"),
            (300_000, "PT5M"),
            (3_600_000, "PT1H"),
            (86_400_000, "P1D"),
            (90_061_500, "P1DT1H1M1.5S"),
            (604_800_000, "P7D"),
            (250, "PT0.25S"),
        ] {
            assert_eq!(iso8601(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(
            duration("P10675199DT2H48M5.4775807S"),
            Some(Duration::new(10_675_199 * 86_400 + 2 * 3_600 + 48 * 60 + 5, 477_580_700))
        );
        assert_eq!(duration("PT90M"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration("P1D"), Some(Duration::from_secs(86_400)));
        for text in [
            "",
            "P",
            "PT",
            "1D",
            "P1Y",
            "P1M",
            "PT1",
            "PT1X",
            "PT-1S",
            "P-1D",
            "PT1.S",
            "PT.5.5S",
            "PT1S1M",
            "PTS",
            "P99999999999999999999D",
            "P999999999999999999D",
            "PT1.0000000001S",
            "P1DT",
        ] {
            // A unit without a number is taken for none by no branch.
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_to_the_microsecond() {
        for (text, micros) in [
            ("2026-11-21T21:39:27.1234567Z", 1_795_297_167_123_456),
            ("2026-11-21T21:39:27Z", 1_795_297_167_000_000),
            ("2024-02-29T23:59:59.9Z", 1_709_251_199_900_000),
            ("2010-01-01T00:00:00Z", 1_262_304_000_000_000),
            ("9999-12-31T23:59:59.9999999Z", 253_402_300_799_999_999),
        ] {
            assert_eq!(micros_since_1970(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "0001-01-01T00:00:00",
            "0001-01-01T00:00:00Z",
            "2009-12-31T23:59:59Z",
            "2026-11-21T21:39:27",
            "2026-11-21 21:39:27Z",
            "2026-11-21T21:39:27+00:00",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-1-01T00:00:00Z",
            "2026-01-01T0:00:00Z",
            "2026-01-01T00:00:0Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.0000000001Z",
            "2026-01-01T00:00Z",
            "2026-01-01-01T00:00:00Z",
            "2026-01-01T00:00:00:00Z",
            "10000-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:+1Z",
            "２０２６-01-01T00:00:00Z",
        ] {
            assert_eq!(micros_since_1970(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[PDTHMSZ0-9.:+-]{0,30}") {
            let _ = (duration(&text), micros_since_1970(&text));
        }

        #[test]
        fn a_duration_is_read_as_it_was_written(steps in 0..u64::MAX / 200) {
            let written = Duration::from_secs(steps / 10_000_000)
                + Duration::from_nanos(steps % 10_000_000 * 100);
            prop_assert_eq!(duration(&iso8601(written)), Some(written));
        }
    }
}
