//! What all runs share: the server, the folder of the nodes, the settings.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use scaleout_testkit::servers::RedisServer;

use crate::{
    case::{Runtime, Which},
    js,
    process::Node,
    words::Spec,
};

/// Counts runs, so that no two share a name in the server.
static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub struct Ground {
    pub server: RedisServer,
    runtime: Runtime,
    patient: bool,
    folder: PathBuf,
}

impl Ground {
    /// Starts the server: nothing is persisted; `patient`: and no subscriber is too slow for it, so that peers lose less.
    pub async fn new(runtime: Runtime, patient: bool, with_js: bool) -> anyhow::Result<Self> {
        let folder = js::folder()?;
        if with_js {
            js::install(&folder).await?;
        }
        let mut builder = RedisServer::builder();
        if patient {
            builder = builder.config("client-output-buffer-limit", "pubsub 0 0 0");
        }
        let server = builder.start().await.context("a Redis server for the runs")?;
        Ok(Self { server, runtime, patient, folder })
    }

    /// The name of a run.
    pub fn app() -> String {
        format!("bench-{}", RUNS.fetch_add(1, Ordering::Relaxed))
    }

    pub async fn node(&self, name: &str, which: Which, app: &str, socket: bool) -> anyhow::Result<Node> {
        let spec = Spec {
            name: name.into(),
            which,
            runtime: self.runtime,
            url: self.server.url(),
            app: app.into(),
            socket,
            patient: self.patient,
        };
        Node::start(spec, &self.folder).await
    }

    /// Seconds that the server has had a processor.
    pub async fn server_cpu(&self) -> anyhow::Result<f64> {
        let mut all = 0.0;
        for field in ["used_cpu_sys", "used_cpu_user"] {
            let told = self.server.info(field).await?.context("the server says what it used")?;
            all += told.parse::<f64>()?;
        }
        Ok(all)
    }

    /// Leaves nothing to the runs that follow.
    pub async fn clear(&self) -> anyhow::Result<()> {
        self.server.start().await?;
        self.server.command(&["FLUSHALL"]).await?;
        Ok(())
    }
}

/// Of the last minute; 0 where the system does not tell.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
