//! One server: [`RedisServer`].

use std::{
    fs, io,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{FromRedisValue, RedisError, ToRedisArgs, Value};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{PROGRAM, builder::RedisServerBuilder, control::Control, log};
use crate::servers::{POLL, TestCa, ports::Port, process::Process};

/// How long a server may take to start or to stop: a busy machine, not a large data set.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How much of its log a server that did not start is quoted with.
const LOG_LINES: usize = 30;

/// A Redis server of this test alone; it ends when this value is dropped.
///
/// Beside its port it listens on a unix socket. A user `testkit` may do everything, whatever the
/// [builder](Self::builder) says of others; the methods here use it.
#[derive(Debug)]
pub struct RedisServer {
    /// Before `folder`, so that the process ends before its files go.
    process: Mutex<Option<Process>>,
    control: Control,
    ports: Ports,
    folder: TempDir,
    /// Holds the files of its certificates, which it reads again at every start.
    _ca: Option<TestCa>,
    is_sentinel: bool,
}

/// The ports of a server.
#[derive(Debug)]
pub(super) struct Ports {
    plain: Port,
    tls: Option<Port>,
    /// By which servers of a cluster talk to each other.
    bus: Option<Port>,
}

impl Ports {
    pub(super) fn free(with_tls: bool, with_bus: bool) -> io::Result<Self> {
        let port_if = |wanted: bool| wanted.then(Port::free).transpose();
        Ok(Self { plain: Port::free()?, tls: port_if(with_tls)?, bus: port_if(with_bus)? })
    }
}

impl RedisServer {
    /// How to start one.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// One that was not started yet, and has no configuration file.
    pub(super) fn new(folder: TempDir, ports: Ports, ca: Option<TestCa>, is_sentinel: bool) -> Self {
        let control = Control::new(folder.path().join("socket"));
        Self { process: Mutex::new(None), control, ports, folder, _ca: ca, is_sentinel }
    }

    pub(super) fn set_ports(&mut self, ports: Ports) {
        self.ports = ports;
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.folder().join("redis.conf")
    }

    /// The port on 127.0.0.1; the same after every restart.
    pub fn port(&self) -> u16 {
        self.ports.plain.number()
    }

    /// The port on 127.0.0.1 for TLS, where it has one.
    pub fn tls_port(&self) -> Option<u16> {
        self.ports.tls.as_ref().map(Port::number)
    }

    /// `rediss://127.0.0.1:PORT`, where it has a port for TLS.
    pub fn tls_url(&self) -> Option<String> {
        self.tls_port().map(|port| format!("rediss://127.0.0.1:{port}"))
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The unix socket on which it listens as well.
    pub fn unix_socket_path(&self) -> &Path {
        self.control.socket()
    }

    /// The folder of its files: `data`, `log`, `redis.conf`, `socket`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of its process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::pid)
    }

    /// Runs a command by a connection of its own, and once more where that turns out to be broken.
    ///
    /// # Errors
    /// What the server answers, or that it does not within 10 s.
    pub async fn command<A: ToRedisArgs>(&self, words: &[A]) -> Result<Value, RedisError> {
        self.control.command(words).await
    }

    /// A field of what `INFO ALL` says, such as `run_id`; `None` where it does not say it.
    ///
    /// # Errors
    /// As [`command`](Self::command).
    pub async fn info(&self, field: &str) -> Result<Option<String>, RedisError> {
        let info: String = self.control.command(&["INFO", "ALL"]).await?;
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        Ok(fields.find(|(name, _)| *name == field).map(|(_, value)| value.trim().to_owned()))
    }

    /// Kills it with `SIGKILL`: it says good-bye to nobody, and what it has not written is lost.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Asks it to end (`SIGTERM`), and waits until it did.
    ///
    /// # Errors
    /// Where it does not end in time; it is killed then.
    pub async fn stop(&self) -> io::Result<()> {
        let process = self.process().take();
        match process {
            Some(process) => process.stop(PATIENCE).await,
            None => Ok(()),
        }
    }

    /// Starts it again, with its ports and its files, and waits until it answers; does nothing while it runs.
    ///
    /// # Errors
    /// As [`RedisServerBuilder::start`]. Of kind [`AddrInUse`](io::ErrorKind::AddrInUse) where another process took one
    /// of its ports.
    pub async fn start(&self) -> io::Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        let log_begins = fs::metadata(self.log_file()).map_or(0, |log| log.len());
        let mut command = Command::new(PROGRAM);
        // What it says before it has read its configuration goes where all else goes.
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        command.arg(self.config_file());
        if self.is_sentinel {
            command.arg("--sentinel");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&mut command, self.folder()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("{PROGRAM} is not installed")),
            _ => error,
        })?;
        *self.process() = Some(process);
        let started = self.wait_ready().await;
        started.map_err(|error| {
            self.kill();
            let log = self.log_from(log_begins);
            let is_taken = log.contains("Address already in use");
            let kind = if is_taken { io::ErrorKind::AddrInUse } else { error.kind() };
            io::Error::new(kind, format!("{PROGRAM} did not start: {error}\n{log}"))
        })
    }

    /// [`stop`](Self::stop) and [`start`](Self::start).
    ///
    /// # Errors
    /// As these.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Kills it, removes all that it has persisted, and starts it again.
    ///
    /// # Errors
    /// As [`start`](Self::start), or where a file cannot be removed.
    pub async fn restart_empty(&self) -> io::Result<()> {
        self.kill();
        let data = self.folder().join("data");
        fs::remove_dir_all(&data)?;
        fs::create_dir(&data)?;
        self.start().await
    }

    /// Restarts it as if it had never got the last `frames` frames of each stream; tells how many these were in all.
    ///
    /// What concerns a stream goes from the first of those frames on: later entries, the last numbers of the nodes, what
    /// the app's own hash says of the stream. Where a stream has fewer frames, all of them go. It is killed for that, and
    /// its append-only file is cut. The keys are those of the Redis provider: `<tag>:stream:<s>`,
    /// `<tag>:last:<s>:<epoch>`, `<tag>:meta` with a field `<s>`, `<tag>:epoch`; a frame is an entry whose first field is
    /// `f`.
    ///
    /// # Errors
    /// As [`start`](Self::start), or where there is no append-only file ([`RedisServerBuilder::appendonly`]) or one that
    /// cannot be read.
    pub async fn forget_last(&self, frames: usize) -> io::Result<usize> {
        self.kill();
        let forgotten = log::forget_last(&self.folder().join("data/appendonlydir"), frames)?;
        self.start().await?;
        Ok(forgotten)
    }

    /// Freezes it (`SIGSTOP`): connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Ends a [`freeze`](Self::freeze) (`SIGCONT`).
    ///
    /// # Errors
    /// Where it does not run.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits until it answers, and has loaded what it had persisted.
    ///
    /// # Errors
    /// Where it has ended, or does not answer within a minute.
    pub async fn wait_ready(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.process().as_mut().map(Process::ended);
            match ended {
                Some(ended) => {
                    if let Some(status) = ended? {
                        return Err(io::Error::other(format!("it ended with {status}")));
                    }
                }
                None => return Err(io::Error::other("it is stopped")),
            }
            match self.command(&["PING"]).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, error));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// The port by which other servers of a group reach it.
    pub(super) fn link_port(&self) -> u16 {
        self.tls_port().unwrap_or(self.port())
    }

    pub(super) fn bus_port(&self) -> Option<u16> {
        self.ports.bus.as_ref().map(Port::number)
    }

    pub(super) async fn query<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, RedisError> {
        self.control.command(words).await
    }

    /// Waits until a replica is linked to its master, and has got the data that this had then.
    ///
    /// # Errors
    /// Where it does not within a minute.
    pub async fn wait_linked(&self) -> io::Result<()> {
        self.wait_for("link to its master", async || {
            Ok(self.info("master_link_status").await?.as_deref() == Some("up"))
        })
        .await
    }

    /// Waits until it has got all that `master` has now.
    ///
    /// # Errors
    /// Where it does not within a minute.
    pub async fn wait_caught_up(&self, master: &RedisServer) -> io::Result<()> {
        let offset = async |server: &RedisServer, field| {
            let offset = server.info(field).await?.and_then(|offset| offset.parse::<i64>().ok());
            Ok::<_, RedisError>(offset)
        };
        let wanted = offset(master, "master_repl_offset").await.map_err(io::Error::other)?;
        self.wait_for("data of its master", async || Ok(offset(self, "slave_repl_offset").await? >= wanted))
            .await
    }

    /// Waits until `is_so`; errors of the server count as no.
    pub(super) async fn wait_for(
        &self,
        what: &str,
        is_so: impl AsyncFn() -> Result<bool, RedisError>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let outcome = is_so().await;
            if let Ok(true) = outcome {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = outcome.err().map(|error| format!(": {error}")).unwrap_or_default();
                let port = self.port();
                let message = format!("the server on port {port} waited in vain for the {what}{error}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(POLL).await;
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.process().as_ref() {
            Some(process) => process.signal(signal),
            None => Err(io::Error::other("the server is stopped")),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The last lines of what was logged from there on.
    fn log_from(&self, begin: u64) -> String {
        let mut bytes = Vec::new();
        let read = fs::File::open(self.log_file()).and_then(|mut log| {
            log.seek(SeekFrom::Start(begin))?;
            log.read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            return format!("its log cannot be read: {error}");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}
