//! A real server for the tests of this crate, on a free port of the loopback, which ends with its value.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

use crate::config::{Endpoint, RedisConfig, Topology};

pub(crate) struct TestServer {
    process: Child,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl TestServer {
    /// Starts `redis-server` with further `options`, in a folder that holds `files`; none where it is not installed.
    ///
    /// `%FOLDER%` and `%PORT%` in options stand for what they say.
    pub(crate) fn start(options: &[(&str, &str)], files: &[(&str, &str)]) -> Option<Self> {
        for _ in 0..10 {
            match Self::try_start(options, files) {
                Ok(Some(server)) => return Some(server),
                // Somebody was faster to take the port.
                Ok(None) => {}
                Err(error) => {
                    let required = env::var("SCALEOUT_TEST_REQUIRE").unwrap_or_default();
                    let demanded = required.split(',').any(|it| matches!(it.trim(), "redis" | "all"));
                    assert!(!demanded, "redis-server cannot be started, and is demanded: {error}");
                    // Past the capture of the harness.
                    let _ =
                        writeln!(std::io::stderr(), "SKIPPED: a test, for want of redis-server ({error})");
                    return None;
                }
            }
        }
        panic!("redis-server ended at once, ten times")
    }

    fn try_start(options: &[(&str, &str)], files: &[(&str, &str)]) -> std::io::Result<Option<Self>> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = env::temp_dir().join(format!("scaleout-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        for (name, text) in files {
            fs::write(folder.join(name), text)?;
        }
        let port_text = port.to_string();
        let mut command = Command::new("redis-server");
        let mut plain = vec![("port", "%PORT%"), ("bind", "127.0.0.1"), ("save", ""), ("dir", "%FOLDER%")];
        plain.retain(|(name, _)| options.iter().all(|(other, _)| other != name));
        for (name, value) in plain.iter().chain(options) {
            let value = value.replace("%PORT%", &port_text).replace("%FOLDER%", &folder.to_string_lossy());
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;

        let output = process.stdout.take().expect("it is piped");
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.contains("eady to accept connections") {
                    let _ = ready.send(());
                }
            }
        });
        let server = Self { process, folder, port };
        match is_ready.recv_timeout(Duration::from_secs(20)) {
            Ok(()) => Ok(Some(server)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Ok(None),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("redis-server is not ready after 20 s"),
        }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::new("chat".parse().expect("a name"), Topology::Standalone(self.endpoint()))
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::tcp("127.0.0.1", self.port)
    }

    /// A connection with the credentials of `config`.
    pub(crate) async fn connect(config: &RedisConfig) -> Result<MultiplexedConnection, scaleout_core::Error> {
        let Topology::Standalone(endpoint) = &config.topology else { panic!("not standalone") };
        config.connect(endpoint, false, AsyncConnectionConfig::new()).await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
