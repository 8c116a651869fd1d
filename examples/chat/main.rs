//! A chat on many nodes; `--help` tells the options, the library's `chat` module the protocol.

use std::{error::Error, io::IsTerminal, process::ExitCode};

use clap::Parser;
use scaleout_examples::{
    chat::{NodeAddress, Options, Settings, serve},
    process::until_stopped,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_max_level(options.log)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let backplane = options.backplane_config().map_err(|e| format!("--backplane: {e}"))?;
    if options.nodes.len() == 1 && !backplane.reaches_other_processes() {
        tracing::warn!("one node over memory: it reaches nobody else; give more than one --node");
    }
    let mut starting = Vec::new();
    let mut nodes = Vec::new();
    for address in &options.nodes {
        let listener =
            TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
        let address = listener.local_addr()?;
        let bus = backplane.bus(options.bus_config())?.connect().await?;
        tracing::info!(%address, node = %bus.node(), "node started");
        nodes.push(NodeAddress { address: address.to_string(), node: Some(bus.node()) });
        starting.push((address, listener, bus));
    }
    nodes.extend(options.peers.into_iter().map(|address| NodeAddress { address, node: None }));

    let stopping = watch::Sender::new(false);
    let mut serving = JoinSet::new();
    for (address, listener, bus) in starting {
        let mut stopped = stopping.subscribe();
        let stop = async move {
            // An error says that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        serving.spawn(serve(listener, bus, Settings { nodes: nodes.clone(), ..Settings::default() }, stop));
        // On stdout, for people to click and for scripts to read.
        println!("listening on http://{address}");
    }

    until_stopped(serving, stopping).await
}
