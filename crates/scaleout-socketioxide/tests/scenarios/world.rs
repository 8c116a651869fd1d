//! The nodes that scenarios play on.

use std::{
    future::Future,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use hyper::{Request, service::Service as _};
use scaleout_cluster::{Cluster, ClusterConfig};
use scaleout_core::{Bus, BusBuilder};
use scaleout_socketioxide::{AdapterConfig, ScaleoutAdapter, ScaleoutCtr};
use socketioxide::{ParserConfig, SocketIo, SocketIoBuilder, adapter::Emitter, handler::ConnectHandler};
use tokio::{io::DuplexStream, runtime::Builder, sync::oneshot};

use super::client::Client;

pub(crate) type Adapter = ScaleoutAdapter<Emitter>;
pub(crate) type Io = SocketIo<Adapter>;

/// How long an event may take before it counts as missing; this machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh store, and what can happen to it.
pub(crate) trait Store: Send + Sync {
    /// A new node's bus, not yet connected.
    fn bus(&self) -> BusBuilder;

    /// Takes the store away from all nodes, and gives it back with all that it had.
    fn set_away(&self, away: bool) -> impl Future<Output = ()> + Send;

    /// Bytes that a message may have at most, or more than any scenario sends.
    fn max_message_bytes(&self) -> usize;
}

/// A node with a Socket.IO server.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) ctr: ScaleoutCtr,
    pub(crate) io: Io,
    pipe: Pipe,
}

/// Takes the server's end of a connection that is upgraded to WebSocket.
pub(crate) type Pipe = Box<dyn Fn(DuplexStream) + Send + Sync>;

/// What differs between the nodes of scenarios.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) config: AdapterConfig,
    pub(crate) msgpack: bool,
    pub(crate) buffer: Option<usize>,
    pub(crate) lease: Option<Duration>,
}

impl Node {
    /// A node that knows the members that were there before it.
    pub(crate) async fn start(bus: BusBuilder, setup: &Setup) -> Self {
        let bus = bus.connect().await.expect("the store is there");
        let cluster_config = ClusterConfig::default()
            .with_name("socketio")
            .with_heartbeat_interval(Duration::from_millis(500))
            .with_lease(setup.lease.unwrap_or(PATIENCE));
        let cluster = Cluster::start(&bus, cluster_config).expect("settings that work");
        cluster.ready().await;
        let ctr = ScaleoutCtr::on(cluster, setup.config.clone()).expect("settings that work");
        let mut builder: SocketIoBuilder = SocketIo::builder();
        if setup.msgpack {
            builder = builder.with_parser(ParserConfig::msgpack());
        }
        if let Some(packets) = setup.buffer {
            builder = builder.max_buffer_size(packets);
        }
        let builder = builder.ack_timeout(PATIENCE).with_adapter::<ScaleoutAdapter<_>>(ctr.clone());
        let (service, io) = builder.build_svc();
        let pipe = Box::new(move |end| {
            let request = Request::get("http://pipe/socket.io/?EIO=4&transport=websocket");
            let request = request.body(()).expect("a request");
            let taken = service.call((end, request)).now_or_never().expect("it is ready");
            taken.expect("a request that is understood");
        });
        Self { bus, ctr, io, pipe }
    }

    /// Adds a namespace.
    pub(crate) async fn serve<C, T>(&self, path: &'static str, handler: C)
    where
        C: ConnectHandler<Adapter, T>,
        T: Send + Sync + 'static,
    {
        let Ok(()) = self.io.ns(path, handler).await;
    }

    /// A client of a namespace of this node.
    pub(crate) async fn client(&self, path: &str) -> Client {
        Client::connect(&self.pipe, path).await
    }

    pub(crate) async fn msgpack_client(&self) -> Client {
        Client::connect_by_msgpack(&self.pipe).await
    }

    /// Says goodbye and goes.
    pub(crate) async fn leave(self) {
        self.ctr.close(PATIENCE).await;
        self.bus.close(PATIENCE).await;
    }
}

/// `N` nodes that know each other, with the namespace `/`.
pub(crate) async fn nodes<const N: usize>(store: &impl Store) -> [Node; N] {
    nodes_with(store, &Setup::default()).await
}

pub(crate) async fn nodes_with<const N: usize>(store: &impl Store, setup: &Setup) -> [Node; N] {
    let mut nodes = Vec::with_capacity(N);
    for _ in 0..N {
        nodes.push(Node::start(store.bus(), setup).await);
    }
    for node in &nodes {
        node.serve("/", async || ()).await;
        until("all nodes know each other", || node.ctr.cluster().members().len() == N).await;
    }
    nodes.try_into().unwrap_or_else(|_| unreachable!("there are N of them"))
}

/// A node with one client that may stand still: it has a thread of its own, as if it were a process of its own.
///
/// It stands still from the server event `hold` on, until told to go on, and then goes without a goodbye.
pub(crate) struct Apart {
    go_on: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Apart {
    pub(crate) async fn start(bus: BusBuilder, setup: Setup) -> Self {
        let (connected, is_connected) = oneshot::channel();
        let (go_on, held) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let held = Mutex::new(held);
            runtime.block_on(async move {
                let node = Node::start(bus, &setup).await;
                node.serve("/", async || ()).await;
                let (end, ended) = oneshot::channel::<()>();
                let end = Mutex::new(Some(end));
                let _handler = node.ctr.on_server_event("hold", move |_| {
                    let _ = held.lock().expect("whole").recv_timeout(PATIENCE);
                    drop(end.lock().expect("whole").take());
                });
                let _client = node.client("/").await;
                connected.send(()).expect("it is waited for");
                let _ = ended.await;
            });
            runtime.shutdown_background();
        });
        soon(is_connected).await.expect("it is connected");
        Self { go_on, thread }
    }

    /// Ends it.
    pub(crate) async fn end(self) {
        let _ = self.go_on.send(());
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(|| thread.join()).await.expect("it ends");
        ended.expect("it ends without a panic");
    }
}

/// A client of each node, of `/`.
pub(crate) async fn clients<const N: usize>(nodes: &[Node; N]) -> [Client; N] {
    let mut clients = Vec::with_capacity(N);
    for node in nodes {
        clients.push(node.client("/").await);
    }
    clients.try_into().unwrap_or_else(|_| unreachable!("there are N of them"))
}

/// Waits for what nothing tells of.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

/// Waits no longer than an event may take.
pub(crate) async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}
