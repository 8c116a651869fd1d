//! A connection that can be made worse: [`TcpProxy`].

mod connection;
mod requests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use self::connection::Connection;
use super::{POLL, ports::Port};

/// How long the port of a proxy that [accepts](TcpProxy::accept) again may be somebody else's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens on a free port of 127.0.0.1 and forwards to a server, well or badly; ends when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    port: Port,
    shared: Arc<Shared>,
    listening: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

/// What becomes of a frame on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The server gets it, and its connection breaks before the answer.
    LoseAnswer,
    /// The server does not get it, and its connection breaks.
    LoseSend,
    /// It and all that follows on its connection is held back until [`TcpProxy::release`], also after the client closed
    /// the connection.
    Delay,
}

/// What the proxy and its connections know together.
#[derive(Debug)]
struct Shared {
    settings: Mutex<Settings>,
    flows: watch::Sender<bool>,
    /// Raised to break all connections.
    cuts: watch::Sender<u64>,
    /// Raised to let go what is held.
    releases: watch::Sender<u64>,
    /// Connections that hold something.
    held: watch::Sender<usize>,
    /// Requests that clients have sent.
    requests: AtomicU64,
}

#[derive(Debug)]
struct Settings {
    target: SocketAddr,
    delay: Duration,
    fate: Option<Fate>,
}

impl TcpProxy {
    /// Starts one that forwards to `target`.
    ///
    /// # Errors
    /// Where no port is free.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let settings = Settings { target, delay: Duration::ZERO, fate: None };
        let shared = Arc::new(Shared {
            settings: Mutex::new(settings),
            flows: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            releases: watch::Sender::new(0),
            held: watch::Sender::new(0),
            requests: AtomicU64::new(0),
        });
        let proxy = Self { port: Port::free()?, shared, listening: tokio::sync::Mutex::new(None) };
        proxy.accept().await?;
        Ok(proxy)
    }

    /// Starts one that forwards to this port of 127.0.0.1.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn to_port(port: u16) -> io::Result<Self> {
        Self::start((Ipv4Addr::LOCALHOST, port).into()).await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Requests that clients have sent so far (plain TCP only).
    ///
    /// With Redis these are commands, with SQL Server statements and calls of procedures; logins are not counted.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Forwards new connections to `target`.
    pub fn set_target(&self, target: SocketAddr) {
        self.shared.settings().target = target;
    }

    /// Holds each read's worth of bytes back for so long, in both directions.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.settings().delay = delay;
    }

    /// Breaks all connections; new ones can be made.
    pub fn cut_all(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections; those that are open stay so.
    pub async fn refuse(&self) {
        if let Some(task) = self.listening.lock().await.take() {
            task.abort();
            // The listener is closed only when the task is gone.
            let _ = task.await;
        }
    }

    /// Ends a [`refuse`](Self::refuse).
    ///
    /// # Errors
    /// Where another process took the port meanwhile.
    pub async fn accept(&self) -> io::Result<()> {
        let mut listening = self.listening.lock().await;
        if listening.is_some() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(self.address()).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(POLL).await;
                }
                outcome => break outcome?,
            }
        };
        *listening = Some(tokio::spawn(listen(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Forwards nothing more, in both directions; connections stay open and can be made.
    pub fn stall(&self) {
        self.shared.flows.send_replace(false);
    }

    /// Ends a [`stall`](Self::stall): what was held back is forwarded.
    pub fn flow(&self) {
        self.shared.flows.send_replace(true);
    }

    /// Lets `fate` meet the next frame that a client appends to stream 0 (plain TCP only).
    ///
    /// With Redis that is an `XADD` to a key that ends in `:stream:0`, with `f` as its first field, together with the transaction
    /// it is in; with SQL Server a call of a procedure `publish_0`. What else is under way on the connection shares the fate of the connection.
    pub fn next_frame(&self, fate: Fate) {
        self.shared.settings().fate = Some(fate);
    }

    /// Whether the [`next_frame`](Self::next_frame) did not come yet.
    pub fn is_fate_pending(&self) -> bool {
        self.shared.settings().fate.is_some()
    }

    /// Waits until [`Fate::Delay`] has met a frame.
    pub async fn wait_held(&self) {
        // `self` holds the sender, so the channel cannot be closed.
        let _ = self.shared.held.subscribe().wait_for(|held| *held > 0).await;
    }

    /// Forwards what [`Fate::Delay`] holds, and waits until the server has read it; `false` where nothing is held.
    ///
    /// Nothing is held any longer where the server closed the connection. Answers reach the client if it is still there.
    pub async fn release(&self) -> bool {
        let mut held = self.shared.held.subscribe();
        let is_held = *held.borrow_and_update() > 0;
        self.shared.releases.send_modify(|releases| *releases += 1);
        let _ = held.wait_for(|held| *held == 0).await;
        is_held
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(task) = self.listening.get_mut().take() {
            task.abort();
        }
        self.cut_all();
    }
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        // Each use sets or reads one field.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections outlive the listener: refusing new ones leaves them alone.
async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // The process is short of file descriptors, and may have some a little later.
            sleep(POLL).await;
            continue;
        };
        tokio::spawn(serve(client, Arc::clone(&shared)));
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let target = shared.settings().target;
    let forward = async {
        let Ok(server) = TcpStream::connect(target).await else { return };
        // Without it the proxy would add delays of its own; where it fails, the connection is broken already.
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        Connection::new(&shared).run(client, server).await;
    };
    tokio::select! {
        () = forward => {}
        _ = cuts.changed() => {}
    }
}
