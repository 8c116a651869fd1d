//! Short chaos runs of fixed seeds on every store, and proof that they can fail.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// What an idle machine does in milliseconds, a busy one does in this time.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nodes_on_redis_lose_nothing_unreported_and_deliver_nothing_twice() {
    scaleout_testkit::needs_redis!();
    expect_good(&["--provider", "redis", "--seed", "3", "--seeds", "3", "--steps", "6"]);
}

#[test]
fn nodes_on_sql_server_lose_nothing_unreported_and_deliver_nothing_twice() {
    expect_good(&["--provider", "sqlserver", "--seed", "1", "--seeds", "2", "--steps", "6"]);
}

#[test]
fn nodes_on_service_bus_lose_nothing_unreported_and_deliver_nothing_twice() {
    expect_good(&["--provider", "servicebus", "--seed", "1", "--seeds", "2", "--steps", "6"]);
}

#[test]
fn a_node_that_keeps_messages_from_its_clients_is_found() {
    let (output, reports) =
        chaos(&["--provider", "sqlserver", "--seed", "1", "--steps", "3", "--swallow", "5"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(figure(&reports[0], "unreported_losses") > 0, "{}", reports[0]);
    let said = said(&output);
    assert!(
        said.contains("cargo xtask chaos --provider sqlserver --seed 1"),
        "no command to repeat it: {said}"
    );
    let folder = reports[0]["folder"].as_str().expect("histories are kept");
    assert!(said.contains(folder), "the folder is not named: {said}");
}

#[test]
fn a_bare_loop_of_publish_and_subscribe_loses_messages_and_says_nothing() {
    scaleout_testkit::needs_redis!();
    let arguments = ["--baseline", "pubsub", "--seed", "4", "--seeds", "2", "--steps", "6"];
    let (output, reports) = chaos(&arguments);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let summary = &reports.last().expect("a summary")["summary"];
    assert!(figure(&summary["sums"], "lost and not reported") > 0, "{summary}");
    assert!(figure(&summary["sums"], "delivered to clients") > 500, "{summary}");
}

#[test]
#[cfg(target_os = "linux")]
fn its_processes_end_with_it_however_it_ends() {
    let folder = TempDir::new().expect("a folder");
    let mut run = command(folder.path(), &["--provider", "sqlserver", "--seed", "1", "--steps", "1000"])
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let children = || -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", run.id())).expect("it runs");
        let children =
            tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        children
            .flat_map(|text| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    };
    let mut started = Vec::new();
    eventually("three nodes run", || {
        started = children();
        started.len() >= 3
    });
    // Whoever is frozen does not see that its input ends.
    let frozen = Command::new("kill").args(["-STOP", &started[0].to_string()]).status().expect("kill");
    assert!(frozen.success());
    run.kill().expect("it runs");
    run.wait().expect("it is gone");
    eventually("all are gone", || started.iter().all(|pid| !is_running(*pid)));
}

/// Runs seeds, and fails unless all of them are good.
fn expect_good(arguments: &[&str]) {
    let (output, reports) = chaos(arguments);
    assert!(output.status.success(), "{}", said(&output));
    let (summary, seeds) = reports.split_last().expect("a summary");
    for seed in seeds {
        assert_eq!(figure(seed, "unreported_losses") + figure(seed, "duplicates"), 0, "{seed}");
        assert!(figure(seed, "delivered") > 100, "{seed}");
    }
    assert_eq!(summary["summary"]["seeds"].as_u64(), u64::try_from(seeds.len()).ok(), "{summary}");
}

/// What it says, and its lines of JSON.
fn chaos(arguments: &[&str]) -> (Output, Vec<Value>) {
    let folder = TempDir::new().expect("a folder");
    let output = command(folder.path(), arguments).output().expect("it starts");
    let lines = String::from_utf8_lossy(&output.stdout);
    let reports = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output, reports)
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scaleout-chaos"));
    command.args(arguments).args(["--json", "--jobs", "2", "--histories"]).arg(folder).stdin(Stdio::null());
    command
}

fn figure(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A process that ended and that nobody has asked for counts as ended.
#[cfg(target_os = "linux")]
fn is_running(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| state != 'Z')
}

#[cfg(target_os = "linux")]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20));
    }
}
