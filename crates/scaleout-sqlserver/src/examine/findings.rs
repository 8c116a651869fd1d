//! How what was found is put.

use std::time::Duration;

use scaleout_core::Finding;

use crate::{
    config::{Encryption, SqlServerConfig},
    error::{Failure, Trouble, is_of_login, login_of},
    health::ServiceBrokerHealth,
    sql::identifier,
};

/// Up to which a clock is not worth a word.
const MAX_SKEW: Duration = Duration::from_secs(1);

/// Engine editions of services in the cloud, whose version is another count: Azure SQL Database, Managed Instance.
const SERVICES: [i64; 2] = [5, 8];

/// The engine edition of Express.
const EXPRESS: i64 = 4;

/// What a database of Express may hold at most, up to SQL Server 2022.
const EXPRESS_BYTES: u64 = 10 << 30;

/// What the server says that it is.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) edition: i64,
    pub(super) edition_name: String,
    /// Its version, where the server is Babelfish for PostgreSQL; its `version` is then one that it pretends to.
    pub(super) babelfish: Option<String>,
    pub(super) user: String,
}

/// How the database is set up.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) compatibility: i64,
    pub(super) has_row_versions: bool,
    /// 0: disabled, 1: allowed, 2: forced.
    pub(super) delayed_durability: i64,
}

/// The server's clock, and ours before and after it was asked for.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) before: Duration,
    /// In microseconds since 1970.
    pub(super) theirs: u64,
    pub(super) after: Duration,
}

pub(super) fn problem(subject: &'static str, trouble: Trouble) -> Finding {
    Finding::problem(subject, trouble.what, fix_of(trouble.fix))
}

pub(super) fn warning(subject: &'static str, trouble: Trouble) -> Finding {
    Finding::warning(subject, trouble.what, fix_of(trouble.fix))
}

/// Of what nodes cannot do either.
pub(super) fn failed(subject: &'static str, failure: Failure, config: &SqlServerConfig) -> Finding {
    let is_late = matches!(failure, Failure::TimedOut { .. });
    let mut trouble = failure.into_trouble(config);
    if is_late {
        trouble = trouble.mended_by(BE_PATIENT);
    }
    problem(subject, trouble)
}

const BE_PATIENT: &str = "set a longer command_timeout, or see what the server is busy with: SELECT session_id, \
                          blocking_session_id, wait_type FROM sys.dm_exec_requests";

/// Of what could not be looked at. Nodes do not look at it, and work or not all the same.
pub(super) fn unseen(
    subject: &'static str,
    what: &str,
    failure: Failure,
    config: &SqlServerConfig,
) -> Finding {
    let (is_denied, is_late) = (failure.is_denied(), matches!(failure, Failure::TimedOut { .. }));
    let trouble = failure.into_trouble(config);
    let fix = match trouble.fix {
        _ if is_late => BE_PATIENT.into(),
        fix if is_denied && !fix.is_empty() => fix,
        _ => LOOK_YOURSELF.into(),
    };
    Finding::warning(subject, format!("{what} cannot be looked at: {}", trouble.what), fix)
}

const LOOK_YOURSELF: &str = "see to it by hand, once; nodes do not ask for it";

/// Where nobody knows better, the server does.
fn fix_of(fix: String) -> String {
    if fix.is_empty() { "look into the server's error log: EXEC sp_readerrorlog".into() } else { fix }
}

pub(super) fn connected(config: &SqlServerConfig) -> Finding {
    let server = server_of(config);
    let is_here = matches!(config.host.as_str(), "localhost" | "::1") || config.host.starts_with("127.");
    match config.encryption {
        Encryption::NotSupported | Encryption::LoginOnly if !is_here => Finding::warning(
            "connection",
            format!("{server} answers, and messages can be read and changed on the way to it"),
            "set encryption=required",
        ),
        Encryption::NotSupported => Finding::ok("connection", format!("{server} answers, without TLS")),
        Encryption::LoginOnly => {
            Finding::ok("connection", format!("{server} answers, with TLS for the login alone"))
        }
        _ if config.trust_server_certificate && !is_here => Finding::warning(
            "connection",
            format!("{server} answers by TLS, and whoever answers in its place is trusted, too"),
            "set ca=<path of the authority's certificate> instead of trust_server_certificate",
        ),
        _ => Finding::ok("connection", format!("{server} answers by TLS")),
    }
}

pub(super) fn not_connected(failure: Failure, config: &SqlServerConfig) -> Finding {
    let is_login = match &failure {
        Failure::Token(_) => true,
        failure => failure.number().is_some_and(is_of_login),
    };
    let hint = hint(&failure, config);
    let Trouble { what, fix, .. } = failure.into_trouble(config);
    let fix = match (fix.is_empty(), hint) {
        (false, _) => fix,
        (true, Some(hint)) => hint,
        (true, None) if is_login => "set user and password, or the token provider, right".into(),
        (true, None) => fix_of(fix),
    };
    if is_login {
        return Finding::problem("login", what, fix);
    }
    Finding::problem("connection", format!("{}: {what}", server_of(config)), fix)
}

/// What to look at where there is no connection at all.
fn hint(failure: &Failure, config: &SqlServerConfig) -> Option<String> {
    use std::io::ErrorKind::{ConnectionRefused, TimedOut};

    let listens = "start the server, and have it listen to TCP (SQL Server Configuration Manager, Protocols, TCP/IP); \
                   or set host and port right";
    let is_open = format!(
        "open the port to {} on the way there (Test-NetConnection, nc -vz), or set a longer connect_timeout",
        config.host
    );
    match failure {
        Failure::TimedOut { .. } => Some(is_open),
        Failure::Connect(error) => Some(match error.kind() {
            ConnectionRefused => listens.into(),
            TimedOut => is_open,
            _ => format!(
                "see that the name resolves and is reached (getent hosts {}), and set host right",
                config.host
            ),
        }),
        _ => None,
    }
}

/// The server as the settings name it.
fn server_of(config: &SqlServerConfig) -> String {
    match (&config.instance, config.port) {
        (_, Some(port)) => format!("{}:{port}", config.host),
        (Some(instance), None) => format!("{}\\{instance}", config.host),
        (None, None) => format!("{}:1433", config.host),
    }
}

pub(super) fn logged_in(config: &SqlServerConfig, user: &str) -> Finding {
    let (login, database) = (login_of(config), identifier(&config.database));
    Finding::ok("login", format!("{login} is {} in the database {database}", identifier(user)))
}

impl Server {
    /// What is to be said of the version, and whether nothing works with it.
    pub(super) fn finding(&self) -> (Finding, bool) {
        let Self { version, edition_name, .. } = self;
        if let Some(babelfish) = &self.babelfish {
            let what = format!(
                "Babelfish for PostgreSQL {babelfish}, which says that it were SQL Server {version}: what nodes need was \
                 tried on 4.3.0, by hand; they poll"
            );
            return (
                Finding::warning("version", what, "take SQL Server 2016 or later where it matters"),
                false,
            );
        }
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let what = format!("SQL Server {version}, {edition_name}");
        match major {
            Some(..13) if !SERVICES.contains(&self.edition) => {
                let what = format!("{what}: it is older than SQL Server 2016 (13.0)");
                (Finding::problem("version", what, "update to SQL Server 2016 or later"), true)
            }
            _ => (Finding::ok("version", what), false),
        }
    }
}

impl Clock {
    pub(super) fn finding(&self) -> Finding {
        let theirs = Duration::from_micros(self.theirs);
        // The answer was made at some moment between.
        let (ahead, behind) = (theirs.saturating_sub(self.after), self.before.saturating_sub(theirs));
        let (skew, direction) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
        if skew <= MAX_SKEW {
            return Finding::ok("clock", "the server's clock is that of this machine, within a second");
        }
        let what = format!(
            "the server's clock is {:.1} s {direction} this machine's: retention and the doorbell go by the server's \
             and do not mind, but latencies are measured wrong by as much, and tokens and certificates may be refused",
            skew.as_secs_f64()
        );
        Finding::warning(
            "clock",
            what,
            "set the wrong one: timedatectl set-ntp true (Windows: w32tm /resync)",
        )
    }
}

impl Base {
    pub(super) fn findings(&self, config: &SqlServerConfig, server: &Server) -> Vec<Finding> {
        let database = identifier(&config.database);
        let mut findings = Vec::new();
        // Babelfish has the number, and its statements do not depend on it.
        if self.compatibility < 130 && server.babelfish.is_none() {
            findings.push(Finding::warning(
                "version",
                format!(
                    "the database has compatibility level {}: it may not know a statement",
                    self.compatibility
                ),
                format!("ALTER DATABASE {database} SET COMPATIBILITY_LEVEL = 130"),
            ));
        }
        let retained = u64::from(config.table_count.get()).saturating_mul(config.max_retained_bytes);
        let tables = config.table_count;
        let before = findings.len();
        if server.edition == EXPRESS && retained >= EXPRESS_BYTES {
            findings.push(Finding::warning(
                "retention",
                format!(
                    "{tables} message tables may come to {}, and Express keeps 10 GB at most",
                    size(retained)
                ),
                "set max_retained_bytes to less, or take another edition",
            ));
        }
        if self.delayed_durability == 2 {
            findings.push(Finding::warning(
                "retention",
                "DELAYED_DURABILITY is forced: a crash of the server loses messages that were confirmed",
                format!("ALTER DATABASE {database} SET DELAYED_DURABILITY = DISABLED"),
            ));
        }
        if !self.has_row_versions {
            findings.push(Finding::warning(
                "retention",
                "row versioning is off: readers wait for publishers and for trim; turning it on waits until nobody else \
                 is connected",
                format!("ALTER DATABASE {database} SET READ_COMMITTED_SNAPSHOT ON"),
            ));
        }
        if findings.len() == before {
            let what = format!("{tables} message tables of up to {} each", size(config.max_retained_bytes));
            findings.push(Finding::ok("retention", what));
        }
        findings
    }
}

/// Of a doorbell that is installed.
pub(super) fn of_broker(health: &ServiceBrokerHealth, config: &SqlServerConfig) -> Finding {
    let schema = identifier(&config.schema);
    if health.queues_on < 2 {
        let what = format!("{} of the 2 queues of the doorbell are on: nodes poll", health.queues_on);
        let fix = format!(
            "ALTER QUEUE {schema}.[ears] WITH STATUS = ON; ALTER QUEUE {schema}.[bells] WITH STATUS = ON;"
        );
        return Finding::warning("broker", what, fix);
    }
    if health.undelivered > 0 {
        let why = health.undelivered_because.as_deref().filter(|why| !why.is_empty());
        let what = format!(
            "Service Broker cannot deliver {} of our messages: {}",
            health.undelivered,
            why.unwrap_or("it does not say why")
        );
        let fix = format!(
            "SELECT to_service_name, enqueue_time, transmission_status FROM sys.transmission_queue WHERE \
             from_service_name LIKE N'scaleout/{}/%' says what stops them",
            config.schema
        );
        return Finding::warning("broker", what, fix);
    }
    Finding::ok("broker", format!("the doorbell works, for {} nodes that listen now", health.listeners))
}

/// Bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let power = (bytes.ilog2() / 10).min(4);
    let whole = bytes as f64 / f64::from(1 << 10_u32).powi(i32::try_from(power).unwrap_or(4));
    let unit = UNITS[usize::try_from(power).unwrap_or(1) - 1];
    if whole.fract() < 0.05 { format!("{whole:.0} {unit}") } else { format!("{whole:.1} {unit}") }
}
