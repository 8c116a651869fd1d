//! A namespace that the environment variable `SCALEOUT_TEST_SERVICEBUS` names.

use std::{net::ToSocketAddrs as _, num::NonZeroU16, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::StreamIndex;
use scaleout_servicebus::{ServiceBusBackplane, ServiceBusConfig};
use scaleout_testkit::{
    fixture::{Fault, Held},
    servers::{TcpProxy, servicebus_settings},
};

use crate::{
    nodes::{Nodes, Server},
    support::for_tests,
};

/// The namespace, and the proxy before it where connections have no TLS.
pub(crate) struct Real {
    direct: ServiceBusConfig,
    proxy: Option<TcpProxy>,
    topics: NonZeroU16,
}

/// The settings of the namespace that the environment names; `None`, said aloud, where it names none.
///
/// # Panics
/// Where it names none, and `SCALEOUT_TEST_REQUIRE` demands one.
pub(crate) fn settings(test: &str) -> Option<ServiceBusConfig> {
    let text = servicebus_settings(test, "app")?;
    Some(text.parse().expect("a connection string of a namespace"))
}

impl Real {
    /// Nodes of a fresh app.
    pub(crate) async fn nodes(direct: ServiceBusConfig, topics: u16) -> Nodes<Self> {
        let proxy = match direct.development_emulator {
            true => {
                let address = (direct.host.as_str(), direct.amqp_port.unwrap_or(5672)).to_socket_addrs();
                let address = address.expect("a host").next().expect("an address");
                Some(TcpProxy::start(address).await.expect("a free port"))
            }
            false => None,
        };
        let topics = NonZeroU16::new(topics).expect("at least one");
        Nodes { app: format!("t-{:08x}", fastrand::u32(..)), server: Self { direct, proxy, topics } }
    }

    async fn delete(&self, app: &str) {
        let backplane = ServiceBusBackplane::new(self.config(app)).expect("settings that work");
        backplane.delete_topics().await.expect("the right Manage");
    }
}

impl Server for Real {
    fn config(&self, app: &str) -> ServiceBusConfig {
        let mut config = for_tests(self.direct.clone())
            .with_topic_count(self.topics)
            // It may be far away, or busy.
            .with_operation_timeout(Duration::from_secs(20));
        config.app = app.parse().expect("a name");
        match &self.proxy {
            Some(proxy) => {
                let management = config.management_endpoint.clone();
                let direct = format!("http://{}:5300", config.host);
                config.host = "127.0.0.1".into();
                config.with_amqp_port(proxy.port()).with_management_endpoint(management.unwrap_or(direct))
            }
            None => config,
        }
    }

    fn can(&self, fault: Fault) -> bool {
        match fault {
            Fault::Flush => true,
            Fault::CutLinks | Fault::Outage | Fault::Restored => self.proxy.is_some(),
            _ => false,
        }
    }

    fn can_tell(&self) -> bool {
        false
    }

    fn inject<'a>(&'a self, app: &'a str, fault: Fault) -> BoxFuture<'a, ()> {
        async move {
            match (fault, &self.proxy) {
                (Fault::Flush, _) => self.delete(app).await,
                (Fault::CutLinks, Some(proxy)) => proxy.cut_all(),
                (Fault::Outage, Some(proxy)) => {
                    proxy.refuse().await;
                    proxy.cut_all();
                }
                (Fault::Restored, Some(proxy)) => proxy.accept().await.expect("its port is free"),
                _ => unreachable!("a fault that it can be put through"),
            }
        }
        .boxed()
    }

    fn registrations(&self, _: &str) -> usize {
        unreachable!("nobody can tell")
    }

    fn log(&self, _: &str, _: StreamIndex) -> Vec<Held> {
        unreachable!("nobody can tell")
    }

    fn clean_up<'a>(&'a self, apps: [&'a str; 2]) -> BoxFuture<'a, ()> {
        async move {
            for app in apps {
                self.delete(app).await;
            }
        }
        .boxed()
    }
}
