//! `scaleout clean`.

use crate::{Global, exit::Exit, output::Output, store::Target};

/// clean
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(options: Options, global: &Global, _: &Output) -> anyhow::Result<Exit> {
    options.target.settings(global)?;
    Ok(Exit::Done)
}
