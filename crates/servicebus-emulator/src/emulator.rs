//! The emulator in a process: [`Emulator`].

mod builder;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

pub use self::builder::EmulatorBuilder;
use crate::{context::Context, faults::Faults, http, listen, namespace::Namespace, tls::Tls};

/// How often is looked for what time brings. Receivers wait for it when a lock is over.
const SWEEP: Duration = Duration::from_millis(20);

/// Something that the emulator listens for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// AMQP in plain text.
    Amqp,
    /// AMQP under TLS.
    Amqps,
    /// Management and REST in plain text; and `/$emulator`.
    Http,
    /// Management and REST under TLS; and `/$emulator`.
    Https,
    /// AMQP inside of WebSocket in plain text.
    WebSocket,
    /// AMQP inside of WebSocket under TLS, as Azure has it.
    SecureWebSocket,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Amqp, Self::Amqps, Self::Http, Self::Https, Self::WebSocket, Self::SecureWebSocket];

    fn is_secure(self) -> bool {
        matches!(self, Self::Amqps | Self::Https | Self::SecureWebSocket)
    }
}

/// A namespace that listens; it ends when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    context: Context,
    /// The first key that may do everything, or the first there is: name and text.
    key: (String, String),
    addresses: BTreeMap<Endpoint, SocketAddr>,
    tls: Tls,
    tasks: JoinSet<()>,
}

impl Emulator {
    /// What an emulator is to be like. Unless it is told otherwise, it listens for everything, on free ports of 127.0.0.1.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    async fn start(
        endpoints: BTreeMap<Endpoint, SocketAddr>,
        key: (String, String),
        tls: Tls,
        namespace: Namespace,
    ) -> io::Result<Self> {
        let faults = Faults::new(namespace.clone());
        let context = Context { namespace, faults };
        let mut addresses = BTreeMap::new();
        let mut tasks = JoinSet::new();
        for (endpoint, address) in endpoints {
            let listener = TcpListener::bind(address).await?;
            addresses.insert(endpoint, listener.local_addr()?);
            let acceptor = endpoint.is_secure().then(|| tls.acceptor());
            let context = context.clone();
            match endpoint {
                Endpoint::Amqp | Endpoint::Amqps => tasks.spawn(listen::amqp(listener, acceptor, context)),
                Endpoint::Http | Endpoint::Https => tasks.spawn(http::serve(listener, acceptor, context)),
                Endpoint::WebSocket | Endpoint::SecureWebSocket => {
                    tasks.spawn(listen::websocket(listener, acceptor, context))
                }
            };
        }
        tasks.spawn(keep(context.namespace.clone()));
        Ok(Self { context, key, addresses, tls, tasks })
    }

    /// Where it listens for something. `None`: it does not.
    pub fn address(&self, endpoint: Endpoint) -> Option<SocketAddr> {
        self.addresses.get(&endpoint).copied()
    }

    /// The port for AMQP in plain text; 0 where there is none, as with all of these.
    pub fn amqp_port(&self) -> u16 {
        self.port(Endpoint::Amqp)
    }

    /// The port for AMQP under TLS.
    pub fn amqps_port(&self) -> u16 {
        self.port(Endpoint::Amqps)
    }

    /// The port for management and REST in plain text.
    pub fn http_port(&self) -> u16 {
        self.port(Endpoint::Http)
    }

    /// The port for management and REST under TLS.
    pub fn https_port(&self) -> u16 {
        self.port(Endpoint::Https)
    }

    /// The port for AMQP inside of WebSocket under TLS.
    pub fn websocket_port(&self) -> u16 {
        self.port(Endpoint::SecureWebSocket)
    }

    /// The port for AMQP inside of WebSocket in plain text.
    pub fn plain_websocket_port(&self) -> u16 {
        self.port(Endpoint::WebSocket)
    }

    /// The certificate of the authority that its TLS listeners' certificate is of, as PEM. Every emulator has its own.
    pub fn ca_pem(&self) -> &str {
        self.tls.ca_pem()
    }

    /// A connection string for clients that speak AMQP in plain text, with the first key that may do everything.
    ///
    /// `ManagementEndpoint` is not one of Microsoft's keys: their SDKs look for the management API on port 5300.
    pub fn connection_string(&self) -> String {
        let (policy, key) = &self.key;
        self.connection_string_of(policy, key)
    }

    /// A connection string for clients that speak AMQP and HTTP under TLS, and trust [`ca_pem`](Self::ca_pem).
    pub fn tls_connection_string(&self) -> String {
        let (policy, key) = &self.key;
        let amqps = self.reachable(Endpoint::Amqps);
        let https = self.reachable(Endpoint::Https);
        format!(
            "Endpoint=sb://{amqps};SharedAccessKeyName={policy};SharedAccessKey={key};ManagementEndpoint=https://{https}"
        )
    }

    /// The name and the text of the key that connection strings have.
    pub fn key(&self) -> (&str, &str) {
        (&self.key.0, &self.key.1)
    }

    /// As [`connection_string`](Self::connection_string), with another key.
    pub fn connection_string_of(&self, policy: &str, key: &str) -> String {
        let amqp = self.reachable(Endpoint::Amqp);
        let http = self.reachable(Endpoint::Http);
        format!(
            "Endpoint=sb://{amqp};SharedAccessKeyName={policy};SharedAccessKey={key};\
             UseDevelopmentEmulator=true;ManagementEndpoint=http://{http}"
        )
    }

    /// What it holds.
    pub fn namespace(&self) -> &Namespace {
        &self.context.namespace
    }

    /// What can be made to go wrong.
    pub fn faults(&self) -> &Faults {
        &self.context.faults
    }

    /// Closes everything, and waits for it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    fn port(&self, endpoint: Endpoint) -> u16 {
        self.address(endpoint).map_or(0, |address| address.port())
    }

    /// Host and port as a client on this machine writes them.
    fn reachable(&self, endpoint: Endpoint) -> SocketAddr {
        let mut address = self.address(endpoint).unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        address
    }
}

async fn keep(namespace: Namespace) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        namespace.sweep();
    }
}
