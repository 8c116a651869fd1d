//! Notifications on many nodes, from a worker; `--help` tells the options, the library's `notify` module the events.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use scaleout::Role;
use scaleout_examples::{
    nodes::NodeAddress,
    notify::{Options, Part, Settings, from_stdin, made_up, serve, work},
    process::{self, Listening, Running},
};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    process::main("notify", options.store.log, run(options)).await
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let backplane = options.store.backplane_config().map_err(|e| format!("--backplane: {e}"))?;
    let config = options.store.bus_config();
    if options.part != Part::All && !backplane.reaches_other_processes() {
        tracing::warn!("over memory this process reaches nobody else; give worker and nodes one --backplane");
    }
    let mut running = Running::default();
    if options.part.serves() {
        let listening = process::listen(&options.nodes, &backplane, &config).await?;
        let of_this_process = listening.iter().map(|Listening { address, bus, .. }| NodeAddress {
            address: address.to_string(),
            node: Some(bus.node()),
        });
        let elsewhere = options.peers.into_iter().map(|address| NodeAddress { address, node: None });
        let settings = Settings { nodes: of_this_process.chain(elsewhere).collect(), ..Settings::default() };
        for Listening { address, listener, bus } in listening {
            running.serve(address, serve(listener, bus, settings.clone(), running.stopped()));
        }
    }
    if options.part.works() {
        let bus = backplane.bus(config)?.role(Role::PublishOnly).connect().await?;
        let stopped = running.stopped();
        if options.stdin {
            running.spawn(work(bus, from_stdin(), stopped));
        } else {
            running.spawn(work(bus, made_up(options.users, Duration::from_secs(options.every)), stopped));
        }
    }
    running.until_stopped().await
}
