//! Every statement through Microsoft's own parser of T-SQL, ScriptDom, which is in the program `maxdop`.
//!
//! It knows the grammar and nothing else: no tables, no variables, and not what stands in a text that is run.

use std::{
    env, fs,
    io::{ErrorKind, Write as _, stderr},
    path::Path,
    process::{Command, Output, Stdio},
};

use super::{every_batch, target};

/// Where the program is; `maxdop` of the search path where it is not set.
const PROGRAM: &str = "SCALEOUT_TEST_MAXDOP";

/// The oldest server that this backplane is for, and the newest that the parser knows well.
const VERSIONS: [&str; 2] = ["2016", "2022"];

#[test]
fn every_statement_is_t_sql() {
    if !is_there("every_statement_is_t_sql") {
        return;
    }
    for (schema, principal) in [("scaleout", "somebody"), ("odd ]na'me $(app_text)", "it's [me]")] {
        for (name, text) in every_batch(&target(schema, "chat", 2), principal) {
            for version in VERSIONS {
                let output = parse(version, &text);
                assert!(output.status.success(), "{name}, {version}: {}\n{text}", said(&output));
            }
        }
    }
}

#[test]
fn what_is_not_t_sql_is_found() {
    if !is_there("what_is_not_t_sql_is_found") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let output = parse(VERSIONS[0], &text);
        assert_eq!(output.status.code(), Some(1), "{} was let through: {}", path.display(), said(&output));
        count += 1;
    }
    assert!(count > 0, "there is nothing that must be refused");
}

/// # Panics
/// Where it is not, and `SCALEOUT_TEST_REQUIRE` demands it.
fn is_there(test: &str) -> bool {
    match Command::new(program()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Past the test harness, which would keep it to itself.
            let _ = writeln!(stderr(), "SKIPPED: {test} needs `maxdop`, which `cargo xtask test` sets up");
            let required = env::var("SCALEOUT_TEST_REQUIRE").unwrap_or_default();
            let is_required = required.split(',').any(|name| matches!(name.trim(), "all" | "scriptdom"));
            assert!(
                !is_required,
                "{test} was skipped for want of maxdop, and SCALEOUT_TEST_REQUIRE demands it"
            );
            false
        }
        Err(error) => panic!("cannot start {}: {error}", program()),
    }
}

fn parse(version: &str, text: &str) -> Output {
    let mut process = Command::new(program())
        .args(["--parser-version", version])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    // It may leave before it has read all; its answer is in its status.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    process.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}, {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

fn program() -> String {
    env::var(PROGRAM).unwrap_or_else(|_| "maxdop".into())
}
