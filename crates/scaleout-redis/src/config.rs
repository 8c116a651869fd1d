//! What a user can set on a Redis backplane.

mod client;
mod dotnet;
mod options;
#[cfg(feature = "serde")]
mod serde;
mod tls;
mod topology;
mod url;

use std::{num::NonZeroU16, str::FromStr, time::Duration};

use scaleout_core::{
    AppName, Error,
    provider::{Secret, settings::refuse_if_any},
};

pub use self::{
    tls::TlsConfig,
    topology::{Endpoint, Topology},
};

/// The settings of a Redis backplane.
///
/// `app`, `streams`, `groups` and `key_prefix` are the layout: all nodes of an app must agree on them, and a node
/// that does not is refused with both values. `Debug` shows no secrets.
///
/// # Text forms
///
/// | Servers | URL |
/// | --- | --- |
/// | one | `redis://[user:password@]host[:port][/database]?app=chat` |
/// | one, by a unix socket | `redis+unix:///path/to.sock?app=chat&database=0` |
/// | a master that sentinels know | `redis+sentinel://[user:password@]host[:port],host[:port]/master[/database]?app=chat` |
/// | a Cluster | `redis+cluster://[user:password@]host[:port],host[:port]?app=chat` |
///
/// `rediss` instead of `redis` is TLS; `valkey` and `valkeys` mean the same two. Options of the query are named as the
/// fields, which are described below: `app` (required), `username`, `password`, `database` (or `db`),
/// `sentinel_username`, `sentinel_password`, `streams`, `groups`, `key_prefix`, `max_retained_bytes`,
/// `max_retained_age`, `max_retained_entries`, `key_expiry`, `max_payload_bytes`, `liveness`, `connect_timeout`,
/// `min_backoff`, `max_backoff`, `fatal_retry`; and of [`TlsConfig`], `ca`, `client_cert` and `client_key`, each PEM or
/// the path of a PEM file, which is read at once. A size is `64MiB`, `1MB` or plain bytes; a duration is `500ms`,
/// `1m 30s` or plain seconds. User, password and values are percent-decoded; a `+` is a plus.
///
/// The form of StackExchange.Redis is understood too: `host:6380,host2:6380,ssl=true,password=…,app=chat`. Of its
/// options, `ssl`, `user`, `password`, `defaultDatabase`, `connectTimeout` (in ms) and `serviceName` (the sentinels'
/// master) mean what they mean there, and all of the above can be added. Several hosts without `serviceName` are a
/// Cluster. `abortConnect`, `allowAdmin`, `asyncTimeout`, `configChannel`, `configCheckSeconds`, `connectRetry`,
/// `heartbeatConsistencyChecks`, `heartbeatInterval`, `highIntegrity`, `includeDetailInExceptions`,
/// `includePerformanceCountersInExceptions`, `keepAlive`, `libName`, `name`, `preserveAsyncOrder`, `protocol`,
/// `resolveDns`, `responseTimeout`, `setlib`, `syncTimeout`, `tieBreaker`, `version` and `writeBuffer` change nothing.
/// `sslHost` must be the host of all endpoints, `sslProtocols` hold `tls12`, `checkCertificateRevocation` be `false`,
/// `proxy` be `none`.
///
/// An option that is unknown, or given twice, is refused in either form.
///
/// ```
/// # fn main() -> Result<(), scaleout_core::Error> {
/// use std::time::Duration;
///
/// use scaleout_redis::{Endpoint, RedisConfig, Topology};
///
/// let config: RedisConfig = "redis://:secret@cache.example/2?app=chat&max_retained_age=5m".parse()?;
/// assert_eq!(config.topology, Topology::Standalone(Endpoint::tcp("cache.example", 6379)));
/// assert_eq!(config.max_retained_age, Duration::from_secs(300));
///
/// let same: RedisConfig =
///     "cache.example,password=secret,defaultDatabase=2,app=chat,max_retained_age=5m".parse()?;
/// assert_eq!(config, same);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The application's namespace, part of every key. Required.
    ///
    /// Two apps on one server never see each other's messages.
    pub app: AppName,
    /// Where the servers are. Required.
    pub topology: Topology,
    /// The user of the server's access control list. Defaults to none, which is the user `default`.
    ///
    /// Needs `password`.
    pub username: Option<String>,
    /// The password of `username`, or of the server where there is no user. Defaults to none.
    pub password: Option<Secret>,
    /// The number of the database, as in `SELECT`. Defaults to 0.
    ///
    /// A Cluster has only 0.
    pub database: u32,
    /// TLS to the servers, sentinels included. Defaults to none: plain TCP.
    ///
    /// Refused for unix sockets, which have none, and without the crate's feature `tls`.
    pub tls: Option<TlsConfig>,
    /// The user for the sentinels themselves, where they have one. Defaults to none.
    pub sentinel_username: Option<String>,
    /// The password for the sentinels themselves, where they have one. Defaults to none.
    ///
    /// `password` is for the servers that they watch, and is not sent to sentinels.
    pub sentinel_password: Option<Secret>,
    /// Ordered lanes that the channels of the app are spread over by hash. Defaults to 4.
    ///
    /// Order is kept within a stream. More streams let a slow subscriber's or a lost frame's trouble touch fewer
    /// channels, and spread a Cluster; each costs its own retention in the server's memory (`max_retained_bytes`) and
    /// smaller frames. One stream already carries hundreds of thousands of small messages a second.
    pub streams: NonZeroU16,
    /// Hash slots that the streams are spread over. Defaults to none: 1, and in a Cluster 4 or `streams` if less.
    ///
    /// Each group costs a node two connections, one that writes and one that reads. In a Cluster, less than there
    /// are masters leaves some of them idle; outside, more than 1 buys nothing. At most `streams`.
    pub groups: Option<NonZeroU16>,
    /// What all keys begin with: `<key_prefix>:{<app>:<group>}:…`. Defaults to `scaleout`.
    ///
    /// 1 to 64 of `A-Z`, `a-z`, `0-9`, `_`, `.` and `-`.
    pub key_prefix: String,
    /// Bytes of payloads that the server keeps of each stream. Defaults to 64 MiB.
    ///
    /// Together with `max_retained_age`, it is how long a node may be away, or behind, and still miss nothing:
    /// whatever bound is reached first trims. Too little turns short outages into gaps; the server's memory must
    /// hold `streams` times this, plus about a tenth. At least `max_payload_bytes`.
    pub max_retained_bytes: usize,
    /// How long the server keeps payloads. Defaults to 60 s.
    ///
    /// Less than an outage that should go unnoticed makes it a gap; more only costs memory, up to
    /// `max_retained_bytes`.
    pub max_retained_age: Duration,
    /// Payloads that a node which does not receive leaves in a stream. Defaults to 65,536.
    ///
    /// Such a node does not see what others add, so that it can trim neither by bytes nor by age. Too little cuts
    /// below the other two bounds while only such nodes publish; too much lets the stream grow past them.
    pub max_retained_entries: usize,
    /// How long keys outlive the last node that used them. Defaults to 24 hours.
    ///
    /// Running nodes renew it. Less forgets what an app that is down for longer, over a night say, sent last; more
    /// keeps the streams of an app that is gone in memory for longer. At least 60 s, at most 365 days, and longer
    /// than `max_retained_age`.
    pub key_expiry: Duration,
    /// Bytes of a payload that is accepted. Defaults to 1 MiB.
    ///
    /// A larger message fails with `PayloadTooLarge`. A large payload holds up all others of the server while it is
    /// moved. At most 64 MiB.
    pub max_payload_bytes: usize,
    /// How soon a dead, frozen or demoted server is noticed, also on an idle link. Defaults to 2 s.
    ///
    /// Less than the pauses of a healthy server (a fork of a large data set, a slow command of somebody else) drops
    /// good connections; more delays reconnection and failover. 200 ms to 60 s.
    pub liveness: Duration,
    /// How long a connection may take to be made: name look-up, TCP, TLS and login together. Defaults to 2 s.
    ///
    /// Too little never connects over a slow link; too much waits for long on an address that drops packets while
    /// another would answer. At most 60 s.
    pub connect_timeout: Duration,
    /// The delay before the second attempt to connect. Defaults to 50 ms.
    ///
    /// The first is at once; further delays double, with full jitter, up to `max_backoff`.
    pub min_backoff: Duration,
    /// The longest delay between attempts to connect. Defaults to 1 s.
    ///
    /// It adds to the time that a node takes to notice that the server is back; less lets a large fleet burden a
    /// server that has just started. At most 1 hour.
    pub max_backoff: Duration,
    /// The delay between attempts after an error that somebody must mend, such as a wrong password. Defaults to 60 s.
    ///
    /// Less may lock the account out where somebody counts failures; more delays recovery once it is mended. At most
    /// 24 hours.
    pub fatal_retry: Duration,
}

impl RedisConfig {
    /// The defaults, for `app` on the servers of `topology`.
    #[must_use]
    pub fn new(app: AppName, topology: Topology) -> Self {
        Self {
            app,
            topology,
            username: None,
            password: None,
            database: 0,
            tls: None,
            sentinel_username: None,
            sentinel_password: None,
            streams: NonZeroU16::new(4).expect("4 is not 0"),
            groups: None,
            key_prefix: "scaleout".into(),
            max_retained_bytes: 64 << 20,
            max_retained_age: Duration::from_secs(60),
            max_retained_entries: 65_536,
            key_expiry: 24 * HOUR,
            max_payload_bytes: 1 << 20,
            liveness: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
            fatal_retry: Duration::from_secs(60),
        }
    }

    /// The groups in effect: [`groups`](Self::groups), or what it defaults to in this topology.
    #[must_use]
    pub fn group_count(&self) -> NonZeroU16 {
        self.groups.unwrap_or(match self.topology {
            Topology::Cluster { .. } => self.streams.min(DEFAULT_CLUSTER_GROUPS),
            _ => NonZeroU16::MIN,
        })
    }
}

macro_rules! setters {
    ($($field:ident $setter:ident: $type:ty $(=> $wrap:expr)?),* $(,)?) => {
        impl RedisConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = setters!(@value $field $($wrap)?);
                    self
                }
            )*
        }
    };
    (@value $field:ident) => { $field };
    (@value $field:ident $wrap:expr) => { ($wrap)($field) };
}

setters! {
    username with_username: impl Into<String> => |it| Some(Into::into(it)),
    password with_password: impl Into<Secret> => |it| Some(Into::into(it)),
    database with_database: u32,
    tls with_tls: TlsConfig => Some,
    sentinel_username with_sentinel_username: impl Into<String> => |it| Some(Into::into(it)),
    sentinel_password with_sentinel_password: impl Into<Secret> => |it| Some(Into::into(it)),
    streams with_streams: NonZeroU16,
    groups with_groups: NonZeroU16 => Some,
    key_prefix with_key_prefix: impl Into<String> => Into::into,
    max_retained_bytes with_max_retained_bytes: usize,
    max_retained_age with_max_retained_age: Duration,
    max_retained_entries with_max_retained_entries: usize,
    key_expiry with_key_expiry: Duration,
    max_payload_bytes with_max_payload_bytes: usize,
    liveness with_liveness: Duration,
    connect_timeout with_connect_timeout: Duration,
    min_backoff with_min_backoff: Duration,
    max_backoff with_max_backoff: Duration,
    fatal_retry with_fatal_retry: Duration,
}

impl RedisConfig {
    /// Reports settings that cannot work.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), with every problem in one line.
    pub fn check(&self) -> Result<(), Error> {
        refuse_if_any(STORE, self.problems())
    }

    /// What cannot work, each in a few words that name the field.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.topology.problems();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };

        let clustered = matches!(self.topology, Topology::Cluster { .. });
        refuse(clustered && self.database != 0, "database is not 0, and a Cluster has only 0");

        let prefix_fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        refuse(
            !(1..=64).contains(&self.key_prefix.len()) || !self.key_prefix.bytes().all(prefix_fits),
            "key_prefix is not 1 to 64 of A-Z, a-z, 0-9, '_', '.' and '-'",
        );
        refuse(
            self.groups.is_some_and(|groups| groups > self.streams),
            "groups is above streams: some would be empty",
        );

        self.refuse_credentials(&mut refuse);
        self.refuse_bounds(&mut refuse);

        if let Some(tls) = &self.tls {
            refuse(
                self.topology.endpoints().any(|endpoint| matches!(endpoint, Endpoint::Unix(_))),
                "tls is set, and a unix socket has none",
            );
            problems.extend(tls.problems());
        }
        problems
    }

    fn refuse_credentials(&self, refuse: &mut impl FnMut(bool, &str)) {
        let empty = |secret: &Option<Secret>| secret.as_ref().is_some_and(|it| it.expose().is_empty());
        refuse(
            self.username.is_some() && self.password.is_none(),
            "username is set without password (a password alone is written `:password@host` in a URL)",
        );
        refuse(
            self.sentinel_username.is_some() && self.sentinel_password.is_none(),
            "sentinel_username is set without sentinel_password",
        );
        refuse(empty(&self.password), "password is empty: leave it out where there is none");
        refuse(
            empty(&self.sentinel_password),
            "sentinel_password is empty: leave it out where there is none",
        );
        refuse(
            !matches!(self.topology, Topology::Sentinel { .. })
                && (self.sentinel_username.is_some() || self.sentinel_password.is_some()),
            "sentinel_username and sentinel_password are for a topology with sentinels",
        );
    }

    fn refuse_bounds(&self, refuse: &mut impl FnMut(bool, &str)) {
        refuse(self.max_payload_bytes == 0, "max_payload_bytes is 0: nothing could be sent");
        refuse(self.max_payload_bytes > MAX_PAYLOAD_BYTES, "max_payload_bytes is above 64 MiB");
        refuse(
            self.max_retained_bytes < self.max_payload_bytes,
            "max_retained_bytes is below max_payload_bytes: one payload would push out all others",
        );
        refuse(self.max_retained_age.is_zero(), "max_retained_age is 0: nothing would be kept");
        refuse(self.max_retained_entries == 0, "max_retained_entries is 0: nothing would be kept");
        refuse(self.key_expiry < Duration::from_secs(60), "key_expiry is below 60 s");
        refuse(self.key_expiry > 365 * 24 * HOUR, "key_expiry is above 365 days");
        refuse(self.key_expiry <= self.max_retained_age, "key_expiry is not above max_retained_age");
        refuse(self.liveness < Duration::from_millis(200), "liveness is below 200 ms");
        refuse(self.liveness > Duration::from_secs(60), "liveness is above 60 s");
        refuse(self.connect_timeout.is_zero(), "connect_timeout is 0: nothing could connect");
        refuse(self.connect_timeout > Duration::from_secs(60), "connect_timeout is above 60 s");
        refuse(self.min_backoff.is_zero(), "min_backoff is 0: a dead server would be tried in a busy loop");
        refuse(self.max_backoff < self.min_backoff, "max_backoff is below min_backoff");
        refuse(self.max_backoff > HOUR, "max_backoff is above 1 hour");
        refuse(
            self.fatal_retry.is_zero(),
            "fatal_retry is 0: a wrong password would be tried in a busy loop",
        );
        refuse(self.fatal_retry > 24 * HOUR, "fatal_retry is above 24 hours");
    }
}

impl FromStr for RedisConfig {
    type Err = Error;

    /// Reads a URL, or the form of StackExchange.Redis; both are described [above](RedisConfig#text-forms).
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), with every problem in one line, none of which shows a value.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        // A password of the other form may well hold `://`.
        let is_url = text.split_once("://").is_some_and(|(scheme, _)| {
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        });
        if is_url { url::parse(text) } else { dotnet::parse(text) }
    }
}

/// What the settings are of, in errors.
const STORE: &str = "redis";

const HOUR: Duration = Duration::from_secs(3600);

/// The server takes 512 MiB; what is far smaller already stalls everybody else on it.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Enough to use the three masters of a small Cluster without a connection for each of many streams.
const DEFAULT_CLUSTER_GROUPS: NonZeroU16 = NonZeroU16::new(4).expect("4 is not 0");

#[cfg(test)]
mod tests;
