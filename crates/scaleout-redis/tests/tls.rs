//! The conformance suite over TLS: nodes with a certificate each, on a server that shows one as well.

#[path = "support/log.rs"]
mod log;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/standalone.rs"]
mod standalone;
mod support;

use scaleout_redis::TlsConfig;
use scaleout_testkit::{
    conformance_tests, needs_redis,
    servers::{RedisServer, TestCa},
};

use self::{nodes::Nodes, standalone::Standalone};

conformance_tests!({
    needs_redis!();
    start().await
});

async fn start() -> Nodes<Standalone> {
    let ca = TestCa::new().expect("an authority");
    let tls = TlsConfig::default()
        .with_ca(ca.ca_pem())
        .with_client_certificate(ca.client_certificate_pem(), ca.client_key_pem());
    let builder = RedisServer::builder().tls(&ca).require_client_certificates();
    Standalone::start(builder, move |config| config.with_tls(tls.clone())).await
}
