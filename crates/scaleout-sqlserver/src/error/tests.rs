use std::{error::Error as StdError, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::provider::Secret;
use tiberius::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::*;
use crate::config::{Authentication, Encryption, TokenProvider};

/// What a login of ours gets from a server that answers it with this error. Only the client can make such an error.
async fn answered(config: &SqlServerConfig, number: u32, class: u8, text: &str) -> Failure {
    let plain = config.clone().with_encryption(Encryption::NotSupported);
    let (here, there) = duplex(64 << 10);
    let answer = error_and_done(number, class, text);
    let server = async move {
        let mut there = there;
        read_message(&mut there).await;
        // The version, and that encryption is not supported.
        let prelogin = [0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2];
        write_message(&mut there, &prelogin).await;
        read_message(&mut there).await;
        write_message(&mut there, &answer).await;
    };
    let client = async {
        let client = plain.client_config("localhost", Some(1433)).await?;
        Client::connect(client, here.compat_write()).await.map(drop).map_err(Failure::from)
    };
    tokio::join!(client, server).0.expect_err("the server answers with an error")
}

async fn read_message(stream: &mut DuplexStream) {
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.expect("a header");
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        stream.read_exact(&mut vec![0; length - 8]).await.expect("a packet");
        if header[1] & 1 == 1 {
            return;
        }
    }
}

async fn write_message(stream: &mut DuplexStream, body: &[u8]) {
    let [high, low] = u16::try_from(body.len() + 8).expect("one packet").to_be_bytes();
    stream.write_all(&[4, 1, high, low, 0, 0, 1, 0]).await.expect("a header");
    stream.write_all(body).await.expect("a packet");
}

/// The tokens ERROR and DONE (MS-TDS 2.2.7.10 and 2.2.7.6).
fn error_and_done(number: u32, class: u8, text: &str) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.extend([1, class]);
    let units: Vec<u16> = text.encode_utf16().collect();
    body.extend(u16::try_from(units.len()).expect("a short text").to_le_bytes());
    body.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    body.extend([0, 0]);
    body.extend(1_u32.to_le_bytes());
    let mut tokens = vec![0xaa];
    tokens.extend(u16::try_from(body.len()).expect("a short text").to_le_bytes());
    tokens.extend(body);
    tokens.extend([0xfd, 2, 0, 0, 0]);
    tokens.extend(0_u64.to_le_bytes());
    tokens
}

fn config() -> SqlServerConfig {
    let authentication = Authentication::sql_login("chat", "hunter2");
    SqlServerConfig::new("chat".parse().unwrap(), "localhost", "app", authentication)
}

async fn error_of(number: u32, class: u8, text: &str) -> Error {
    let failure = answered(&config(), number, class, text).await;
    assert_eq!(failure.number(), Some(number));
    failure.into_error("publishing", &config())
}

/// Its kind, and that it is one line about the right thing with the server's text as the source.
async fn assert_is(number: u32, class: u8, text: &str, kind: ErrorKind, told: &str) {
    let error = error_of(number, class, text).await;
    let context = error.to_string();
    assert_eq!(error.kind(), kind, "{number}: {context}");
    assert!(context.starts_with("publishing") && !context.contains('\n'), "{number}: {context}");
    assert!(context.contains(told), "{number}: {context}");
    let source = StdError::source(&error).expect("a source").to_string();
    assert!(source.contains(text), "{number}: {source}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_passes_is_transient() {
    for (number, class, told) in [
        (64, 20, "connection"),
        (233, 20, "connection"),
        (596, 21, "session"),
        (701, 17, "memory"),
        (802, 17, "memory"),
        (921, 14, "not online"),
        (922, 14, "not online"),
        (926, 14, "suspect"),
        (927, 14, "not online"),
        (945, 16, "not online"),
        (976, 14, "listener"),
        (983, 14, "listener"),
        (1105, 17, "full"),
        (1204, 19, "locks"),
        (1205, 13, "deadlock"),
        (1222, 16, "lock time-out"),
        (2601, 14, "same row"),
        (2627, 14, "same row"),
        (2714, 16, "another node"),
        (3906, 16, "read-only"),
        (5070, 16, "ENABLE_BROKER"),
        (8426, 16, "conversation"),
        (8429, 16, "conversation"),
        (8645, 17, "memory"),
        (8651, 17, "memory"),
        (9002, 17, "transaction log"),
        (9617, 16, "ALTER QUEUE"),
        (10053, 20, "connection"),
        (10054, 20, "connection"),
        (10060, 20, "connection"),
        (10928, 20, "limit"),
        (10929, 20, "limit"),
        (15517, 16, "ALTER AUTHORIZATION ON DATABASE"),
        (17142, 14, "no connections now"),
        (18401, 14, "no connections now"),
        (40197, 17, "fails over"),
        (40501, 20, "throttles"),
        (40613, 17, "fails over"),
        (49918, 16, "throttles"),
        (49919, 16, "throttles"),
        (49920, 16, "throttles"),
        (50010, 16, "another epoch"),
        (50012, 16, "not registered"),
        (50020, 16, "another node is installing"),
        // Nobody knows these.
        (99_999, 16, ""),
        (99_999, 20, ""),
    ] {
        assert_is(number, class, "as the server says", ErrorKind::Unavailable, told).await;
    }
}

#[tokio::test]
async fn a_refused_login_tells_what_to_do() {
    let text = "Login failed for user 'chat'.";
    for (number, told) in [
        (18450, "mixed mode"),
        (18452, "mixed mode"),
        (18456, "the login [chat]"),
        (18470, "ALTER LOGIN [chat] ENABLE"),
        (18486, "UNLOCK"),
        (18487, "expired"),
        (18488, "must be changed"),
        (4064, "DEFAULT_DATABASE = [app]"),
        (40532, "Azure SQL"),
        (40615, "firewall"),
    ] {
        assert_is(number, 14, text, ErrorKind::Unauthorized, told).await;
    }
}

#[tokio::test]
async fn a_missing_grant_is_named() {
    for (number, text, told) in [
        (
            229,
            "The EXECUTE permission was denied on the object 'publish_0', database 'app', schema 'scaleout'.",
            "EXECUTE on [scaleout].[publish_0]: GRANT EXECUTE ON SCHEMA::[scaleout] TO [chat]",
        ),
        (
            229,
            "The SELECT permission was denied on the object 'layout', database 'app', schema 'scaleout'.",
            "GRANT SELECT ON [scaleout].[layout] TO [chat]",
        ),
        (
            229,
            "The EXECUTE permission was denied on the object 'sp_getapplock', database 'mssqlsystemresource', \
             schema 'sys'.",
            "in master, GRANT EXECUTE ON [sys].[sp_getapplock] TO [chat]",
        ),
        // In another language.
        (229, "Nix da.", "GRANT EXECUTE ON SCHEMA::[scaleout] TO [chat]"),
        (
            230,
            "The SELECT permission was denied on the column 'app' of the object 'layout', database 'app', schema \
             'scaleout'.",
            "GRANT SELECT ON [scaleout].[layout] TO [chat]",
        ),
        (
            262,
            "CREATE TABLE permission denied in database 'app'.",
            "in the database [app]: GRANT CREATE TABLE TO [chat]",
        ),
        (262, "Nix da.", "GRANT CREATE TABLE TO [chat]"),
        (
            300,
            "VIEW SERVER STATE permission was denied on object 'server', database 'master'.",
            "GRANT VIEW SERVER STATE TO [chat]",
        ),
        (
            15151,
            "Cannot find the schema 'scaleout', because it does not exist or you do not have permission.",
            "GRANT ALTER ON SCHEMA::[scaleout] TO [chat]",
        ),
        (
            15151,
            "Cannot find the queue 'ears', because it does not exist or you do not have permission.",
            "there is no queue [ears]",
        ),
        (
            15247,
            "User does not have permission to perform this action.",
            "GRANT ALTER ON DATABASE::[app] TO [chat]",
        ),
        (
            916,
            "The server principal \"chat\" is not able to access the database \"app\" under the current security \
             context.",
            "database [app]: there, CREATE USER [chat] FOR LOGIN [chat]",
        ),
        // Of the same class as the others.
        (99_999, "Something else.", "permission"),
    ] {
        assert_is(number, 14, text, ErrorKind::Unauthorized, told).await;
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    for (number, text, told) in [
        (208, "Invalid object name 'scaleout.layout'.", "scaleout.layout is not in the database [app]"),
        (2812, "Could not find stored procedure 'scaleout.positions'.", "scaleout.positions"),
        (8144, "Procedure or function publish_0 has too many arguments specified.", "another version"),
        (911, "Database 'app' does not exist.", "CREATE DATABASE [app]"),
        (
            4060,
            "Cannot open database \"app\" requested by the login. The login failed.",
            "CREATE USER [chat]",
        ),
        (
            2760,
            "The specified schema name \"scaleout\" either does not exist or you do not have permission to use it.",
            "CREATE SCHEMA [scaleout]",
        ),
        (50001, "publish must not run inside a transaction", "IMPLICIT_TRANSACTIONS"),
        (9772, "The Service Broker in database \"app\" cannot be enabled.", "NEW_BROKER"),
        (1468, "The operation cannot be performed on database \"app\".", "availability group"),
    ] {
        assert_is(number, 16, text, ErrorKind::Config, told).await;
    }
}

#[tokio::test]
async fn what_a_server_cannot_do_is_unsupported() {
    for (number, text) in [
        (102, "Incorrect syntax near 'IF'."),
        (343, "Unknown object type 'QUEUE' used in a CREATE, DROP, or ALTER statement."),
        (40510, "Statement 'CREATE QUEUE' is not supported in this version of SQL Server."),
    ] {
        assert_is(number, 15, text, ErrorKind::Unsupported, "").await;
    }
}

#[tokio::test]
async fn babelfish_is_read_by_its_words() {
    for (text, kind) in [
        ("relation \"scaleout.layout\" does not exist", ErrorKind::Config),
        ("'WAITFOR' is not currently supported in Babelfish", ErrorKind::Unsupported),
        ("canceling statement due to lock timeout", ErrorKind::Unavailable),
    ] {
        assert_is(33_557_097, 16, text, kind, "").await;
    }
    for (text, grant) in [
        ("permission denied for procedure positions", "GRANT EXECUTE ON SCHEMA::[scaleout]"),
        ("must be owner of procedure scaleout_scaleout.positions", "log in as the owner"),
        ("permission denied for table layout", "GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA::[scaleout]"),
    ] {
        assert_is(33_557_097, 16, text, ErrorKind::Unauthorized, grant).await;
        assert!(answered(&config(), 33_557_097, 16, text).await.is_denied());
    }
}

#[tokio::test]
async fn names_of_the_settings_are_quoted() {
    let authentication = Authentication::sql_login("we]ird@server", "hunter2");
    let config = SqlServerConfig::new("chat".parse().unwrap(), "localhost", "my app", authentication);
    let told = |failure: Failure| failure.into_error("trying", &config).to_string();
    assert!(told(answered(&config, 229, 14, "?").await).contains("TO [we]]ird]"));
    assert!(told(answered(&config, 911, 16, "?").await).contains("[my app]"));
}

#[test]
fn failures_of_the_link_are_classified() {
    let kind = |failure: Failure| failure.into_error("connecting", &config()).kind();
    let of_client =
        |kind, message: &str| Failure::Client(ClientError::Io { kind, message: message.to_owned() });
    assert_eq!(kind(Failure::TimedOut { after: Duration::from_secs(1) }), ErrorKind::Timeout);
    assert_eq!(kind(Failure::Connect(io::ErrorKind::ConnectionRefused.into())), ErrorKind::Unavailable);
    assert_eq!(kind(Failure::Connect(io::ErrorKind::TimedOut.into())), ErrorKind::Timeout);
    assert_eq!(kind(of_client(io::ErrorKind::UnexpectedEof, "gone")), ErrorKind::Unavailable);
    assert_eq!(kind(of_client(io::ErrorKind::TimedOut, "late")), ErrorKind::Timeout);
    let no_roots = "no usable CA certificates found in the platform trust store";
    assert_eq!(kind(of_client(io::ErrorKind::NotFound, no_roots)), ErrorKind::Config);
    let of_protocol = |text: &'static str| Failure::Client(ClientError::Protocol(text.into()));
    assert_eq!(kind(of_protocol("Never got DONE token.")), ErrorKind::Unavailable);
    assert_eq!(kind(of_protocol("Server does not allow the requested encryption level.")), ErrorKind::Config);
    let browser = ClientError::Conversion("SQL browser timeout during resolving instance x".into());
    let browser = Failure::Client(browser).into_error("connecting", &config());
    assert_eq!(browser.kind(), ErrorKind::Unavailable);
    assert!(browser.to_string().contains("1434"));

    let text = "the server's certificate was rejected: x. To connect anyway you can: (1) `Config::trust_cert_ca(path)`";
    let error = Failure::Client(ClientError::Tls(text.into())).into_error("connecting", &config());
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("set ca"));
    assert!(!StdError::source(&error).unwrap().to_string().contains("To connect"));
}

struct NoToken;

impl TokenProvider for NoToken {
    fn token(&self) -> BoxFuture<'_, Result<Secret, Error>> {
        async { Err(Error::new(ErrorKind::Unauthorized, "the identity has no such right")) }.boxed()
    }
}

#[tokio::test]
async fn a_token_provider_decides_what_its_failure_is() {
    let config = config().with_authentication(Authentication::AccessToken(Arc::new(NoToken)));
    let failure = config.client_config("localhost", None).await.expect_err("there is no token");
    assert_eq!(failure.number(), None);
    let error = failure.into_error("connecting", &config);
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(error.to_string(), "connecting: the token provider has no token");
    assert_eq!(StdError::source(&error).unwrap().to_string(), "the identity has no such right");
}
