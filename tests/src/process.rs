//! The binary of an example that serves, built and started by the test, and gone with it.

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::OnceLock,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{interval, timeout},
};

use crate::{DEADLINE, POLL};

/// Which of the examples that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// The one over WebSockets.
    Chat,
    /// The one by Socket.IO.
    SocketioChat,
    /// The notifications: nodes, and a worker.
    Notify,
}

impl Example {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::SocketioChat => "socketio_chat",
            Self::Notify => "notify",
        }
    }
}

/// A running chat, or another example that serves.
#[derive(Debug)]
pub struct ChatProcess {
    child: Child,
    /// `None` once it was told that nothing more comes.
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ChatProcess {
    /// A command that runs the chat over WebSockets with these options; it dies with its handle.
    #[must_use]
    pub fn command(options: &[&str]) -> Command {
        Self::command_of(Example::Chat, options)
    }

    /// A command that runs an example with these options; it dies with its handle.
    #[must_use]
    pub fn command_of(example: Example, options: &[&str]) -> Command {
        let mut command = Command::new(binary(example));
        // Whoever runs the tests may have a store of his own.
        command.args(options).env_remove("SCALEOUT_BACKPLANE").kill_on_drop(true);
        command
    }

    /// Starts the chat over WebSockets.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        Self::start_of(Example::Chat, options)
    }

    /// Starts an example.
    #[must_use]
    pub fn start_of(example: Example, options: &[&str]) -> Self {
        let mut command = Self::command_of(example, options);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary was just built");
        let stdout = child.stdout.take().expect("it is piped");
        let stdin = child.stdin.take();
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    /// Starts the chat over WebSockets with one node, on a free port, over `backplane`.
    #[must_use]
    pub fn on(backplane: &str, options: &[&str]) -> Self {
        let fixed = ["--node", "127.0.0.1:0", "--log", "error", "--backplane", backplane];
        Self::start(&[&fixed, options].concat())
    }

    /// Runs the chat that [`on`](Self::on) would start, which cannot start, and answers what it told.
    ///
    /// # Panics
    /// Where it does start, or ends otherwise than with status 1.
    pub async fn refused(backplane: &str) -> String {
        let output = Self::command(&["--node", "127.0.0.1:0", "--backplane", backplane]).output();
        let output = timeout(DEADLINE, output).await.expect("it ends by itself").expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("it writes UTF-8")
    }

    /// The address of the next node that it prints.
    pub async fn address(&mut self) -> SocketAddr {
        let line = self.line().await;
        let address = line.strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> String {
        let line = timeout(DEADLINE, self.lines.next_line()).await.expect("a line in time").expect("UTF-8");
        line.expect("it runs")
    }

    /// Writes a line to its stdin.
    pub async fn write(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is not closed");
        let written = timeout(DEADLINE, stdin.write_all(format!("{line}\n").as_bytes())).await;
        written.expect("it reads in time").expect("it runs");
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it SIGTERM.
    pub async fn terminate(&self) {
        self.signal("-TERM").await;
    }

    /// Sends it SIGSTOP, and waits until it stands still, with all its connections open.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
        let id = self.id();
        let stopped = async {
            let mut pace = interval(POLL);
            loop {
                pace.tick().await;
                let state = Command::new("ps").args(["-o", "stat=", "-p", &id]).output().await;
                // Nothing else tells: a signal is only on its way when `kill` is done.
                if state.expect("ps is on every Unix").stdout.starts_with(b"T") {
                    return;
                }
            }
        };
        timeout(DEADLINE, stopped).await.expect("it stops in time");
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    fn id(&self) -> String {
        self.child.id().expect("it runs").to_string()
    }

    async fn signal(&self, signal: &str) {
        let id = self.id();
        let status = Command::new("kill").args([signal, &id]).status().await.expect("kill is on every Unix");
        assert!(status.success(), "no process {id}");
    }

    /// Kills it with SIGKILL, and waits for its end: it says good-bye to nobody.
    pub async fn kill(&mut self) {
        timeout(DEADLINE, self.child.kill()).await.expect("it ends in time").expect("it runs");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait()).await.expect("it ends in time").expect("it can be waited for")
    }
}

/// The path of the binary, built once per test process: cargo builds no examples of other packages for a test.
fn binary(example: Example) -> &'static PathBuf {
    static BINARIES: [OnceLock<PathBuf>; 3] = [const { OnceLock::new() }; 3];
    let name = example.name();
    BINARIES[example as usize].get_or_init(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let options = ["build", "-p", "scaleout-examples", "--example", name, "--message-format", "json"];
        let mut build = std::process::Command::new(cargo);
        // What cargo says of this package to its tests; build scripts of dependencies would run again for it.
        let of_this_package =
            |name: &str| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|begin| name.starts_with(begin));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this_package)) {
            build.env_remove(name);
        }
        let built = build
            .args(options)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(built.status.success(), "the example {name} does not build");
        let told = String::from_utf8(built.stdout).expect("cargo writes JSON");
        let artifact = |line: &str| {
            let json: Value = serde_json::from_str(line).ok()?;
            let is_example = json["target"]["name"] == name;
            json["executable"].as_str().filter(|_| is_example).map(PathBuf::from)
        };
        told.lines().find_map(artifact).expect("cargo names what it built")
    })
}
