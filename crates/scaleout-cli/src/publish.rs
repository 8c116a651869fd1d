//! `scaleout publish`.

use crate::{Global, exit::Exit, output::Output, store};

/// publish
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(required = true, value_name = "[URL] CHANNEL")]
    words: Vec<String>,
}

pub(crate) async fn run(options: Options, global: &Global, _: &Output) -> anyhow::Result<Exit> {
    let (target, _) = store::target_and_names(options.words)?;
    target.settings(global)?;
    Ok(Exit::Done)
}
