//! How a process of nodes starts and ends: it listens, connects, serves, and stops at a signal or with the first node that
//! cannot go on.

use std::{
    error::Error,
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
};

use scaleout::{BackplaneConfig, Bus, BusConfig};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing_subscriber::filter::LevelFilter;

/// Runs a program to its end, with its log on stderr; an error is told there, and is the exit status 1.
pub async fn main(
    name: &str,
    log: LevelFilter,
    program: impl Future<Output = Result<(), Box<dyn Error>>>,
) -> ExitCode {
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_max_level(log).with_writer(std::io::stderr).with_ansi(colours).init();
    match program.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A node that is connected, and listens, and does not serve yet.
#[derive(Debug)]
pub struct Listening {
    /// Where it listens; with the port that it got where it was told 0.
    pub address: SocketAddr,
    /// What listens.
    pub listener: TcpListener,
    /// Its bus.
    pub bus: Bus,
}

/// One node per address, all on the same backplane.
///
/// # Errors
/// Where an address is taken, or the store cannot be reached.
pub async fn listen(
    addresses: &[SocketAddr],
    backplane: &BackplaneConfig,
    config: &BusConfig,
) -> Result<Vec<Listening>, Box<dyn Error>> {
    let mut nodes = Vec::new();
    for address in addresses {
        let listener =
            TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
        let address = listener.local_addr()?;
        let bus = backplane.bus(config.clone())?.connect().await?;
        tracing::info!(%address, node = %bus.node(), "node started");
        nodes.push(Listening { address, listener, bus });
    }
    Ok(nodes)
}

/// What runs in a process until it is stopped.
#[derive(Debug, Default)]
pub struct Running {
    tasks: JoinSet<io::Result<()>>,
    stopping: watch::Sender<bool>,
}

impl Running {
    /// Resolves when the process is to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error says that the sender is gone, which is a stop as well.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Runs a task, which ends by itself once the process is [`stopped`](Self::stopped).
    pub fn spawn(&mut self, task: impl Future<Output = io::Result<()>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Serves a node, and says where: on stdout, for people to click and for scripts to read.
    pub fn serve(
        &mut self,
        address: SocketAddr,
        serving: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        self.spawn(serving);
        println!("listening on http://{address}");
    }

    /// Waits for a signal, or for the end of one of the tasks; tells the others to stop, and waits for them.
    ///
    /// # Errors
    /// Of the first that failed, or where no signal can be waited for.
    pub async fn until_stopped(self) -> Result<(), Box<dyn Error>> {
        let Self { mut tasks, stopping } = self;
        let mut failure = None;
        let mut signal = Box::pin(signal());
        loop {
            tokio::select! {
                told = &mut signal, if !*stopping.borrow() => {
                    tracing::info!("stopping; clients are told to reconnect");
                    failure = told.err().map(Into::into);
                    stopping.send_replace(true);
                }
                ended = tasks.join_next() => {
                    let Some(ended) = ended else { break };
                    // One task that ended, ends all: the process is restarted as a whole.
                    stopping.send_replace(true);
                    if let Err(error) = ended.map_err(Into::into).and_then(|ended| ended.map_err(Box::<dyn Error>::from)) {
                        failure.get_or_insert(error);
                    }
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Resolves at Ctrl-C, and on Unix at SIGTERM.
async fn signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
