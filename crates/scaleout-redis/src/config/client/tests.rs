use redis::AsyncConnectionConfig;
use scaleout_core::ErrorKind;

use crate::{
    config::{Endpoint, RedisConfig},
    error::from_redis,
    test_server::TestServer,
};

async fn ping(config: &RedisConfig, endpoint: &Endpoint) -> Result<String, scaleout_core::Error> {
    let mut connection = config.connect(endpoint, false, AsyncConnectionConfig::new()).await?;
    redis::cmd("PING")
        .query_async(&mut connection)
        .await
        .map_err(|error| from_redis(error, "pinging", config))
}

#[tokio::test]
async fn a_unix_socket_is_reached() {
    let Some(server) = TestServer::start(&[("requirepass", "pw")]).await else { return };
    let endpoint = Endpoint::Unix(server.0.unix_socket_path().to_owned());
    let config = server.config().with_password("pw").with_database(2);
    assert_eq!(ping(&config, &endpoint).await.unwrap(), "PONG");
}

#[tokio::test]
async fn sentinels_have_their_own_login() {
    let Some(server) = TestServer::start(&[("requirepass", "of-the-sentinel")]).await else { return };
    let config = server.config().with_password("of-the-server").with_database(3);
    let connect = |config: RedisConfig| {
        let endpoint = server.endpoint();
        async move { config.connect(&endpoint, true, AsyncConnectionConfig::new()).await.map(drop) }
    };
    connect(config.clone().with_sentinel_password("of-the-sentinel")).await.unwrap();
    let error = connect(config.with_sentinel_password("of-the-server")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_the_time_out() {
    // It accepts, and nobody reads.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
    let config: RedisConfig = "redis://:pw@unused?app=chat&connect_timeout=50ms".parse().unwrap();
    assert_eq!(ping(&config, &endpoint).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_server_that_refuses_the_connection_is_heard() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            // What is not read would turn the end of the stream into a reset.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"-DENIED Redis is running in protected mode\r\n");
        }
    });
    for url in ["redis://h?app=chat", "redis://:pw@h?app=chat"] {
        let error = ping(&url.parse().unwrap(), &endpoint).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        assert!(error.to_string().contains("protected mode"), "{error}");
    }
}

#[cfg(feature = "tls")]
mod tls {
    use scaleout_testkit::servers::{RedisServer, TestCa};

    use super::*;
    use crate::config::TlsConfig;

    async fn start(ca: &TestCa) -> Option<TestServer> {
        TestServer::start_as(RedisServer::builder().tls(ca).require_client_certificates()).await
    }

    fn localhost(server: &TestServer) -> Endpoint {
        Endpoint::tcp("localhost", server.0.tls_port().expect("it has TLS"))
    }

    #[tokio::test]
    async fn both_sides_show_their_certificates() {
        let ca = TestCa::for_names(["localhost"]).unwrap();
        let Some(server) = start(&ca).await else { return };
        let tls = TlsConfig::default()
            .with_ca(ca.ca_pem())
            .with_client_certificate(ca.client_certificate_pem(), ca.client_key_pem());
        let config = server.config().with_tls(tls);
        config.check().unwrap();
        let localhost = localhost(&server);
        assert_eq!(ping(&config, &localhost).await.unwrap(), "PONG");

        // The certificate is for the name only.
        let port = server.0.tls_port().unwrap();
        let error = ping(&config, &Endpoint::tcp("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");

        // By the paths of files, and by a URL.
        let url = format!(
            "rediss://localhost:{port}?app=chat&ca={}&client_cert={}&client_key={}",
            ca.ca_file().display(),
            ca.client_certificate_file().display(),
            ca.client_key_file().display(),
        );
        assert_eq!(ping(&url.parse().unwrap(), &localhost).await.unwrap(), "PONG");
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_trusted_is_refused_by_either_side() {
        let (ca, foreign) = (TestCa::new().unwrap(), TestCa::new().unwrap());
        let Some(server) = start(&ca).await else { return };
        let localhost = localhost(&server);
        for tls in [TlsConfig::default(), TlsConfig::default().with_ca(foreign.ca_pem())] {
            let error = ping(&server.config().with_tls(tls), &localhost).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        }
        let (cert, key) = (foreign.client_certificate_pem(), foreign.client_key_pem());
        let tls = TlsConfig::default().with_ca(ca.ca_pem());
        for tls in [tls.clone(), tls.with_client_certificate(cert, key)] {
            let error = ping(&server.config().with_tls(tls), &localhost).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
            assert!(error.to_string().contains("client_cert"), "{error}");
        }
    }

    #[test]
    fn what_is_no_pem_is_refused_before_any_connection() {
        let tls = TlsConfig::default().with_ca("no certificate").with_client_certificate("neither", "no key");
        let config: RedisConfig = "redis://h?app=chat".parse().unwrap();
        let error = config.with_tls(tls).check().unwrap_err().to_string();
        assert!(["ca ", "client_cert", "client_key"].iter().all(|part| error.contains(part)), "{error}");
    }
}
