//! A node of the chat in the test's own process, so that one of several can be closed.

use std::{io, net::SocketAddr, time::Duration};

use scaleout::{Bus, BusConfig, MemoryStore};
use scaleout_examples::chat::{Settings, serve};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

use crate::DEADLINE;

/// A node on a free port of this machine.
#[derive(Debug)]
pub struct ChatNode {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its bus, to look at.
    pub bus: Bus,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl ChatNode {
    /// Starts a node on `store`; it tells cursors often, so that tests need not wait for them.
    pub async fn start(store: &MemoryStore, config: BusConfig) -> Self {
        let bus = Bus::builder(store.backplane()).config(config).connect().await.expect("memory is there");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let settings = Settings { cursor_interval: Duration::from_millis(20), ..Settings::default() };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, bus.clone(), settings, async {
            // Dropping the node stops it, too.
            let _ = stopped.await;
        }));
        Self { address, bus, stop, serving }
    }

    /// Stops it as a signal would, and waits until it is gone.
    pub async fn stop(self) {
        drop(self.stop);
        let served = timeout(DEADLINE, self.serving).await.expect("a node stops in time");
        served.expect("no panic").expect("its listener never failed");
    }
}
