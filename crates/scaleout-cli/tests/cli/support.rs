//! Runs the program, and the servers that it looks at.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use scaleout_testkit::servers::RedisServer;
use serde_json::Value;
use servicebus_emulator::{Emulator, Right};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

/// As long as anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The password of every server here, which nothing may show.
pub(crate) const SECRET: &str = "hunter2-and-more";

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The only line of JSON on stdout.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The only line of JSON on stderr, where there is nothing on stdout.
    pub(crate) fn error(&self) -> Value {
        assert_eq!(self.out, "", "{self:?}");
        serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) async fn scaleout(args: &[&str]) -> Run {
    scaleout_with(args, &[], "").await
}

/// Runs the program with these variables in its environment, and this on stdin.
pub(crate) async fn scaleout_with(args: &[&str], variables: &[(&str, &str)], input: &str) -> Run {
    let mut child = command(args).envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // Who reads no stdin closes it.
    let write = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
    let output = timeout(PATIENCE, child.wait_with_output());
    let Output { status, stdout, stderr } =
        output.await.unwrap_or_else(|_| panic!("{args:?}: not done within {PATIENCE:?}")).unwrap();
    write.abort();
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    let code = status.code().unwrap_or_else(|| panic!("{args:?} was killed: {status}"));
    let run = Run { code, out: text(stdout), err: text(stderr) };
    for stream in [&run.out, &run.err] {
        assert!(!stream.contains(SECRET), "a secret is shown: {run:?}");
        assert!(!stream.contains("panicked"), "{run:?}");
        assert!(!stream.contains('\x1b'), "colours, and no terminal: {run:?}");
    }
    run
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scaleout"));
    command.args(args).env_remove("SCALEOUT_URL").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command(args).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let err = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        Self { child, out, err }
    }

    /// The next line of stdout; `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.out.next_line()).await.expect("a line in time").unwrap()
    }

    /// The next line of stderr; `None` at its end.
    pub(crate) async fn told(&mut self) -> Option<String> {
        timeout(PATIENCE, self.err.next_line()).await.expect("a line in time").unwrap()
    }

    /// Waits until stderr says so, and answers with the whole line.
    pub(crate) async fn wait_told(&mut self, part: &str) -> String {
        loop {
            let line = self.told().await.unwrap_or_else(|| panic!("it ended without {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Nobody reads its stdout any more.
    pub(crate) fn close_stdout(self) -> (Child, Lines<BufReader<ChildStderr>>) {
        (self.child, self.err)
    }

    /// Sends it a signal, as Ctrl-C does.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([format!("-{signal}"), pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// How it ended.
    pub(crate) async fn code(&mut self) -> i32 {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("an end in time").unwrap();
        status.code().unwrap_or_else(|| panic!("it was killed: {status}"))
    }
}

/// A server with a password, and the URL of an app on it.
pub(crate) async fn redis() -> (RedisServer, String) {
    let server = RedisServer::builder().requirepass(SECRET).appendonly().start().await.unwrap();
    let url = redis_url(&server, SECRET, "chat");
    (server, url)
}

pub(crate) fn redis_url(server: &RedisServer, password: &str, app: &str) -> String {
    format!("redis://:{password}@127.0.0.1:{}?app={app}", server.port())
}

/// An emulator, and the connection string of an app on it.
pub(crate) async fn service_bus(rights: &[Right]) -> (Emulator, String) {
    let emulator = Emulator::builder().key("policy", SECRET, rights).start().await.unwrap();
    let url = format!("{};App=chat", emulator.connection_string());
    (emulator, url)
}
