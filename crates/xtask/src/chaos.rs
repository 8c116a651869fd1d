//! `cargo xtask chaos`.

use anyhow::{Context as _, Result};

use crate::{steps::Shell, workspace::Workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What the run itself takes: `--help` tells.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let run = Shell::cargo(["run", "--release", "--locked", "--package", "scaleout-chaos", "--"])
        .args(&options.args);
    run.run(&workspace.root()).context("the chaos run failed")
}
