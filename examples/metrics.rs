//! Nodes whose metrics Prometheus can read, with some traffic to see.
//!
//! Two nodes over a store in this process, on two ports:
//!
//! ```sh
//! cargo run -p scaleout-examples --example metrics
//! curl http://127.0.0.1:9464/metrics
//! ```
//!
//! Or one process for each node, over any store, each with `--listen` and the same `--backplane`. The dashboard for
//! Grafana and the alerts are in `docs/grafana`, and `docs/operations.md` says what the numbers mean.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use clap::Parser;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use scaleout::{BackplaneConfig, Bus, BusConfig, Received};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{interval, sleep, timeout},
};

/// Nodes with an endpoint for Prometheus.
#[derive(Parser)]
#[command(name = "metrics")]
struct Options {
    /// Where a node of this process shows its metrics; repeat it for more nodes. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_values = ["127.0.0.1:9464", "127.0.0.1:9465"])]
    listen: Vec<SocketAddr>,

    /// The store that connects the nodes, such as redis://127.0.0.1:6379?app=metrics.
    // A string, since clap would show what it cannot parse, password and all.
    #[arg(long, value_name = "URL", default_value = "memory:metrics")]
    backplane: String,

    /// Ends once every node has shown that it delivers messages, on free ports whatever `--listen` says.
    #[arg(long)]
    once: bool,
}

/// What a node must show with `--once`.
const EXPECTED: [&str; 6] = [
    "scaleout_published_messages_total{app=",
    "scaleout_delivered_messages_total{app=",
    "scaleout_stream_state{app=",
    "scaleout_lag_payloads{app=",
    "scaleout_frame_messages_bucket{app=",
    "scaleout_latency_seconds_bucket{app=",
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut nodes = Vec::new();
    for address in &options.listen {
        let address = if options.once { SocketAddr::from(([127, 0, 0, 1], 0)) } else { *address };
        let recorder = recorder()?;
        let url = serve(address, recorder.handle()).await?;
        // The bus registers its metrics when it starts, with the recorder that is there by then. A process with one
        // node, as most are, installs one for all of it before it connects: `install_recorder()` of the builder.
        let builder = options.backplane.parse::<BackplaneConfig>()?.bus(BusConfig::default())?;
        let bus = metrics::with_local_recorder(&recorder, || builder.start())?;
        println!("node {} on {url}", bus.node());
        tokio::spawn(listen(bus.clone()));
        tokio::spawn(talk(bus.clone()));
        nodes.push((bus, url));
    }
    if options.once {
        for (_, url) in &nodes {
            timeout(Duration::from_secs(60), expect_delivery(url)).await??;
        }
    } else {
        tokio::signal::ctrl_c().await?;
    }
    for (bus, _) in nodes {
        bus.close(Duration::from_secs(5)).await;
    }
    Ok(())
}

/// Histograms have buckets, so that nodes can be summed up; without them each would be a summary of its own.
fn recorder() -> Result<PrometheusRecorder, Box<dyn Error>> {
    let seconds = [
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        30.0,
    ];
    let bytes: Vec<f64> = (7..=20).map(|power| f64::from(1 << power)).collect();
    let messages: Vec<f64> = (0..=12).map(|power| f64::from(1 << power)).collect();
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)?
        .set_buckets_for_metric(Matcher::Full("scaleout_frame_bytes".into()), &bytes)?
        .set_buckets_for_metric(Matcher::Full("scaleout_frame_messages".into()), &messages)?;
    Ok(builder.build_recorder())
}

/// Shows the metrics of a node; the answer is where.
async fn serve(address: SocketAddr, handle: PrometheusHandle) -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    let url = format!("http://{}/metrics", listener.local_addr()?);
    let upkeep = handle.clone();
    tokio::spawn(async move {
        // What histograms recorded is gathered here, also while nobody asks: else it would grow for ever.
        let mut ticks = interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let app = Router::new().route("/metrics", get(move || std::future::ready(handle.render())));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

/// Reads some rooms.
async fn listen(bus: Bus) {
    let mut rooms = bus.subscribe((0..10).map(|room| format!("room:{room}")));
    while let Some(received) = rooms.recv().await {
        if let Received::Gap(gap) = received {
            println!("messages may be missing: {}", gap.reason());
        }
    }
}

/// Says something in a room, twenty times a second.
async fn talk(bus: Bus) {
    let mut ticks = interval(Duration::from_millis(50));
    for turn in 0_u64.. {
        ticks.tick().await;
        if let Err(error) = bus.enqueue(format!("room:{}", turn % 10), format!("turn {turn}")) {
            println!("not sent: {error}");
        }
    }
}

/// Waits until a node shows that it delivers messages, and all the rest.
async fn expect_delivery(url: &str) -> Result<(), Box<dyn Error>> {
    let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
    loop {
        let shown = scrape(address).await?;
        let of = |name: &str| shown.lines().find(|line| line.starts_with(name));
        let delivered = of("scaleout_delivered_messages_total").and_then(|line| line.split(' ').nth(1));
        if delivered.is_some_and(|count| count != "0") {
            for name in EXPECTED {
                println!("{}", of(name).ok_or_else(|| format!("{url} does not show {name}"))?);
            }
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn scrape(address: &str) -> Result<String, Box<dyn Error>> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}
