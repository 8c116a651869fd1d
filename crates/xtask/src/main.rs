//! The one door for developers: `cargo xtask test`, `cargo xtask check` and `cargo xtask chaos`.

mod chaos;
mod check;
mod docs;
mod node_packages;
mod scriptdom;
mod servicebus_sdk;
mod setup;
mod steps;
mod tds_client;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::workspace::Workspace;

/// Tests and checks this workspace. CI runs `check` and `test`, and nothing else.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Sets up what the tests need on a fresh machine, and runs all of them.
    ///
    /// Unit, integration and conformance tests, the simulation over its full set of seeds, documentation tests.
    Test(test::Options),
    /// Everything but the tests: format, lints, docs, features, examples, dependencies, fuzz smoke.
    ///
    /// What is not installed (cargo-deny, cargo-fuzz with a nightly toolchain) is skipped, and the last line says so.
    Check(check::Options),
    /// Puts node processes on a store through faults by seed, and judges what their clients saw; see `--help`.
    #[command(disable_help_flag = true)]
    Chaos(chaos::Options),
}

fn main() -> ExitCode {
    let task = Task::parse();
    let outcome = Workspace::load().and_then(|workspace| match task {
        Task::Test(options) => test::run(&workspace, &options),
        Task::Check(options) => check::run(&workspace, &options),
        Task::Chaos(options) => chaos::run(&workspace, &options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error:#}");
            ExitCode::FAILURE
        }
    }
}
