//! The chat as several processes on SQL Server: on the one that stands in for it, and on a real one where the environment
//! names it.
#![cfg(unix)]

#[path = "../crates/scaleout-sqlserver/tests/support/admin.rs"]
#[expect(dead_code, reason = "the provider's own tests do more with it")]
mod admin;

use std::{
    fs,
    net::{SocketAddr, ToSocketAddrs as _},
    panic::{AssertUnwindSafe, resume_unwind},
};

use futures_util::FutureExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use scaleout_sqlserver::{Authentication, Encryption, SqlServerConfig};
use scaleout_testkit::servers::{TcpProxy, TestCa, sqlserver_settings};
use scaleout_tests::{
    ChatProcess, Client,
    scenarios::{self, Store, until_all},
};
use sqlserver_testserver::TestServer;

use self::admin::Admin;

#[tokio::test]
async fn two_processes_catch_up_after_their_sql_server_was_stopped() {
    scenarios::two_processes_catch_up(&stand_in(true).await).await;
}

#[tokio::test]
async fn two_processes_catch_up_without_service_broker() {
    scenarios::two_processes_catch_up(&stand_in(false).await).await;
}

#[tokio::test]
async fn a_client_goes_on_at_another_process_without_loss() {
    scenarios::a_client_changes_processes(&stand_in(true).await).await;
}

#[tokio::test]
async fn two_processes_catch_up_on_a_real_server() {
    let Some(server) = Real::start("two_processes_catch_up_on_a_real_server").await else { return };
    server.clean_up_after(scenarios::two_processes_catch_up(&server)).await;
}

#[tokio::test]
async fn a_client_goes_on_at_another_process_on_a_real_server() {
    let Some(server) = Real::start("a_client_goes_on_at_another_process_on_a_real_server").await else {
        return;
    };
    server.clean_up_after(scenarios::a_client_changes_processes(&server)).await;
}

#[tokio::test]
async fn apps_in_one_database_have_a_schema_each() {
    let server = stand_in(true).await;
    let [mut test, mut live] = ["shop-test", "shop-live"].map(|app| {
        let schema = app.replace('-', "_");
        ChatProcess::on(&format!("{}&schema={schema}", server.url(app)), &[])
    });
    let mut ada = Client::join(test.address().await, "lobby", "Ada").await;
    let mut grace = Client::join(live.address().await, "lobby", "Grace").await;
    for _ in 0..10 {
        ada.say("test").await;
        grace.say("live").await;
        assert_eq!((ada.text().await, grace.text().await), ("test".into(), "live".into()));
    }

    let told = ChatProcess::refused(&format!("{}&schema=shop_live", server.url("shop-test"))).await;
    assert!(told.contains("shop-test") && told.contains("shop-live"), "{told}");
}

#[tokio::test]
async fn one_sql_server_is_reached_by_a_url_and_by_a_connection_string() {
    let ca = TestCa::new().expect("certificates are made");
    let [certificate, key] = [ca.server_certificate_file(), ca.server_key_file()]
        .map(|file| fs::read_to_string(file).expect("it was made"));
    let server = TestServer::builder().require_tls(&certificate, &key).start().await;
    let server = server.expect("a free port");
    let by_url = format!("{}&ca={}", server.url("chat-test"), ca.ca_file().display());
    let by_string = format!(
        "Server=tcp:127.0.0.1,{};Initial Catalog={};User ID={};Password='{}';Encrypt=Strict;App=chat-test;Ca={}",
        server.port(),
        server.database(),
        server.user(),
        server.password(),
        ca.ca_file().display(),
    );
    let [mut first, mut second] = [&by_url, &by_string].map(|settings| ChatProcess::on(settings, &[]));
    let mut ada = Client::join(first.address().await, "lobby", "Ada").await;
    let mut grace = Client::join(second.address().await, "lobby", "Grace").await;
    for (number, speaker) in ["from Ada", "from Grace"].into_iter().enumerate() {
        [&mut ada, &mut grace][number].say(speaker).await;
        assert_eq!((ada.text().await, grace.text().await), (speaker.into(), speaker.into()));
    }
}

#[tokio::test]
async fn a_wrong_password_ends_the_process_and_is_not_shown() {
    let server = stand_in(true).await;
    let url = server.url("chat").replace(server.password(), "hunter3");
    let told = ChatProcess::refused(&url).await;
    assert!(told.contains("the login [sa]") && !told.contains("hunter3"), "{told}");

    let mut right = ChatProcess::on(&server.url("chat"), &[]);
    until_all(right.address().await, "up", 200).await;
}

/// The server that stands in for SQL Server.
async fn stand_in(broker: bool) -> TestServer {
    TestServer::builder().broker(broker).start().await.expect("a free port")
}

/// A fresh schema on the server that the environment names, behind a proxy: the server is not ours to stop.
struct Real {
    settings: SqlServerConfig,
    proxy: TcpProxy,
}

impl Real {
    /// `None`, said aloud, where the environment names none.
    async fn start(test: &str) -> Option<Self> {
        let settings: SqlServerConfig =
            sqlserver_settings(test, "chat-test")?.parse().expect("settings of a SQL Server");
        let address = (settings.host.as_str(), settings.port.unwrap_or(1433)).to_socket_addrs();
        let address: Option<SocketAddr> = address.expect("a host").next();
        let proxy = TcpProxy::start(address.expect("an address")).await.expect("a free port");
        let schema = format!("chat_{:016x}", fastrand::u64(..));
        Some(Self { settings: settings.with_schema(schema), proxy })
    }

    /// Drops the schema after `scenario`, whatever became of it.
    async fn clean_up_after(&self, scenario: impl Future<Output = ()>) {
        let outcome = AssertUnwindSafe(scenario).catch_unwind().await;
        self.stop().await;
        let mut admin = Admin::connect(&self.settings).await;
        admin.run_script(&self.settings.script().uninstall()).await;
        let left = format!("SELECT COUNT(*) FROM sys.schemas WHERE name = N'{}'", self.settings.schema);
        let left = admin.run(&left).await[0][0].get::<i32, _>(0);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert_eq!(left, Some(0), "the schema is dropped");
    }
}

impl Store for Real {
    /// A URL by way of the proxy, with the name in the certificate still the server's.
    fn backplane(&self) -> String {
        let settings = &self.settings;
        let Authentication::SqlLogin { user, password } = &settings.authentication else {
            panic!("tests log in with a user and a password");
        };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = format!(
            "sqlserver://{}:{}@{}/{}?app={}&schema={}&encryption={}&trust_server_certificate={}",
            encode(user),
            encode(password.expose()),
            self.proxy.address(),
            encode(&settings.database),
            settings.app,
            settings.schema,
            match settings.encryption {
                Encryption::Strict => "strict",
                Encryption::LoginOnly => "login_only",
                Encryption::NotSupported => "not_supported",
                _ => "required",
            },
            settings.trust_server_certificate,
        );
        // The server is not asked for the name of the proxy. Where any certificate is trusted, there is none to ask for.
        if !settings.trust_server_certificate {
            let name = settings.host_name_in_certificate.as_ref().unwrap_or(&settings.host);
            url += &format!("&host_name_in_certificate={}", encode(name));
        }
        if let Some(ca) = &settings.ca {
            url += &format!("&ca={}", encode(&String::from_utf8_lossy(ca)));
        }
        // What stands in for SQL Server elsewhere may be slow with the first calls of each connection.
        url + "&connect_timeout=30s&command_timeout=20s"
    }

    async fn stop(&self) {
        self.proxy.refuse().await;
        self.proxy.cut_all();
    }

    async fn start(&self) {
        self.proxy.accept().await.expect("its port is free");
    }
}
