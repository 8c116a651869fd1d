//! `scaleout bench`: how fast a store is.

use crate::{Global, exit::Exit, output::Output, store::Target};

/// Measure throughput and latency of a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(options: Options, global: &Global, _: &Output) -> anyhow::Result<Exit> {
    options.target.settings(global)?;
    anyhow::bail!("bench is not built in yet")
}
