//! How far the server's clock is from this machine's.

use std::time::{Duration, Instant, SystemTime};

use redis::RedisError;
use scaleout_core::{Error, ErrorKind, Finding};

use crate::{examine::if_permitted, link::Link};

/// What nobody notices.
const TOLERANCE: Duration = Duration::from_secs(1);

const FIX: &str = "keep both clocks right by NTP: `timedatectl set-ntp true`, or chronyd";

/// What the clocks say; `None` where the user may not ask.
pub(super) async fn look(link: &Link) -> Result<Option<Finding>, Error> {
    let failed = |error: RedisError| {
        Error::new(ErrorKind::Unavailable, "asking Redis for the time").with_source(error)
    };
    // An answer that was long under way says little: the best of a few.
    let mut best = None::<(Duration, Duration, Duration)>;
    for _ in 0..3 {
        let (begun, ours) = (Instant::now(), since_1970());
        let answers = link.run(redis::pipe().cmd("TIME")).await.map_err(failed)?;
        let round_trip = begun.elapsed();
        let answer = answers.into_iter().next().unwrap_or(redis::Value::Nil);
        let Some(answer) = if_permitted(answer).map_err(failed)? else { return Ok(None) };
        let (seconds, micros): (u64, u64) =
            redis::from_redis_value(answer).map_err(|error| failed(error.into()))?;
        let theirs = Duration::from_secs(seconds) + Duration::from_micros(micros);
        if best.is_none_or(|(least, ..)| round_trip < least) {
            best = Some((round_trip, ours + round_trip / 2, theirs));
        }
    }
    Ok(best.map(|(round_trip, ours, theirs)| finding(ours, theirs, round_trip)))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What it means that the server's clock says `theirs` when this machine's says `ours`, give or take half a `round_trip`.
fn finding(ours: Duration, theirs: Duration, round_trip: Duration) -> Finding {
    let apart = ours.abs_diff(theirs);
    if apart <= TOLERANCE + round_trip / 2 {
        let millis = apart.as_millis();
        return Finding::ok(
            "clock",
            format!("the server's clock is within {} ms of this machine's", millis.max(1)),
        );
    }
    let direction = if theirs > ours { "ahead of" } else { "behind" };
    let what = format!(
        "the server's clock is {:.1} s {direction} this machine's: nothing is lost by it, since no node's clock has a \
         part in order or ids, but latencies that nodes tell are wrong by it; a server's clock that is set back, and \
         a flush at the same time, may repeat ids",
        apart.as_secs_f64()
    );
    Finding::warning("clock", what, FIX)
}

#[cfg(test)]
mod tests {
    use scaleout_core::Severity;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    #[test]
    fn a_second_is_nothing_and_more_is_told_with_its_direction() {
        let (second, short) = (Duration::from_secs(1), Duration::from_millis(2));
        for theirs in [NOW, NOW + second, NOW - second] {
            assert_eq!(finding(NOW, theirs, short).severity, Severity::Ok, "{theirs:?}");
        }
        for (theirs, told) in [(NOW + 3 * second, "3.0 s ahead of"), (NOW - 90 * second, "90.0 s behind")] {
            let finding = finding(NOW, theirs, short);
            assert_eq!(finding.severity, Severity::Warning);
            assert!(finding.what.contains(told) && finding.fix.is_some(), "{finding}");
        }
    }

    #[test]
    fn what_a_slow_link_hides_is_not_told() {
        let theirs = NOW + Duration::from_millis(1_400);
        assert_eq!(finding(NOW, theirs, Duration::from_secs(1)).severity, Severity::Ok);
        assert_eq!(finding(NOW, theirs, Duration::from_millis(10)).severity, Severity::Warning);
    }
}
