//! Servers that speak TLS.

use redis::{Client, ClientTlsConfig, RedisError, TlsCertificates};
use scaleout_testkit::{
    needs_redis,
    servers::{RedisServer, TestCa},
};

use crate::{connect, connect_by};

#[tokio::test]
async fn a_client_that_trusts_the_authority_gets_in() {
    needs_redis!();
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let server = RedisServer::builder().tls(&ca).start().await.unwrap();
    ping(&server, &ca, None).await.unwrap();
    assert!(ping(&server, &other, None).await.is_err());
    // Plain clients get in as before.
    connect(server.url()).await.unwrap();
    server.restart().await.unwrap();
    ping(&server, &ca, None).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_good_for_its_names_alone() {
    needs_redis!();
    let ca = TestCa::for_names(["elsewhere.test"]).unwrap();
    let server = RedisServer::builder().tls(&ca).start().await.unwrap();
    assert!(ping(&server, &ca, None).await.is_err());
}

#[tokio::test]
async fn client_certificates_can_be_required() {
    needs_redis!();
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let server = RedisServer::builder().tls(&ca).require_client_certificates().start().await.unwrap();
    ping(&server, &ca, Some(&ca)).await.unwrap();
    assert!(ping(&server, &ca, None).await.is_err());
    assert!(ping(&server, &ca, Some(&other)).await.is_err());
}

#[test]
fn the_files_go_with_the_last_clone() {
    let ca = TestCa::new().unwrap();
    let clone = ca.clone();
    let file = ca.client_key_file();
    drop(ca);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), clone.client_key_pem());
    drop(clone);
    assert!(!file.exists());
}

/// Connects as a client that trusts one authority, with a certificate of another one.
async fn ping(server: &RedisServer, trusted: &TestCa, own: Option<&TestCa>) -> Result<(), RedisError> {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = TlsCertificates {
        client_tls: own.map(|ca| ClientTlsConfig {
            client_cert: ca.client_certificate_pem().into(),
            client_key: ca.client_key_pem().into(),
        }),
        root_cert: Some(trusted.ca_pem().into()),
    };
    let client = Client::build_with_tls(server.tls_url().expect("a TLS port"), certificates)?;
    let mut connection = connect_by(client).await?;
    redis::cmd("PING").query_async(&mut connection).await
}
