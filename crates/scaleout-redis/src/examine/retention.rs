//! Whether the server keeps what it is given.

use scaleout_core::Finding;

use crate::{
    config::RedisConfig,
    examine::{Info, one_line},
    group::Group,
    remnants::bytes_text,
};

const SUBJECT: &str = "retention";

/// The share of `maxmemory` from which on it is said to be nearly used up, in percent.
const NEARLY_FULL: u64 = 90;

/// Adds what the server's state means for `groups`, which it holds.
pub(super) fn look(config: &RedisConfig, info: &Info, groups: &[Group], findings: &mut Vec<Finding>) {
    let before = findings.len();
    let maxmemory = info.number("maxmemory").unwrap_or(0);
    let policy = info.field("maxmemory_policy").unwrap_or("noeviction");
    if maxmemory > 0 && policy != "noeviction" {
        findings.push(Finding::warning(
            SUBJECT,
            format!(
                "maxmemory-policy is {:?}: once {} are used, the server drops keys of the app, which is told as a store \
                 that forgot, and costs gaps",
                one_line(policy),
                bytes_text(maxmemory)
            ),
            "`CONFIG SET maxmemory-policy noeviction`, or give the app a server of its own",
        ));
    }
    if maxmemory > 0 {
        findings.extend(memory(config, info, maxmemory, policy, groups));
    }
    if info.field("rdb_last_bgsave_status").is_some_and(|status| status != "ok") {
        findings.push(Finding::warning(
            SUBJECT,
            "the server's last save failed: it refuses frames (MISCONF) until one succeeds, unless it is told otherwise",
            "make room on its disk, or let it write there; its log says what failed. Then `BGSAVE`",
        ));
    }
    if info.field("aof_last_write_status").is_some_and(|status| status != "ok") {
        findings.push(Finding::problem(
            SUBJECT,
            "the server cannot write its append-only file, and refuses frames (MISCONF)",
            "make room on its disk; its log says what failed",
        ));
    }
    let kept = match info.field("aof_enabled") {
        Some("1") => "an append-only file outlives its restart",
        _ => {
            "without an append-only file, its restart may forget the last frames; nodes send them again, as far as their \
              tails reach"
        }
    };
    if findings.len() == before {
        let memory = match maxmemory {
            0 => "memory without a bound".into(),
            maxmemory => format!("{} of memory, none of it evicted", bytes_text(maxmemory)),
        };
        findings.push(Finding::ok(SUBJECT, format!("{memory}; {kept}")));
    } else {
        findings.push(Finding::ok(SUBJECT, kept));
    }
}

/// What is wrong with the memory that is left, if anything is.
fn memory(
    config: &RedisConfig,
    info: &Info,
    maxmemory: u64,
    policy: &str,
    groups: &[Group],
) -> Option<Finding> {
    let used = info.number("used_memory").unwrap_or(0);
    let streams = groups.iter().map(|group| group.lanes.len() as u64).sum::<u64>();
    // The streams of the app, and about a tenth more.
    let needed = (config.max_retained_bytes as u64).saturating_mul(streams).saturating_mul(11) / 10;
    let raise = |to: u64| {
        format!("`CONFIG SET maxmemory {}`, or less max_retained_bytes or streams", bytes_whole(to))
    };
    let (used_text, all) = (bytes_text(used), bytes_text(maxmemory));
    if used >= maxmemory && policy == "noeviction" {
        let what = format!("the server has used {used_text} of {all} (maxmemory), and refuses frames (OOM)");
        return Some(Finding::problem(SUBJECT, what, raise(used.saturating_add(needed))));
    }
    if used / 100 * 100 >= maxmemory / 100 * NEARLY_FULL {
        let what = format!(
            "the server has used {used_text} of {all} (maxmemory): when that is used up, it refuses frames, or drops keys"
        );
        return Some(Finding::warning(SUBJECT, what, raise(used.saturating_add(needed))));
    }
    if needed > maxmemory {
        let what = format!("{streams} streams may take {} here, and maxmemory is {all}", bytes_text(needed));
        return Some(Finding::warning(SUBJECT, what, raise(needed.saturating_add(used))));
    }
    None
}

/// Bytes as a setting of the server: whole MiB, not less.
fn bytes_whole(bytes: u64) -> String {
    format!("{}mb", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use scaleout_core::Severity;

    use super::*;

    fn found(info: &str) -> Vec<Finding> {
        let config: RedisConfig =
            "redis://localhost?app=chat&streams=4&max_retained_bytes=10MiB".parse().unwrap();
        let groups = [Group::new(Arc::new(config.clone()), 0)];
        let mut findings = Vec::new();
        look(&config, &Info(info.into()), &groups, &mut findings);
        findings
    }

    #[test]
    fn what_memory_and_disk_mean_is_told() {
        use Severity::{Ok, Problem, Warning};
        const GIB: &str = "maxmemory:1073741824\r\n";
        for (info, severity, told) in [
            ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1", Ok, "outlives"),
            ("maxmemory:0\r\naof_enabled:0", Ok, "tails"),
            (&format!("{GIB}maxmemory_policy:volatile-lru"), Warning, "volatile-lru"),
            (&format!("{GIB}maxmemory_policy:noeviction\r\nused_memory:1000"), Ok, "none of it evicted"),
            (&format!("{GIB}used_memory:1073741824"), Problem, "refuses frames (OOM)"),
            (&format!("{GIB}used_memory:1020054732"), Warning, "972.8 MiB of 1.0 GiB"),
            ("maxmemory:10485760\r\nused_memory:1000", Warning, "4 streams may take 44.0 MiB"),
            ("rdb_last_bgsave_status:err", Warning, "MISCONF"),
            ("aof_last_write_status:err", Problem, "MISCONF"),
        ] {
            let findings = found(info);
            let worst = findings.iter().max_by_key(|finding| finding.severity).unwrap();
            assert!(worst.severity == severity && worst.what.contains(told), "{info}: {findings:?}");
            assert!(
                findings.iter().all(|finding| finding.fix.is_some() == (finding.severity != Ok)),
                "{findings:?}"
            );
        }
    }
}
