use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use proptest::prelude::*;
use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use scaleout_core::provider::Secret;
use tiberius::Client;
use tokio::io::{AsyncReadExt, duplex};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::*;

fn config() -> SqlServerConfig {
    SqlServerConfig::new("chat".parse().unwrap(), "h", "d", Authentication::sql_login("u", "p"))
}

fn parsed(text: &str) -> SqlServerConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<SqlServerConfig>().expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!error.to_string().contains('\n'));
    error.to_string()
}

struct FixedToken;

impl TokenProvider for FixedToken {
    fn token(&self) -> BoxFuture<'_, Result<Secret, Error>> {
        async { Ok(Secret::from("hunter3")) }.boxed()
    }
}

fn token() -> Authentication {
    Authentication::AccessToken(Arc::new(FixedToken))
}

#[test]
fn the_defaults_work() {
    assert_eq!(config().check().map_err(|error| error.to_string()), Ok(()));
    assert_eq!(config().with_authentication(token()).check().map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn check_names_every_problem_at_once() {
    let wrong = SqlServerConfig::new("chat".parse().unwrap(), "", "", Authentication::sql_login("", ""))
        .with_port(0)
        .with_instance("a b")
        .with_trust_server_certificate(true)
        .with_ca("no PEM")
        .with_host_name_in_certificate("a b")
        .with_application_name("")
        .with_packet_size(511)
        .with_schema("a-b")
        .with_table_count(NonZeroU16::new(65).unwrap())
        .with_max_retained_age(Duration::ZERO)
        .with_max_retained_bytes(1)
        .with_max_retained_rows(0)
        .with_sender_expiry(MINUTE)
        .with_max_payload_bytes(65 << 20)
        .with_min_poll(Duration::ZERO)
        .with_max_poll_with_broker(Duration::from_secs(61))
        .with_connect_timeout(Duration::ZERO)
        .with_command_timeout(Duration::ZERO)
        .with_min_backoff(Duration::ZERO)
        .with_max_backoff(2 * HOUR)
        .with_fatal_retry(Duration::ZERO);
    let text = wrong.check().unwrap_err().to_string();
    for told in [
        "sqlserver settings: ",
        "user is missing",
        "password is missing",
        "schema is not",
        "table_count is above 64",
        "host is not",
        "port is 0",
        "instance is not",
        "database is missing",
        "application_name is not",
        "packet_size is not",
        "host_name_in_certificate is not",
        "ca is set, and trust_server_certificate",
        "ca holds no certificate",
        "max_payload_bytes is above",
        "max_retained_bytes is below",
        "max_retained_rows is 0",
        "max_retained_age is 0",
        "sender_expiry is below 1 hour",
        "min_poll is below",
        "max_poll_with_broker is above",
        "connect_timeout is 0",
        "command_timeout is below",
        "min_backoff is 0",
        "max_backoff is above",
        "fatal_retry is 0",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (wrong, told) in [
        (
            config().with_encryption(Encryption::NotSupported).with_host_name_in_certificate("h"),
            "are for TLS",
        ),
        (config().with_encryption(Encryption::NotSupported).with_authentication(token()), "access token"),
        (config().with_encryption(Encryption::Strict).with_trust_server_certificate(true), "strict"),
        (config().with_enable_broker(true).with_install(Install::Verify), "install=create"),
        (config().with_enable_broker(true).with_notifications(Notifications::PollOnly), "poll_only"),
        (config().with_min_poll(2 * MINUTE), "max_poll is below min_poll"),
        (config().with_max_poll(MINUTE), "max_poll_with_broker is below max_poll"),
        (config().with_max_retained_age(25 * HOUR), "sender_expiry is below max_retained_age"),
    ] {
        let text = wrong.check().unwrap_err().to_string();
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn a_url_is_read() {
    let all = parsed(
        "sqlserver://us%65r:p%40ss+w@db.example:14330/my%20app?app=chat&encrypt=login_only\
         &trust_server_certificate=yes&application_name=x&packet_size=4096&schema=s1&install=create\
         &enable_broker=true&notifications=auto&table_count=8&max_connections=2&max_retained_age=5m\
         &max_retained_bytes=128MiB&max_retained_rows=10&sender_expiry=2h&max_payload_bytes=1MB&min_poll=20ms\
         &max_poll=2&max_poll_with_broker=20s&connect_timeout=3s&command_timeout=1.5&min_backoff=10ms\
         &max_backoff=2s&fatal_retry=10s",
    );
    let login = Authentication::sql_login("user", "p@ss+w");
    let expected = SqlServerConfig::new("chat".parse().unwrap(), "db.example", "my app", login)
        .with_port(14330)
        .with_encryption(Encryption::LoginOnly)
        .with_trust_server_certificate(true)
        .with_application_name("x")
        .with_packet_size(4096)
        .with_schema("s1")
        .with_enable_broker(true)
        .with_table_count(NonZeroU16::new(8).unwrap())
        .with_max_connections(NonZeroU16::new(2).unwrap())
        .with_max_retained_age(Duration::from_secs(300))
        .with_max_retained_bytes(128 << 20)
        .with_max_retained_rows(10)
        .with_sender_expiry(2 * HOUR)
        .with_max_payload_bytes(1_000_000)
        .with_min_poll(Duration::from_millis(20))
        .with_max_poll(Duration::from_secs(2))
        .with_max_poll_with_broker(Duration::from_secs(20))
        .with_connect_timeout(Duration::from_secs(3))
        .with_command_timeout(Duration::from_millis(1500))
        .with_min_backoff(Duration::from_millis(10))
        .with_max_backoff(Duration::from_secs(2))
        .with_fatal_retry(Duration::from_secs(10));
    assert_eq!(all, expected);
    assert_eq!(parsed("MSSQL://u:p@h/d/?app=chat"), config());
    assert_eq!(parsed("sqlserver://h?app=chat&database=d&user=u&password=p"), config());
    assert_eq!(parsed("sqlserver://u:p@[::1]:7/d?app=a").host, "::1");
    assert_eq!(parsed("sqlserver://u:p@[::1]/d?app=a").port, None);
    assert_eq!(
        parsed("sqlserver://u:p@h/d?app=a&instance=SQLEXPRESS").instance.as_deref(),
        Some("SQLEXPRESS")
    );
    assert_eq!(parsed("sqlserver://u:p@h/d?app=a&encryption=strict").encryption, Encryption::Strict);
}

#[test]
fn what_is_wrong_in_a_url_is_named() {
    for (url, told) in [
        ("mysql://u:p@h/d?app=a", "sqlserver://"),
        ("jdbc:sqlserver://h:1433;databaseName=d", "JDBC"),
        ("sqlserver://u:p@h/d", "app is missing"),
        ("sqlserver://u:p@h/d?app=A", "app is not 1 to 31"),
        ("sqlserver://u:p@h?app=a", "database is missing"),
        ("sqlserver://h/d?app=a", "user is missing; password is missing"),
        ("sqlserver://u@h/d?app=a", "password is missing"),
        ("sqlserver://u:p@/d?app=a", "host is missing"),
        ("sqlserver://u:p@h:x/d?app=a", "port is not"),
        ("sqlserver://u:p@h:0/d?app=a", "port is 0"),
        ("sqlserver://u:p@h:/d?app=a", "port is empty"),
        ("sqlserver://u:p@h1,h2/d?app=a", "listener"),
        ("sqlserver://u:p@[::1/d?app=a", "IPv6"),
        ("sqlserver://u:p@[x]/d?app=a", "IPv6"),
        ("sqlserver://u:p@h/instance/d?app=a", "instance=<name>"),
        ("sqlserver://u:p@h/d?app=a&stream=4", "no option stream"),
        ("sqlserver://u:p@h/d?app=a&app=b", "app is given twice"),
        ("sqlserver://u:p@h/d?app=a&database=e", "database is given twice"),
        ("sqlserver://u:p@h/d?app=a&schema=", "schema is empty"),
        ("sqlserver://u:p@h/d?app=a&schema", "schema is empty"),
        ("sqlserver://u:p@h/d?app=a&schema=%FF", "not UTF-8"),
        ("sqlserver://u:p@h/d?app=a&encrypt=maybe", "encryption is none of required, strict"),
        ("sqlserver://u:p@h/d?app=a&install=drop", "install is none of create, verify, none"),
        ("sqlserver://u:p@h/d?app=a&enable_broker=si", "enable_broker is neither"),
        ("sqlserver://u:p@h/d?app=a&table_count=0", "table_count is not a whole number"),
        ("sqlserver://u:p@h/d?app=a&ca=/nonexistent", "ca is not the path"),
        ("sqlserver://u:p@h/d?app=a&max_poll=soon", "max_poll is not a duration"),
        ("sqlserver://u:p@h/d?app=a&authentication=integrated", "integrated"),
        ("sqlserver://u:p@h/d?app=a&TableCount=4", "no option TableCount"),
    ] {
        let text = refusal(url);
        assert!(text.contains(told), "{url}: {text}");
    }
    let once = refusal("sqlserver://u:p@/d?app=a");
    assert_eq!(once, "sqlserver settings: host is missing");
    let once = refusal("sqlserver://u:p@h1,h2/?app=a&database=");
    assert_eq!(
        once,
        "sqlserver settings: host is a list: write the listener of the availability group; database is empty"
    );
}

#[test]
fn a_connection_string_is_read() {
    for text in [
        "Server=h;Database=d;User ID=u;Password=p;App=chat",
        "data source = tcp:h ; INITIAL CATALOG = d ; uid = u ; pwd = p ; app = chat ;",
        "Addr=h;database=d;User=u;PWD=\"p\";APP='chat';;",
        "Address=tcp:h;Database=d;UserID=u;Password=p;App=chat;Pooling=true;MultipleActiveResultSets=False;Enlist=false;\
         Persist Security Info=False;Workstation ID=w;Connect Retry Count=3;MultiSubnetFailover=True;\
         ApplicationIntent=ReadWrite;Integrated Security=false;Authentication=Sql Password;Failover Partner=;\
         Network Library=dbmssocn;User Instance=false",
        "Network Address=h\\MSSQLSERVER;Database=d;User ID=u;Password=p;App=chat",
    ] {
        assert_eq!(parsed(text), config(), "{text}");
    }

    let all = parsed(
        "Server=tcp:h\\I$1,14330;Database=\"a;b\"\"c\";User ID='o''hara';Password={x}='y;App=chat;Encrypt=Optional;\
         TrustServerCertificate=True;Application Name=x y;Packet Size=4096;Connect Timeout=30;Command Timeout=60;\
         Max Pool Size=8;TableCount=2;table_count_=;Max Retained Age=5m;Schema=s",
    );
    let login = Authentication::sql_login("o'hara", "{x}='y");
    let expected = SqlServerConfig::new("chat".parse().unwrap(), "h", "a;b\"c", login)
        .with_port(14330)
        .with_instance("I$1")
        .with_encryption(Encryption::LoginOnly)
        .with_trust_server_certificate(true)
        .with_application_name("x y")
        .with_packet_size(4096)
        .with_connect_timeout(Duration::from_secs(30))
        .with_command_timeout(MINUTE)
        .with_max_connections(NonZeroU16::new(8).unwrap())
        .with_table_count(NonZeroU16::new(2).unwrap())
        .with_max_retained_age(5 * MINUTE)
        .with_schema("s");
    assert_eq!(all, expected);

    let server = |server: &str| parsed(&format!("Server={server};Database=d;User ID=u;Password=p;App=chat"));
    for local in [".", "(local)", "(LOCAL)", "localhost", "tcp:.", "tcp: (local)"] {
        assert_eq!(server(local).host, "localhost", "{local}");
    }
    assert_eq!(server("::1,7"), config().with_port(7).with_host("::1"));
    assert_eq!(server("[::1] , 7"), config().with_port(7).with_host("::1"));
    let express = server(".\\SQLEXPRESS");
    assert_eq!((express.host.as_str(), express.instance.as_deref()), ("localhost", Some("SQLEXPRESS")));

    for (encrypt, expected) in [
        ("true", Encryption::Required),
        ("Mandatory", Encryption::Required),
        ("yes", Encryption::Required),
        ("Strict", Encryption::Strict),
        ("false", Encryption::LoginOnly),
        ("No", Encryption::LoginOnly),
    ] {
        let text = format!("Server=h;Database=d;UID=u;PWD=p;App=a;Encrypt={encrypt}");
        assert_eq!(parsed(&text).encryption, expected, "{encrypt}");
    }
}

impl SqlServerConfig {
    fn with_host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }
}

#[test]
fn what_is_wrong_in_a_connection_string_is_named() {
    let base = "Server=h;Database=d;User ID=u;Password=p;App=a";
    for (more, told) in [
        ("Server=x", "host is given twice"),
        ("Data Source=x", "host is given twice"),
        ("Initial Catalog=x", "database is given twice"),
        ("PWD=x", "password is given twice"),
        ("Integrated Security=SSPI", "integrated"),
        ("Trusted_Connection=maybe", "Integrated Security is neither"),
        ("Authentication=Active Directory Managed Identity", "SqlServerConfig::parse_with"),
        ("Authentication=ActiveDirectoryDefault", "TokenProvider"),
        ("Authentication=x", "Authentication is not Sql Password"),
        ("ApplicationIntent=ReadOnly", "Application Intent is not ReadWrite"),
        ("Failover Partner=x", "Failover Partner has no meaning"),
        ("AttachDBFilename=x", "AttachDBFilename has no meaning"),
        ("Network Library=dbnmpntw", "Network Library is not"),
        ("Context Connection=true", "Context Connection is not false"),
        ("User Instance=true", "User Instance is not false"),
        ("Server Certificate=x", "Server Certificate has no meaning"),
        ("Server SPN=x", "Server SPN has no meaning"),
        ("Driver={ODBC Driver 18 for SQL Server}", "ODBC"),
        ("Encrypt=maybe", "encryption is none of"),
        ("Connect Timeout=0", "connect_timeout is 0"),
        ("Command Timeout=0", "command_timeout is below"),
        ("Max Pool Size=0", "max_connections is not"),
        ("Max Pool Size=x", "max_connections is not"),
        ("nothing", "not name=value"),
        ("Schema='x", "does not end"),
        ("Schema='x'y", "follows a quoted value"),
        ("Stream=4", "after the password is unknown (not shown)"),
    ] {
        let text = refusal(&format!("{base};{more}"));
        assert!(text.contains(told), "{more}: {text}");
    }
    for (text, told) in [
        ("Database=d;User ID=u;Password=p;App=a", "host is not"),
        ("Server=h;User ID=u;Password=p;App=a", "database is missing"),
        ("Server=h;Database=;User ID=u;Password=p;App=a", "database is missing"),
        ("Server=h;Database=d;User ID=u;Password=p", "app is missing"),
        ("Server=h;Database=d;User ID=u;App=a", "password is missing"),
        ("Server=h;Database=d;App=a", "user is missing; password is missing"),
        ("Stream=4;Server=h;Database=d;UID=u;PWD=p;App=a", "no option Stream"),
        ("Server=np:h;Database=d;UID=u;PWD=p;App=a", "np:"),
        ("Server=(localdb)\\x;Database=d;UID=u;PWD=p;App=a", "LocalDB"),
        ("Server=h,x;Database=d;UID=u;PWD=p;App=a", "port is not"),
        ("Server=h\\;Database=d;UID=u;PWD=p;App=a", "instance is empty"),
        ("", "app is missing"),
        ("chat", "sqlserver://"),
    ] {
        let text_of_error = refusal(text);
        assert!(text_of_error.contains(told), "{text}: {text_of_error}");
    }
}

#[cfg(not(any(windows, all(unix, feature = "kerberos"))))]
#[test]
fn integrated_authentication_needs_its_feature() {
    for text in [
        "sqlserver://h/d?app=a&authentication=integrated",
        "Server=h;Database=d;App=a;Integrated Security=true",
        "Server=h;Database=d;App=a;Trusted_Connection=yes",
    ] {
        let told = refusal(text);
        assert!(told.contains("without its feature `kerberos`") && !told.contains("missing"), "{told}");
    }
}

#[cfg(any(windows, all(unix, feature = "kerberos")))]
#[test]
fn integrated_authentication_is_read() {
    for text in [
        "sqlserver://h/d?app=a&authentication=integrated",
        "Server=h;Database=d;App=a;Integrated Security=SSPI",
        "Server=h;Database=d;App=a;Trusted_Connection=yes",
        "Server=h;Database=d;App=a;Authentication=Integrated",
    ] {
        assert_eq!(parsed(text).authentication, Authentication::Integrated);
    }
}

#[test]
fn a_token_provider_comes_with_a_text_that_has_no_login() {
    let given = token();
    for text in ["sqlserver://h/d?app=chat", "Server=h;Database=d;App=chat"] {
        let config = SqlServerConfig::parse_with(text, given.clone()).unwrap();
        assert_eq!(config, super::tests::config().with_authentication(given.clone()));
        assert_ne!(config.authentication, token());
    }
    for text in ["sqlserver://u@h/d?app=chat", "Server=h;Database=d;App=chat;Integrated Security=true"] {
        let error = SqlServerConfig::parse_with(text, given.clone()).unwrap_err();
        assert!(error.to_string().contains("in the text as well"), "{error}");
    }
}

#[test]
fn a_certificate_is_checked() {
    let key = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let text = config().with_ca(key).check().unwrap_err().to_string();
    assert!(text.contains("ca holds a certificate that cannot be read"), "{text}");
}

#[tokio::test]
async fn the_client_gets_what_is_set() {
    let config = config().with_instance("i").with_packet_size(512);
    let address = async |port| config.client_config("other", port).await.unwrap().get_addr();
    assert_eq!(address(Some(7)).await, "other:7");
    // Of the SQL Browser.
    assert_eq!(address(None).await, "other:1434");
    let client =
        SqlServerConfig { instance: None, ..config.clone() }.client_config("::1", None).await.unwrap();
    assert_eq!(client.get_addr(), "::1:1433");
    // A wait may take longer than any other request; who asks has a time-out of its own.
    assert_eq!((client.get_command_timeout(), client.get_handshake_timeout()), (None, None));
    assert_eq!(client.get_packet_size(), Some(512));

    let secret = config.with_authentication(token()).client_config("h", None).await.unwrap();
    assert!(!format!("{secret:?}").contains("hunter3"));
}

#[tokio::test]
async fn the_cryptography_of_the_process_is_left_alone() {
    // Two are compiled in and none is chosen: whoever leaves the choice to rustls panics.
    let _both = (ring::default_provider(), aws_lc_rs::default_provider());
    let config = config().with_encryption(Encryption::Strict).with_trust_server_certificate(true);
    let client = config.client_config("h", Some(1433)).await.unwrap();
    let (here, mut there) = duplex(64 << 10);
    let server = async move {
        let mut first = [0];
        there.read_exact(&mut first).await.unwrap();
        first
    };
    let (outcome, first) = tokio::join!(Client::connect(client, here.compat_write()), server);
    assert!(matches!(outcome, Err(tiberius::error::Error::Io { .. })));
    assert_eq!(first, [22], "the first byte of a handshake of TLS");
    assert!(CryptoProvider::get_default().is_none());
}

#[test]
fn debug_shows_no_secret() {
    let login = Authentication::sql_login("sa", "hunter2");
    for config in
        [config().with_authentication(login).with_ca("hunter4"), config().with_authentication(token())]
    {
        let text = format!("{config:?} {config:#?}");
        assert!(!text.contains("hunter"), "{text}");
    }
    let text = format!("{:?}", config());
    assert!(text.contains("***") && text.contains("max_poll_with_broker"), "{text}");
}

#[test]
fn a_password_that_is_not_escaped_is_not_told() {
    for text in [
        "sqlserver://user:hunter/two@h/d?app=a",
        "sqlserver://user:hunter?two=three@h/d?app=a",
        "sqlserver://user:hunter#two@h/d?app=a",
        "sqlserver://user:hunter@two:3@h?app=a&x=1",
        "sqlserver://user:hunter?two@h",
        "sqlserver://user:hunter,two@h,i?app=a",
        "Server=h;Database=d;User ID=u;Password=hunter;two",
        "Server=h;Database=d;User ID=u;Password=hunter;two=three;App=a",
        "Server=h;Database=d;User ID=u;Password=\"hunter\"two=three;App=a",
        "Server=h;Database=d;User ID=u;Password='hunter;two=three;App=a",
    ] {
        let told = refusal(text);
        for part in ["hunter", "two", "three"] {
            assert!(!told.contains(part), "{text}: {told}");
        }
    }
}

/// Pieces of both forms, so that texts get past the first check.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        "sqlserver",
        "mssql",
        "jdbc:",
        "://",
        ":",
        "@",
        "/",
        "?",
        "&",
        "=",
        ";",
        ",",
        "#",
        "%",
        "%2",
        "%41",
        "%FF",
        "[",
        "]",
        "[::1]",
        "h",
        "h:1",
        "\\",
        "'",
        "\"",
        "'x'",
        "Server=h;",
        "Database=d;",
        "User ID=u;",
        "Password=",
        "app=a",
        "App=a;",
        "table_count",
        "Table Count=4;",
        "5m",
        "64MiB",
        "Encrypt=true;",
        "(localdb)",
        "tcp:",
        "Max Pool Size=",
        "99999999999999999999",
        "1e309",
        "==",
        "Integrated Security=true;",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

/// A password: long enough that no error holds it by chance, with all that has a meaning elsewhere.
fn password() -> impl Strategy<Value = String> {
    "[a-z0-9:/?#@&=,;'\"%+ \\[\\]{}$.-]{3,20}".prop_map(|middle| format!("Q7{middle}Zk"))
}

/// `text`, escaped as in a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Nothing that is shown of the outcome holds `password`, or enough of its beginning to guess it.
fn assert_silent(text: &str, password: &str) -> Result<(), TestCaseError> {
    let shown = match text.parse::<SqlServerConfig>() {
        Ok(config) => format!("{config:?} {config:#?}"),
        Err(error) => {
            prop_assert_eq!(error.kind(), ErrorKind::Config);
            format!("{error} {error:?}")
        }
    };
    prop_assert!(!shown.contains(password) && !shown.contains("Q7"), "{}", shown);
    Ok(())
}

proptest! {
    #[test]
    fn any_text_gives_settings_or_an_error(text in prop_oneof![
        any::<String>(),
        proptest::collection::vec(piece(), 0..16).prop_map(|pieces| pieces.concat()),
    ]) {
        match text.parse::<SqlServerConfig>() {
            Ok(config) => prop_assert!(config.check().is_ok()),
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Config),
        }
    }

    #[test]
    fn a_password_is_read_and_never_shown(password in password(), rest in piece()) {
        let url = format!("sqlserver://user:{}@h/d?app=a", escaped(&password));
        let login = Authentication::sql_login("user", password.as_str());
        let config: SqlServerConfig = url.parse().unwrap();
        prop_assert_eq!(&config.authentication, &login);
        let doubled = password.replace('"', "\"\"");
        let quoted = format!("Server=h;Database=d;UID=user;PWD=\"{doubled}\";App=a");
        prop_assert_eq!(quoted.parse::<SqlServerConfig>().unwrap(), config);

        for text in [
            url.clone(),
            format!("{url}{rest}"),
            format!("{url}&{rest}"),
            format!("sqlserver://h/d?app=a&user=u&password={}{rest}", escaped(&password)),
            format!("{quoted};{rest}"),
            format!("Server=h;{rest};Password=\"{doubled}\";{rest}"),
            // Not escaped, as people paste them.
            format!("sqlserver://user:{password}@h/d?app=a{rest}"),
            format!("sqlserver://{password}@h/d?app=a{rest}"),
            format!("Server=h;Database=d;User ID=user;Password={password};App=a;{rest}"),
            format!("Server=h;Password={password};User ID=u;Database=d;App=a;{rest}"),
        ] {
            // A user is no secret, and is shown: as such, a password that comes without one is.
            if let Ok(config) = text.parse::<SqlServerConfig>()
                && let Authentication::SqlLogin { user, .. } = &config.authentication
                && user.contains("Q7")
            {
                continue;
            }
            assert_silent(&text, &password)?;
        }
    }
}
