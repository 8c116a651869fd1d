//! A chat by Socket.IO on many nodes; `--help` tells the options, the library's `socketio` module the events.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use scaleout_examples::{
    process::{self, Listening, Running},
    socketio::{Options, Settings, serve},
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    process::main("socketio_chat", options.store.log, run(options)).await
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let backplane = options.store.backplane_config().map_err(|e| format!("--backplane: {e}"))?;
    if options.listen.len() == 1 && !backplane.reaches_other_processes() {
        tracing::warn!("one node over memory: it reaches nobody else; give more than one --listen");
    }
    let settings = Settings {
        delivery: options.delivery,
        request_timeout: Duration::from_secs(options.request_seconds),
        confirm_within: Duration::from_secs(options.confirm_seconds),
        admin_token: options.admin_token,
    };
    let mut running = Running::default();
    for node in process::listen(&options.listen, &backplane, &options.store.bus_config()).await? {
        let Listening { address, listener, bus } = node;
        running.serve(address, serve(listener, bus, settings.clone(), running.stopped()));
    }
    running.until_stopped().await
}
