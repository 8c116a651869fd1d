//! `PUBLISH` and `SUBSCRIBE` of Redis, through the client crate that scaleout uses and nothing else.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
    aio::{MultiplexedConnection, PubSubStream},
    io::tcp::TcpSettings,
};
use scaleout::redis::{Endpoint, RedisConfig, Topology};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    clock::now,
    node::{Pace, Sink, Source, publish_all, tally_all},
    tally::{Tally, payload},
    words::{Orders, Setup},
};

/// Pipelines under way, so that the next is on the wire while an answer is out.
const PIPELINES: usize = 2;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A client of the server that messages are published to, with the login of a node.
///
/// In a Cluster it is the first member that the settings name: any will do, since all of them pass messages on.
pub(super) async fn client(config: &RedisConfig) -> anyhow::Result<Client> {
    let login = || {
        let mut login = RedisConnectionInfo::default().set_db(i64::from(config.database));
        if let Some(username) = &config.username {
            login = login.set_username(username);
        }
        if let Some(password) = &config.password {
            login = login.set_password(password.expose());
        }
        login
    };
    match &config.topology {
        Topology::Standalone(endpoint) => open(config, endpoint, login()),
        Topology::Cluster { seeds } => {
            open(config, seeds.first().context("a Cluster without members")?, login())
        }
        Topology::Sentinel { master, sentinels } => {
            for sentinel in sentinels {
                if let Ok(endpoint) = master_of(config, sentinel, master).await {
                    return open(config, &endpoint, login());
                }
            }
            bail!("no sentinel tells where the master {master} is")
        }
        _ => bail!("no baseline for this kind of Redis"),
    }
}

async fn master_of(config: &RedisConfig, sentinel: &Endpoint, master: &str) -> anyhow::Result<Endpoint> {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = &config.sentinel_username {
        login = login.set_username(username);
    }
    if let Some(password) = &config.sentinel_password {
        login = login.set_password(password.expose());
    }
    let mut connection = connect(&open(config, sentinel, login)?).await?;
    let mut command = redis::cmd("SENTINEL");
    let (host, port): (String, u16) =
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut connection).await?;
    Ok(Endpoint::tcp(host, port))
}

fn open(config: &RedisConfig, endpoint: &Endpoint, login: RedisConnectionInfo) -> anyhow::Result<Client> {
    let address = match (endpoint, &config.tls) {
        (Endpoint::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
        (Endpoint::Tcp { host, port }, None) => ConnectionAddr::Tcp(host.clone(), *port),
        (Endpoint::Tcp { host, port }, Some(_)) => {
            let (host, port) = (host.clone(), *port);
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
    };
    let info = address
        .into_connection_info()?
        .set_tcp_settings(TcpSettings::default().set_nodelay(true))
        .set_redis_settings(login);
    match &config.tls {
        None => Ok(Client::open(info)?),
        #[cfg(feature = "tls")]
        Some(tls) => {
            // It fails where there is one already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client_tls = tls.client_certificate.clone();
            let client_tls = client_tls
                .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
            let certificates = redis::TlsCertificates { client_tls, root_cert: tls.ca.clone() };
            Ok(Client::build_with_tls(info, certificates)?)
        }
        #[cfg(not(feature = "tls"))]
        Some(_) => bail!("TLS is not compiled in"),
    }
}

pub(super) async fn connect(client: &Client) -> anyhow::Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    Ok(timeout(CONNECT, connecting).await.context("the server does not answer")??)
}

async fn client_of(setup: &Setup) -> anyhow::Result<Client> {
    client(setup.settings()?.redis().context("only Redis has publish/subscribe")?).await
}

/// Named by the app of the run, so that it never meets anybody else's.
fn channels_of(setup: &Setup) -> Vec<String> {
    setup.case.channel_names().into_iter().map(|name| format!("{}:{name}", setup.app)).collect()
}

pub(super) async fn receive(setup: &Setup, orders: Orders) -> anyhow::Result<()> {
    let client = client_of(setup).await?;
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.subscribe(channels_of(setup)).await?;
        Ok::<_, RedisError>(subscription)
    };
    let subscription = timeout(CONNECT, subscribing).await.context("the server does not answer")??;
    tally_all(&setup.case, &mut subscription.into_on_message(), orders).await
}

impl Source for PubSubStream {
    async fn next(&mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let message =
            futures_util::StreamExt::next(self).await.context("the server ended the subscription")?;
        tally.take(message.get_payload_bytes());
        Ok(())
    }
}

pub(super) async fn publish(setup: &Setup, orders: Orders) -> anyhow::Result<()> {
    let connection = connect(&client_of(setup).await?).await?;
    let mut outlet = Outlet { connection, channels: channels_of(setup) };
    publish_all(&setup.case, &mut outlet, orders).await
}

struct Outlet {
    connection: MultiplexedConnection,
    channels: Vec<String>,
}

impl Sink for Outlet {
    async fn phase(&mut self, pace: &mut Pace) -> anyhow::Result<()> {
        match pace.case.rate {
            Some(rate) => self.paced(pace, rate).await,
            None => self.pipelines(pace).await?,
        }
        Ok(())
    }

    fn frames(&self) -> u64 {
        0
    }
}

impl Outlet {
    fn channel(&self, pace: &Pace, number: u64) -> &str {
        &self.channels[pace.case.channel(number) as usize]
    }

    async fn pipelines(&self, pace: &mut Pace) -> anyhow::Result<()> {
        let mut under_way = FuturesUnordered::new();
        while pace.goes_on() && pace.errors == 0 {
            let mut pipe = redis::pipe();
            for _ in 0..pace.case.pipeline {
                let (number, payload) = pace.message();
                pipe.cmd("PUBLISH").arg(self.channel(pace, number)).arg(payload).ignore();
            }
            let mut connection = self.connection.clone();
            under_way.push(async move { pipe.exec_async(&mut connection).await });
            if under_way.len() >= PIPELINES
                && let Some(Err(error)) = under_way.next().await
            {
                pace.fail(error);
            }
            pace.room().await?;
        }
        while let Some(outcome) = under_way.next().await {
            if let Err(error) = outcome {
                pace.fail(error);
            }
        }
        Ok(())
    }

    /// One message after the other at a rate, whether or not earlier ones were answered.
    async fn paced(&self, pace: &mut Pace, rate: u64) {
        let (begin, end) = (Instant::now(), Instant::from_std(pace.end()));
        let mut under_way = FuturesUnordered::new();
        let mut count = 0;
        loop {
            let due = begin + Duration::from_nanos(count * 1_000_000_000 / rate);
            if due >= end && under_way.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = sleep_until(due), if due < end => {
                    let (number, sent) = (pace.next, now());
                    pace.next += 1;
                    count += 1;
                    let mut command = redis::cmd("PUBLISH");
                    command.arg(self.channel(pace, number)).arg(payload(pace.case.size, number, sent));
                    let mut connection = self.connection.clone();
                    under_way.push(async move { (sent, command.exec_async(&mut connection).await) });
                }
                Some((sent, outcome)) = under_way.next(), if !under_way.is_empty() => match outcome {
                    Ok(()) => pace.confirm(sent),
                    Err(error) => pace.fail(error),
                }
            }
        }
    }
}
