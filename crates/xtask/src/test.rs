//! `cargo xtask test`.

use anyhow::Result;

use crate::{
    node_packages, scriptdom, servicebus_sdk, setup,
    steps::{Shell, Step, run_all},
    tds_client,
    workspace::Workspace,
};

/// Seeds of the simulation in the inner loop; enough to meet every kind of fault, few enough to wait for.
const FAST_SEEDS: u32 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For the inner loop: 100 seeds instead of the full set, no documentation tests, none of the TDS client.
    #[arg(long)]
    fast: bool,
    /// Seeds of the simulation.
    #[arg(long, value_name = "N")]
    seeds: Option<u32>,
    /// Tests only this package; may be given more than once.
    #[arg(long = "package", short, value_name = "NAME")]
    packages: Vec<String>,
    /// For the test binaries, as after `cargo test --`: a filter, `--nocapture`.
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut steps = setup::steps(workspace);
    let tests = servicebus_sdk::with_program(scriptdom::with_program(tests(options), workspace), workspace);
    let tests =
        node_packages::ALL.iter().fold(tests, |tests, packages| packages.with_folder(tests, workspace));
    steps.push(Step::run("tests", tests));
    // They are of no package of this workspace.
    if !options.fast && options.packages.is_empty() && options.args.is_empty() {
        steps.push(tds_client::tests(workspace)?);
    }
    run_all("test", &workspace.root(), steps)
}

fn tests(options: &Options) -> Shell {
    // Plain `cargo test`, so that Rust is all a machine needs; features that tests need are enabled by the members
    // that hold those tests, so that all others see what users get.
    let mut shell = Shell::cargo(["test", "--locked"]);
    if options.packages.is_empty() {
        shell = shell.args(["--workspace"]);
    }
    for package in &options.packages {
        shell = shell.args(["--package", package]);
    }
    if options.fast {
        shell = shell.args(["--tests"]);
    }
    if !options.args.is_empty() {
        shell = shell.args(["--"]).args(&options.args);
    }
    match options.seeds.or(options.fast.then_some(FAST_SEEDS)) {
        Some(seeds) => shell.env("SCALEOUT_TEST_SEEDS", seeds.to_string()),
        None => shell,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn of(line: &str) -> String {
        tests(&Line::parse_from(line.split_whitespace()).options).to_string()
    }

    #[test]
    fn all_tests_run_unless_told_otherwise() {
        assert_eq!(of("test"), "cargo test --locked --workspace");
    }

    #[test]
    fn the_inner_loop_can_be_narrowed() {
        assert_eq!(
            of("test --fast -p scaleout-core -- queue"),
            "SCALEOUT_TEST_SEEDS=100 cargo test --locked --package scaleout-core --tests -- queue"
        );
        assert_eq!(of("test --seeds 9"), "SCALEOUT_TEST_SEEDS=9 cargo test --locked --workspace");
    }
}
