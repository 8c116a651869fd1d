//! `scaleout completions`: what a shell needs to complete commands and options.

use std::io::{Write, stdout};

use clap_complete::Shell;

use crate::{exit::Exit, output::Output};

/// Print the completions of a shell, to be read by it at its start.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  scaleout completions bash > ~/.local/share/bash-completion/completions/scaleout"
)]
pub(crate) struct Options {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(options: Options, output: &Output, mut command: clap::Command) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "scaleout", &mut script);
    let script = String::from_utf8(script)?;
    if output.is_json() {
        output.json(&serde_json::json!({ "shell": options.shell.to_string(), "script": script }))?;
    } else {
        stdout().write_all(script.as_bytes())?;
    }
    Ok(Exit::Done)
}
