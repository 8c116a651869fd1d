//! The chat as several processes on SQL Server: on the one that stands in for it, and on a real one where the environment
//! names it.
#![cfg(unix)]

#[path = "../crates/scaleout-sqlserver/tests/support/admin.rs"]
mod admin;

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    panic::{AssertUnwindSafe, resume_unwind},
};

use futures_util::FutureExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use scaleout_sqlserver::{Authentication, Encryption, SqlServerConfig};
use scaleout_testkit::servers::{TcpProxy, sqlserver_settings};
use scaleout_tests::scenarios::{self, Store};

use self::admin::Admin;

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
        Admin::connect(&self.settings).await.run_script(&self.settings.script().uninstall()).await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
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
        let name = settings.host_name_in_certificate.as_ref().unwrap_or(&settings.host);
        url.push_str(&format!("&host_name_in_certificate={}", encode(name)));
        if let Some(ca) = &settings.ca {
            url.push_str(&format!("&ca={}", encode(&String::from_utf8_lossy(ca))));
        }
        // What stands in for SQL Server elsewhere may be slow with the first calls of each connection.
        url.push_str("&connect_timeout=30s&command_timeout=20s");
        url
    }

    async fn stop(&self) {
        self.proxy.refuse().await;
        self.proxy.cut_all();
    }

    async fn start(&self) {
        self.proxy.accept().await.expect("its port is free");
    }
}
