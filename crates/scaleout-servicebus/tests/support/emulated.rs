//! An emulator that belongs to one test.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant, UNIX_EPOCH},
};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::{Epoch, PayloadId, StreamIndex};
#[cfg(any(feature = "websocket", feature = "rest"))]
use scaleout_servicebus::Protocol;
use scaleout_servicebus::{Reception, ServiceBusConfig};
use scaleout_testkit::fixture::{Fault, Held};
use servicebus_emulator::{Emulator, Right, Rights};

use crate::{
    nodes::{Nodes, Server},
    support::for_tests,
};

/// How nodes use the emulator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) topics: u16,
    pub(crate) reception: Reception,
    pub(crate) wire: Wire,
}

impl Default for Use {
    fn default() -> Self {
        Self { topics: 1, reception: Reception::PeekLock, wire: Wire::Plain }
    }
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    Tls,
    #[cfg(feature = "websocket")]
    WebSocket,
    /// Over TLS.
    #[cfg(feature = "rest")]
    Rest,
}

/// An emulator, and how its nodes use it.
#[derive(Debug)]
pub(crate) struct Emulated {
    emulator: Emulator,
    how: Use,
}

const APP: &str = "app";
const POLICY: &str = "RootManageSharedAccessKey";

/// How long what a dropped node had under way may go on.
const DYING: Duration = Duration::from_secs(10);

/// More than any subscription may be idle.
const AGES: Duration = Duration::from_secs(24 * 3600);

impl Emulated {
    pub(crate) async fn nodes(how: Use) -> Nodes<Self> {
        let emulator = Emulator::builder().keep_log(true).start().await.expect("free ports");
        Nodes { app: APP.into(), server: Self { emulator, how } }
    }

    /// Peek-lock over plain connections.
    pub(crate) async fn plain(topics: u16) -> Nodes<Self> {
        Self::nodes(Use { topics, ..Use::default() }).await
    }

    fn topics(&self, app: &str) -> impl Iterator<Item = String> {
        let prefix = format!("scaleout-{app}-");
        let topics = self.emulator.namespace().topics(0, usize::MAX);
        topics.into_iter().map(|topic| topic.name).filter(move |name| {
            name.strip_prefix(&prefix).is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }
}

impl Server for Emulated {
    fn config(&self, app: &str) -> ServiceBusConfig {
        let text = match self.how.wire {
            Wire::Plain => self.emulator.connection_string(),
            Wire::Tls => self.emulator.tls_connection_string(),
            #[cfg(feature = "websocket")]
            Wire::WebSocket => self.emulator.tls_connection_string(),
            #[cfg(feature = "rest")]
            Wire::Rest => self.emulator.tls_connection_string(),
        };
        let config: ServiceBusConfig =
            format!("{text};App={app}").parse().expect("its own connection string");
        let config = match self.how.wire {
            Wire::Plain => config,
            Wire::Tls => config.with_ca(self.emulator.ca_pem()),
            #[cfg(feature = "websocket")]
            Wire::WebSocket => config
                .with_ca(self.emulator.ca_pem())
                .with_protocol(Protocol::WebSocket)
                .with_amqp_port(self.emulator.websocket_port()),
            #[cfg(feature = "rest")]
            Wire::Rest => config.with_ca(self.emulator.ca_pem()).with_protocol(Protocol::Rest),
        };
        for_tests(config)
            .with_topic_count(NonZeroU16::new(self.how.topics).expect("at least one"))
            .with_reception(self.how.reception)
    }

    fn can(&self, fault: Fault) -> bool {
        // Service Bus has one copy of a topic, as far as anybody sees, and keeps no payloads of its own accord.
        !matches!(fault, Fault::Failover | Fault::Restart | Fault::Trim)
    }

    fn can_tell(&self) -> bool {
        true
    }

    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
        async move {
            let (faults, namespace) = (self.emulator.faults(), self.emulator.namespace());
            match fault {
                Fault::Outage => {
                    faults.refuse_connections(true);
                    faults.kill_connections();
                }
                Fault::Restored => faults.refuse_connections(false),
                Fault::CutLinks => {
                    faults.kill_connections();
                }
                Fault::Flush => {
                    for topic in self.topics(app) {
                        faults.delete_entity(&topic).expect("it was listed");
                    }
                }
                Fault::LoseAnswer => faults.lose_outcomes(1),
                Fault::LoseSend => faults.lose_sends(1),
                Fault::DelaySend => faults.hold_sends(1),
                Fault::Arrival => {
                    faults.release_sends();
                }
                Fault::Refuse => {
                    namespace.add_policy(POLICY, "another key", Rights::of(&[Right::Manage]));
                    faults.expire_tokens();
                    faults.kill_connections();
                }
                Fault::Accept => {
                    namespace.add_policy(POLICY, self.emulator.key().1, Rights::of(&[Right::Manage]));
                }
                Fault::Aging => {
                    // A node that was dropped just now may still be subscribing.
                    let deadline = Instant::now() + DYING;
                    while Instant::now() < deadline {
                        namespace.age(AGES);
                        if self.registrations(app) == 0 && faults.figures().connections == 0 {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
                _ => unreachable!("a fault that it can be put through"),
            }
        }
        .boxed()
    }

    fn registrations(&self, app: &str) -> usize {
        let count = |topic: String| {
            self.emulator.namespace().subscriptions(&topic, 0, usize::MAX).map_or(0, |all| all.len())
        };
        self.topics(app).map(count).sum()
    }

    fn log(&self, app: &str, stream: StreamIndex) -> Vec<Held> {
        let logged = self.emulator.namespace().log(&format!("scaleout-{app}-{}", stream.0));
        let held = |message: servicebus_emulator::Logged| Held {
            epoch: Epoch(
                message.topic_created_at.duration_since(UNIX_EPOCH).map_or(0, |at| at.as_micros() as u64),
            ),
            id: PayloadId(message.enqueued_sequence_number as u64),
            bytes: message.data().unwrap_or_default(),
        };
        logged.into_iter().map(held).collect()
    }

    fn clean_up<'a>(&'a self, _: [&'a str; 2]) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
}
