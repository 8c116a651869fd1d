//! Encrypted connections.

use scaleout_testkit::servers::TestCa;
use sqlserver_testserver::{TestServer, TestServerBuilder};
use tiberius::{Config, EncryptionLevel};

use crate::support::{batch, config, connect_with};

fn tls(ca: &TestCa) -> (String, String) {
    let read = |path| std::fs::read_to_string(path).expect("a file");
    (read(ca.server_certificate_file()), read(ca.server_key_file()))
}

async fn start(ca: &TestCa, with: impl Fn(TestServerBuilder, &str, &str) -> TestServerBuilder) -> TestServer {
    let (certificate, key) = tls(ca);
    with(TestServer::builder(), &certificate, &key).start().await.expect("a free port")
}

fn with_ca(server: &TestServer, ca: &TestCa, level: EncryptionLevel) -> Config {
    let mut config = config(server);
    config.encryption(level);
    config.trust_cert_ca(ca.ca_file().to_str().expect("a plain path"));
    config
}

#[tokio::test]
async fn every_way_to_encrypt_works() {
    let ca = TestCa::new().unwrap();
    let server = start(&ca, TestServerBuilder::tls).await;
    for level in [
        EncryptionLevel::Required,
        EncryptionLevel::On,
        EncryptionLevel::Off,
        EncryptionLevel::Strict,
        EncryptionLevel::NotSupported,
    ] {
        let mut client = connect_with(with_ca(&server, &ca, level))
            .await
            .unwrap_or_else(|error| panic!("{level:?}: {error}"));
        let rows = batch(&mut client, "SELECT @@TRANCOUNT").await.unwrap().remove(0);
        assert_eq!(rows[0].get(0), Some(0_i32), "{level:?}");
        // More than one packet and one TLS record, both ways.
        let long = format!("SELECT N'{}'", "x".repeat(4000));
        assert_eq!(batch(&mut client, &long).await.unwrap()[0][0].get::<&str, _>(0).unwrap().len(), 4000);
    }
}

#[tokio::test]
async fn a_server_that_requires_encryption_lets_nobody_in_without() {
    let ca = TestCa::new().unwrap();
    let server = start(&ca, TestServerBuilder::require_tls).await;
    connect_with(with_ca(&server, &ca, EncryptionLevel::Required)).await.unwrap();
    let other = TestCa::new().unwrap();
    assert!(connect_with(with_ca(&server, &other, EncryptionLevel::Required)).await.is_err());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_client_that_requires_encryption_does_not_go_without() {
    let server = TestServer::launch().await.unwrap();
    let mut config = config(&server);
    config.encryption(EncryptionLevel::Required);
    assert!(connect_with(config).await.is_err());
}

#[tokio::test]
async fn an_access_token_opens_the_door() {
    let ca = TestCa::new().unwrap();
    let server =
        start(&ca, |builder, certificate, key| builder.tls(certificate, key).access_token("a token")).await;
    let mut config = with_ca(&server, &ca, EncryptionLevel::Required);
    config.authentication(tiberius::AuthMethod::aad_token("a token"));
    connect_with(config.clone()).await.unwrap();
    config.authentication(tiberius::AuthMethod::aad_token("another"));
    assert_eq!(crate::support::number(connect_with(config).await), 18456);
}
