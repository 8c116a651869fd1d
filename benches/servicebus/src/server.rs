//! The namespace: an emulator that is started, or one that the command line names; and the topics that runs leave there.

use std::{
    env,
    num::NonZeroU16,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use scaleout_servicebus::{Protocol, ServiceBusConfig};
use servicebus_emulator::{Emulator, Endpoint};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    Options,
    case::{Case, PATIENCE, Wire},
    http::Http,
};

/// Tells the processes of a run where the namespace is: it holds a secret, which command lines show.
pub const VARIABLE: &str = "SCALEOUT_BENCH_SERVICEBUS";

/// The topic and the subscription of the client crate alone.
pub const BARE_SUBSCRIPTION: &str = "bare";

/// A namespace for the runs, and what they leave there.
#[derive(Debug)]
pub struct Server {
    /// Its connection string or URL, without an app.
    pub url: String,
    /// What it is, in words.
    pub what: &'static str,
    pub http: Http,
    /// Whether it is our emulator.
    pub has_control: bool,
    prefix: u32,
    names: Mutex<Names>,
    _emulator: Running,
}

/// What it ends with.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held for their drop")]
enum Running {
    Process(Child),
    Here(Emulator),
    Elsewhere,
}

#[derive(Debug, Default)]
struct Names {
    count: u64,
    /// Topics that are not deleted yet.
    topics: Vec<String>,
}

impl Server {
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let (url, what, emulator) = if let Some(url) = &options.url {
            (url.clone(), "the namespace of --url", Running::Elsewhere)
        } else if options.in_process {
            let emulator = Emulator::builder().start().await?;
            (
                emulator.connection_string(),
                "the emulator, in the process of this program",
                Running::Here(emulator),
            )
        } else {
            let (url, process) = start_process(options).await?;
            (url, "the emulator, a process of its own", Running::Process(process))
        };
        let http = Http::new(&parse(&url, "bench")?)?;
        let has_control = http.has_control().await;
        Ok(Self {
            url,
            what,
            http,
            has_control,
            prefix: fastrand::u32(..),
            names: Mutex::default(),
            _emulator: emulator,
        })
    }

    /// Whether AMQP is spoken without TLS, which is all that the comparison knows.
    pub fn is_plain(&self) -> bool {
        parse(&self.url, "bench").is_ok_and(|config| config.development_emulator)
    }

    /// The name of a new app.
    pub fn fresh(&self, topics: u16) -> anyhow::Result<String> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.count += 1;
        let app = format!("bench-{:08x}-{}", self.prefix, names.count);
        let prefix = parse(&self.url, &app)?.topic_prefix;
        names.topics.extend((0..topics).map(|index| format!("{prefix}{app}-{index}")));
        Ok(app)
    }

    /// Creates the topic, named as an app, and the subscription that the client crate uses alone.
    pub async fn bare(&self) -> anyhow::Result<String> {
        let topic = self.fresh(0)?;
        self.names.lock().unwrap_or_else(PoisonError::into_inner).topics.push(topic.clone());
        self.http.create(&topic, BARE_SUBSCRIPTION).await?;
        Ok(topic)
    }

    /// Deletes what there is.
    pub async fn delete_all(&self) -> anyhow::Result<()> {
        loop {
            let next = self.names.lock().unwrap_or_else(PoisonError::into_inner).topics.pop();
            let Some(topic) = next else { return Ok(()) };
            self.http.delete(&topic).await?;
        }
    }
}

/// The settings of a node of a run, in a process that was told where the namespace is.
pub fn settings_of(case: &Case) -> anyhow::Result<ServiceBusConfig> {
    settings_at(&env::var(VARIABLE).with_context(|| format!("{VARIABLE} is not set"))?, case)
}

/// The settings of a node of a run.
pub fn settings_at(url: &str, case: &Case) -> anyhow::Result<ServiceBusConfig> {
    let config = parse(url, &case.app)?
        .with_topic_count(NonZeroU16::new(case.topics).context("no topics")?)
        // It would be measured.
        .with_start_jitter(Duration::ZERO)
        .with_protocol(match case.wire {
            Wire::Amqp => Protocol::Amqp,
            Wire::Rest => Protocol::Rest,
        });
    let config = match case.seconds {
        // What recovers does so with the time-outs that there are by default.
        0 => config,
        _ => config.with_connect_timeout(PATIENCE).with_operation_timeout(PATIENCE),
    };
    config.check()?;
    Ok(config)
}

fn parse(url: &str, app: &str) -> anyhow::Result<ServiceBusConfig> {
    // A connection string has a `://` in it as well.
    let is_url = url.trim_start().get(..10).is_some_and(|begin| begin.eq_ignore_ascii_case("servicebus"));
    let separator = match (is_url, url.contains('?')) {
        (true, true) => "&",
        (true, false) => "?",
        (false, _) => ";",
    };
    Ok(format!("{}{separator}app={app}", url.trim().trim_end_matches(';')).parse()?)
}

/// Starts an emulator, and gives its connection string.
async fn start_process(options: &Options) -> anyhow::Result<(String, Child)> {
    let mut command = match &options.emulator {
        Some(path) => {
            let mut command = Command::new(path);
            command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "error"]);
            command
        }
        None => {
            let mut command = Command::new(env::current_exe()?);
            command.arg("emulator");
            command
        }
    };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a piped stdout")?).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.context("the emulator does not start")??;
    let url = line.context("the emulator did not start")?;
    ensure!(url.starts_with("Endpoint="), "the emulator does not say where it is");
    Ok((url, child))
}

/// An emulator as a process: the one of this workspace, by its library, so that it is never an old one.
///
/// It listens and speaks as the program `servicebus-emulator`, and ends with the process that started it.
pub async fn emulate() -> anyhow::Result<()> {
    let builder = [Endpoint::Amqps, Endpoint::Https, Endpoint::WebSocket, Endpoint::SecureWebSocket]
        .into_iter()
        .fold(Emulator::builder(), |builder, endpoint| builder.without(endpoint));
    let emulator = builder.start().await?;
    println!("{}", emulator.connection_string());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    emulator.stop().await;
    Ok(())
}
