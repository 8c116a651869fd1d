//! A chat by Socket.IO on many nodes; `--help` tells the options, the library's `socketio` module the events.

use std::{error::Error, io::IsTerminal, process::ExitCode, time::Duration};

use clap::Parser;
use scaleout_examples::{
    process::until_stopped,
    socketio::{Options, Settings, serve},
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
            eprintln!("socketio_chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let backplane = options.backplane_config().map_err(|e| format!("--backplane: {e}"))?;
    if options.listen.len() == 1 && !backplane.reaches_other_processes() {
        tracing::warn!("one node over memory: it reaches nobody else; give more than one --listen");
    }
    let bus_config = options.bus_config();
    let settings = Settings {
        delivery: options.delivery,
        request_timeout: Duration::from_secs(options.request_seconds),
        confirm_within: Duration::from_secs(options.confirm_seconds),
        admin_token: options.admin_token,
    };
    let stopping = watch::Sender::new(false);
    let mut serving = JoinSet::new();
    for address in &options.listen {
        let listener =
            TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
        let address = listener.local_addr()?;
        let bus = backplane.bus(bus_config.clone())?.connect().await?;
        tracing::info!(%address, node = %bus.node(), "node started");
        let mut stopped = stopping.subscribe();
        let stop = async move {
            // An error says that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        serving.spawn(serve(listener, bus, settings.clone(), stop));
        // On stdout, for people to click and for scripts to read.
        println!("listening on http://{address}");
    }
    until_stopped(serving, stopping).await
}
