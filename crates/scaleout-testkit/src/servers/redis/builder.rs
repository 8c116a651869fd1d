//! What a test can ask of a server: [`RedisServerBuilder`].

use std::{
    fmt::{self, Write as _},
    fs, io,
};

use tempfile::TempDir;

use super::{
    control::{PASSWORD, USER},
    server::{Ports, RedisServer},
};
use crate::servers::TestCa;

/// Starts over with other ports so often where another process took one of them first.
const ATTEMPTS: usize = 5;

/// How to start a [`RedisServer`]: without persistence and without a password, unless told otherwise.
#[derive(Debug, Clone, Default)]
#[must_use = "a server starts with `start`"]
pub struct RedisServerBuilder {
    lines: Vec<String>,
    tls: Option<TestCa>,
    requires_client_certificates: bool,
    is_replica: bool,
    is_sentinel: bool,
    is_in_cluster: bool,
}

impl RedisServerBuilder {
    /// Keeps what it is told across restarts: an append-only file, written through to disk by every command.
    pub fn appendonly(mut self) -> Self {
        // Nothing is rewritten, so that `RedisServer::forget_last` finds every command in the file.
        let lines = ["appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 0"];
        self.lines.extend(lines.map(str::to_owned));
        self
    }

    /// The default user has this password.
    pub fn requirepass(self, password: &str) -> Self {
        self.config("requirepass", password)
    }

    /// Users beside the default one, one a line.
    ///
    /// A line is as in an ACL file (`user alice on >secret ~app:* +@all`), as a command (`ACL SETUSER alice on …`), or
    /// `alice on …` alone. `default off` refuses whoever names no user.
    pub fn acl<L: AsRef<str>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        for line in lines {
            let line = line.as_ref().trim();
            let rules = ["ACL SETUSER ", "user "].iter().find_map(|prefix| line.strip_prefix(prefix));
            self.lines.push(format!("user {}", rules.unwrap_or(line)));
        }
        self
    }

    /// Listens for TLS on a port of its own as well, with the certificate of the authority's servers.
    pub fn tls(mut self, ca: &TestCa) -> Self {
        self.tls = Some(ca.clone());
        self
    }

    /// Refuses clients by TLS that have no certificate of the authority.
    pub fn require_client_certificates(mut self) -> Self {
        self.requires_client_certificates = true;
        self
    }

    /// A read-only copy of `master`, by a plain connection.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        self.replica_of_port(master.port())
    }

    /// A read-only copy of what answers on this port of 127.0.0.1, such as a [`TcpProxy`](crate::servers::TcpProxy) before
    /// its master.
    pub fn replica_of_port(mut self, port: u16) -> Self {
        self.is_replica = true;
        self.config("replicaof", &format!("127.0.0.1 {port}"))
    }

    /// A setting, as in the server's configuration file; a value may be several words.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// Starts the server, and waits until it answers; a replica also until it has its master's data.
    ///
    /// # Errors
    /// Where the program is missing, or the server ends or does not answer in time; with the last lines of its log.
    pub async fn start(self) -> io::Result<RedisServer> {
        let server = self.start_alone().await?;
        if self.is_replica {
            server.wait_linked().await?;
        }
        Ok(server)
    }

    /// A Sentinel, which is the same program.
    pub(super) fn sentinel(mut self) -> Self {
        self.is_sentinel = true;
        self
    }

    /// Servers talk to each other by TLS as well, where they have it.
    pub(super) fn linked_by_tls(self) -> Self {
        if self.tls.is_some() { self.config("tls-replication", "yes") } else { self }
    }

    /// A server of a cluster that it has not met yet.
    pub(super) fn cluster(mut self) -> Self {
        self.is_in_cluster = true;
        let has_tls = self.tls.is_some();
        let builder = self
            .config("cluster-enabled", "yes")
            .config("cluster-announce-ip", "127.0.0.1")
            .config("cluster-allow-replica-migration", "no")
            // A replica that a busy machine kept from its master for a while may still take its place.
            .config("cluster-replica-validity-factor", "0")
            .linked_by_tls();
        if has_tls { builder.config("tls-cluster", "yes") } else { builder }
    }

    async fn start_alone(&self) -> io::Result<RedisServer> {
        let folder = TempDir::with_prefix("scaleout-redis-")?;
        fs::create_dir(folder.path().join("data"))?;
        let mut server = RedisServer::new(folder, self.ports()?, self.tls.clone(), self.is_sentinel);
        for _ in 1..ATTEMPTS {
            fs::write(server.config_file(), self.config_text(&server))?;
            match server.start().await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => server.set_ports(self.ports()?),
                outcome => return outcome.map(|()| server),
            }
        }
        fs::write(server.config_file(), self.config_text(&server))?;
        server.start().await.map(|()| server)
    }

    fn ports(&self) -> io::Result<Ports> {
        Ports::free(self.tls.is_some(), self.is_in_cluster)
    }

    fn config_text(&self, server: &RedisServer) -> String {
        let folder = server.folder().display();
        // A replica copies at once, and by a user that every server has.
        let mut text = format!(
            "bind 127.0.0.1\n\
             protected-mode no\n\
             port {port}\n\
             unixsocket \"{socket}\"\n\
             daemonize no\n\
             dir \"{folder}/data\"\n\
             logfile \"{folder}/log\"\n\
             loglevel notice\n\
             save \"\"\n\
             enable-debug-command local\n\
             repl-diskless-sync yes\n\
             repl-diskless-sync-delay 0\n\
             masteruser {USER}\n\
             masterauth {PASSWORD}\n\
             user {USER} on >{PASSWORD} ~* &* +@all\n",
            port = server.port(),
            socket = server.unix_socket_path().display(),
        );
        let mut line =
            |line: fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes everything");
        if let (Some(ca), Some(port)) = (&self.tls, server.tls_port()) {
            line(format_args!("tls-port {port}"));
            line(format_args!("tls-ca-cert-file \"{}\"", ca.ca_file().display()));
            line(format_args!("tls-cert-file \"{}\"", ca.server_certificate_file().display()));
            line(format_args!("tls-key-file \"{}\"", ca.server_key_file().display()));
            let required = if self.requires_client_certificates { "yes" } else { "no" };
            line(format_args!("tls-auth-clients {required}"));
        }
        if let Some(port) = server.bus_port() {
            line(format_args!("cluster-port {port}"));
        }
        self.lines.iter().for_each(|setting| line(format_args!("{setting}")));
        text
    }
}
