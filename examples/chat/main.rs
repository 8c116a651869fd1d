//! A chat on many nodes; `--help` tells the options, the library's `chat` module the protocol.

use std::{error::Error, process::ExitCode};

use clap::Parser;
use scaleout_examples::{
    chat::{Options, Settings, serve},
    nodes::NodeAddress,
    process::{self, Listening, Running},
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    process::main("chat", options.store.log, run(options)).await
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let backplane = options.store.backplane_config().map_err(|e| format!("--backplane: {e}"))?;
    if options.nodes.len() == 1 && !backplane.reaches_other_processes() {
        tracing::warn!("one node over memory: it reaches nobody else; give more than one --node");
    }
    let listening = process::listen(&options.nodes, &backplane, &options.bus_config()).await?;
    let of_this_process = listening.iter().map(|Listening { address, bus, .. }| NodeAddress {
        address: address.to_string(),
        node: Some(bus.node()),
    });
    let elsewhere = options.peers.into_iter().map(|address| NodeAddress { address, node: None });
    let settings = Settings { nodes: of_this_process.chain(elsewhere).collect(), ..Settings::default() };

    let mut running = Running::default();
    for Listening { address, listener, bus } in listening {
        running.serve(address, serve(listener, bus, settings.clone(), running.stopped()));
    }
    running.until_stopped().await
}
