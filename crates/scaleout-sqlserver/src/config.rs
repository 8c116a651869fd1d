//! What a user can set on a SQL Server backplane.

mod ado;
mod authentication;
mod client;
mod options;
#[cfg(feature = "serde")]
mod serde;
mod url;

use std::{fmt, num::NonZeroU16, str::FromStr, time::Duration};

use scaleout_core::{
    AppName, Error, ErrorKind,
    provider::settings::{is_host, refuse_if_any},
};

pub use self::authentication::{Authentication, TokenProvider};

/// The settings of a SQL Server backplane.
///
/// `app`, `schema` and `table_count` are the layout: all nodes of an app must agree on them, and a node that does not
/// is refused with both values. `Debug` shows no secrets.
///
/// # Text forms
///
/// As a URL, `sqlserver://user:password@host[:port]/database?app=chat`; `mssql://` is the same. Options of the query are
/// named as the fields, which are described below: `app` (required), `port`, `instance`, `database`, `user`, `password`,
/// `authentication` (`sql_login` or `integrated`), `encryption` or `encrypt` (`required`, `strict`, `login_only`,
/// `not_supported`), `trust_server_certificate`, `ca` (PEM or the path of a PEM file, which is read at once),
/// `host_name_in_certificate`, `application_name`, `packet_size`, `schema`, `install` (`create`, `verify`, `none`),
/// `enable_broker`, `notifications` (`auto`, `poll_only`), `table_count`, `max_connections`, `max_retained_age`,
/// `max_retained_bytes`, `max_retained_rows`, `sender_expiry`, `max_payload_bytes`, `min_poll`, `max_poll`,
/// `max_poll_with_broker`, `connect_timeout`, `command_timeout`, `min_backoff`, `max_backoff` and `fatal_retry`. A size
/// is `64MiB`, `1MB` or plain bytes; a duration is `500ms`, `1m 30s` or plain seconds. User, password and values are
/// percent-decoded; a `+` is a plus.
///
/// A connection string of ADO.NET is understood too: `Server=host,1433;Database=app;User ID=…;Password=…;App=chat`. Names
/// have any case, values are quoted by `"` or `'` where they hold a `;`, and what has an empty value is not given, as
/// there. Of the [keywords of Microsoft.Data.SqlClient][keywords], with all their synonyms:
///
/// - `Server` (`tcp:host,port`, `host\instance`, `.`, `(local)`), `Database`, `User ID`, `Password`, `Encrypt`
///   (where `false` still encrypts the login), `Trust Server Certificate`, `Host Name In Certificate`,
///   `Application Name`, `Packet Size`, `Connect Timeout` and `Command Timeout` (in seconds) mean what they mean there;
/// - `Integrated Security` needs the feature `kerberos`, except on Windows;
/// - `Max Pool Size` is `max_connections`;
/// - `Authentication` is refused unless it is `Sql Password`: see [`parse_with`](Self::parse_with) for tokens;
/// - `Application Intent=ReadOnly`, `AttachDBFilename`, `Context Connection`, `Failover Partner`, `Failover Partner SPN`,
///   `Network Library` other than TCP, `Replication`, `Server Certificate`, `Server SPN` and `User Instance` are refused;
/// - `Asynchronous Processing`, `Attestation Protocol`, `Column Encryption Setting`, `Connect Retry Count`, `Connect Retry
///   Interval`, `Connection Reset`, `Current Language`, `Enclave Attestation Url`, `Enlist`, `IP Address Preference`,
///   `Load Balance Timeout`, `Min Pool Size`, `Multi Subnet Failover` (all addresses are tried), `Multiple Active Result
///   Sets`, `Persist Security Info`, `Pool Blocking Period`, `Pooling`, `Transaction Binding`, `Transparent Network IP
///   Resolution`, `Type System Version` and `Workstation ID` change nothing.
///
/// All options of a URL can be added, also written as `TableCount` or `Table Count`. `App` is ours; there it is a synonym
/// of `Application Name`.
///
/// An option that is unknown, or given twice, is refused in either form.
///
/// [keywords]: https://learn.microsoft.com/dotnet/api/microsoft.data.sqlclient.sqlconnection.connectionstring
///
/// ```
/// # fn main() -> Result<(), scaleout_core::Error> {
/// use std::time::Duration;
///
/// use scaleout_sqlserver::{Authentication, SqlServerConfig};
///
/// let config: SqlServerConfig =
///     "sqlserver://chat:secret@db.example/app?app=chat&max_retained_age=5m".parse()?;
/// assert_eq!(config.authentication, Authentication::sql_login("chat", "secret"));
/// assert_eq!(config.max_retained_age, Duration::from_secs(300));
///
/// let same: SqlServerConfig =
///     "Server=db.example;Database=app;User ID=chat;Password=secret;App=chat;MaxRetainedAge=5m".parse()?;
/// assert_eq!(config, same);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct SqlServerConfig {
    /// The application's namespace, recorded in the schema. Required.
    ///
    /// A schema belongs to one app, and a node of another is refused with both names: apps that share a database
    /// have a `schema` each.
    pub app: AppName,
    /// The name or address of the server, or of an availability group's listener. Required.
    ///
    /// An IPv6 address is written without brackets.
    pub host: String,
    /// The port. Defaults to none: 1433, or with `instance` what the server's SQL Browser tells.
    ///
    /// Where it is set, `instance` is not looked up.
    pub port: Option<u16>,
    /// The name of the instance, where the server has several. Defaults to none, which is the default instance.
    ///
    /// Without `port`, it is asked for at UDP port 1434 for every connection.
    pub instance: Option<String>,
    /// The database that holds the schema. Required.
    ///
    /// A login's default database is never used: it may be changed under a running app.
    pub database: String,
    /// As whom to log in. Required.
    pub authentication: Authentication,
    /// What of the connection is encrypted. Defaults to all of it.
    pub encryption: Encryption,
    /// Accepts whatever certificate the server shows, for any host. Defaults to `false`.
    ///
    /// With it, whoever can answer in the server's place reads the password and all messages. For tests; set `ca`
    /// elsewhere.
    pub trust_server_certificate: bool,
    /// Certificates of authorities that are trusted besides those of the operating system, as PEM. Defaults to none.
    ///
    /// A certificate that the server has signed by itself is not trusted by being named here: it needs an authority.
    pub ca: Option<Vec<u8>>,
    /// The name that the server's certificate must hold. Defaults to none: `host`.
    ///
    /// For servers that are reached by an address or a name that their certificate does not know.
    pub host_name_in_certificate: Option<String>,
    /// What the server's lists of sessions show (`program_name`). Defaults to `scaleout`; at most 128 characters.
    pub application_name: String,
    /// Bytes of a packet of the protocol, header included. Defaults to 8,000; 512 to 32,767.
    ///
    /// Larger ones save little; smaller ones cost processor time on both sides.
    pub packet_size: u32,
    /// The schema of the backplane's objects. Defaults to `scaleout`.
    ///
    /// 1 to 64 of `A-Z`, `a-z`, `0-9` and `_`.
    pub schema: String,
    /// Whether the objects are created, checked or taken for granted at the start. Defaults to being created.
    pub install: Install,
    /// Turns Service Broker on in the database where it is off, which only an installing node does. Defaults to `false`.
    ///
    /// It needs `ALTER` on the database, and fails while anyone else is connected to it: nobody is thrown out.
    pub enable_broker: bool,
    /// How a node learns of new messages. Defaults to Service Broker where there is one, and polling besides.
    pub notifications: Notifications,
    /// Message tables, of which each is one stream that the channels of the app are spread over. Defaults to 4.
    ///
    /// Order is kept within a stream. Publishers of one stream take turns, so more streams publish more; each costs
    /// its own retention in the database (`max_retained_bytes`), and smaller frames. At most 64.
    pub table_count: NonZeroU16,
    /// Connections for sends. Defaults to 4.
    ///
    /// One or two more read and wait, and one more drops old rows now and then. More than `table_count` buys nothing; less lets streams wait for each other.
    pub max_connections: NonZeroU16,
    /// How long the database keeps messages. Defaults to 10 minutes.
    ///
    /// Together with the two bounds below, it is how long a node may be away, or behind, and still miss nothing:
    /// whatever bound is reached first trims. Less than an outage that should go unnoticed makes it a gap; more only
    /// costs disk.
    pub max_retained_age: Duration,
    /// Bytes of payloads that the database keeps of each stream. Defaults to 256 MiB.
    ///
    /// At least `max_payload_bytes`. The data file must hold `table_count` times this, and some.
    pub max_retained_bytes: u64,
    /// Payloads that the database keeps of each stream. Defaults to 1,000,000.
    pub max_retained_rows: u64,
    /// How long the database remembers what a node that is gone sent last. Defaults to 24 hours.
    ///
    /// Less may add a message twice that such a node repeats when it comes back; more only costs a few bytes for each
    /// node that ever was. At least 1 hour, and not less than `max_retained_age`.
    pub sender_expiry: Duration,
    /// Bytes of a payload that is accepted. Defaults to 1 MiB.
    ///
    /// A larger message fails with `PayloadTooLarge`. A large payload holds up the others of its stream while it is
    /// written. At most 64 MiB.
    pub max_payload_bytes: usize,
    /// The delay before the table is looked at again right after there was something. Defaults to 10 ms.
    ///
    /// Less is lower latency under traffic, for more requests; at most `max_poll`.
    pub min_poll: Duration,
    /// The longest delay between looks at an idle table, without Service Broker. Defaults to 1 s.
    ///
    /// It bounds the latency of the first message after silence; less is more requests while nothing happens.
    pub max_poll: Duration,
    /// The longest delay between looks at an idle table while Service Broker tells of news. Defaults to 15 s.
    ///
    /// It bounds what a lost notification costs. At most 60 s, and not less than `max_poll`.
    pub max_poll_with_broker: Duration,
    /// How long a connection may take to be made: name look-up, TCP, TLS and login together. Defaults to 10 s.
    ///
    /// Too little never connects over a slow link, or to a serverless database that has to wake up; too much waits
    /// for long on an address that drops packets. At most 5 minutes.
    pub connect_timeout: Duration,
    /// How long the server may leave a request unanswered. Defaults to 5 s.
    ///
    /// The connection is then given up. Too little takes a pause of the server, or somebody's lock, for an outage; too
    /// much notices a dead one late. 100 ms to 10 minutes.
    pub command_timeout: Duration,
    /// The delay before the second attempt to connect. Defaults to 50 ms.
    ///
    /// The first is at once; further delays double, with full jitter, up to `max_backoff`.
    pub min_backoff: Duration,
    /// The longest delay between attempts to connect. Defaults to 5 s.
    ///
    /// It adds to the time that a node takes to notice that the server is back; less lets a large fleet burden a
    /// server that has just started. At most 1 hour.
    pub max_backoff: Duration,
    /// The delay between attempts after an error that somebody must mend, such as a wrong password. Defaults to 60 s.
    ///
    /// Less may lock the account out, as a policy of Windows does after some failures; more delays recovery once it
    /// is mended. At most 24 hours.
    pub fatal_retry: Duration,
}

/// What of a connection is encrypted.
///
/// TLS is that of rustls, versions 1.2 and 1.3. Its cryptography is the process-wide provider of rustls where the
/// application, or something else in the process, has installed one before the connection is made, and aws-lc-rs
/// otherwise. Nothing is installed by this crate, and several providers that are compiled in do not disturb it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// All of it, or no connection.
    #[default]
    Required,
    /// All of it, from the first byte on: TDS 8, which SQL Server has since 2022.
    Strict,
    /// The login alone: messages can be read and changed on the way.
    LoginOnly,
    /// Nothing, not even the password. For servers without TLS, on a machine's own network.
    NotSupported,
}

/// What a node does about the objects in the database when it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Install {
    /// Creates what is missing and upgrades what is older. Needs grants that running does not.
    #[default]
    Create,
    /// Checks that all is there, and of a version that fits.
    Verify,
    /// Takes it for granted; what is missing fails when it is used.
    None,
}

/// How a node learns of new messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notifications {
    /// By Service Broker where the database has it enabled, and by polling.
    #[default]
    Auto,
    /// By polling alone.
    PollOnly,
}

impl SqlServerConfig {
    /// The defaults, for `app` in `database` on `host`.
    #[must_use]
    pub fn new(
        app: AppName,
        host: impl Into<String>,
        database: impl Into<String>,
        authentication: Authentication,
    ) -> Self {
        Self {
            app,
            host: host.into(),
            port: None,
            instance: None,
            database: database.into(),
            authentication,
            encryption: Encryption::default(),
            trust_server_certificate: false,
            ca: None,
            host_name_in_certificate: None,
            application_name: "scaleout".into(),
            packet_size: 8_000,
            schema: "scaleout".into(),
            install: Install::default(),
            enable_broker: false,
            notifications: Notifications::default(),
            table_count: NonZeroU16::new(4).expect("4 is not 0"),
            max_connections: NonZeroU16::new(4).expect("4 is not 0"),
            max_retained_age: 10 * MINUTE,
            max_retained_bytes: 256 << 20,
            max_retained_rows: 1_000_000,
            sender_expiry: 24 * HOUR,
            max_payload_bytes: 1 << 20,
            min_poll: Duration::from_millis(10),
            max_poll: Duration::from_secs(1),
            max_poll_with_broker: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(5),
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(5),
            fatal_retry: Duration::from_secs(60),
        }
    }

    /// Reads one of the [text forms](Self#text-forms), which must not say who logs in.
    ///
    /// It is for tokens, which no text can hold: leave out user, password and authentication.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem in one line, none of which shows a value.
    pub fn parse_with(text: &str, authentication: Authentication) -> Result<Self, Error> {
        parse(text, Some(authentication))
    }
}

impl FromStr for SqlServerConfig {
    type Err = Error;

    /// Reads a URL or a connection string of ADO.NET; both are described [above](SqlServerConfig#text-forms).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem in one line, none of which shows a value.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text, None)
    }
}

fn parse(text: &str, authentication: Option<Authentication>) -> Result<SqlServerConfig, Error> {
    let text = text.trim();
    if text.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case("jdbc:")) {
        return Err(Error::new(
            ErrorKind::Config,
            "sqlserver settings: a URL of JDBC is not read: write sqlserver://user:password@host:port/database?app=…",
        ));
    }
    // A password of the other form may well hold `://`.
    let is_url = text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    });
    if is_url { url::parse(text, authentication) } else { ado::parse(text, authentication) }
}

macro_rules! setters {
    ($($field:ident $setter:ident: $type:ty $(=> $wrap:expr)?),* $(,)?) => {
        impl SqlServerConfig {
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
    authentication with_authentication: Authentication,
    port with_port: u16 => Some,
    instance with_instance: impl Into<String> => |it| Some(Into::into(it)),
    encryption with_encryption: Encryption,
    trust_server_certificate with_trust_server_certificate: bool,
    ca with_ca: impl Into<Vec<u8>> => |it| Some(Into::into(it)),
    host_name_in_certificate with_host_name_in_certificate: impl Into<String> => |it| Some(Into::into(it)),
    application_name with_application_name: impl Into<String> => Into::into,
    packet_size with_packet_size: u32,
    schema with_schema: impl Into<String> => Into::into,
    install with_install: Install,
    enable_broker with_enable_broker: bool,
    notifications with_notifications: Notifications,
    table_count with_table_count: NonZeroU16,
    max_connections with_max_connections: NonZeroU16,
    max_retained_age with_max_retained_age: Duration,
    max_retained_bytes with_max_retained_bytes: u64,
    max_retained_rows with_max_retained_rows: u64,
    sender_expiry with_sender_expiry: Duration,
    max_payload_bytes with_max_payload_bytes: usize,
    min_poll with_min_poll: Duration,
    max_poll with_max_poll: Duration,
    max_poll_with_broker with_max_poll_with_broker: Duration,
    connect_timeout with_connect_timeout: Duration,
    command_timeout with_command_timeout: Duration,
    min_backoff with_min_backoff: Duration,
    max_backoff with_max_backoff: Duration,
    fatal_retry with_fatal_retry: Duration,
}

impl SqlServerConfig {
    /// Reports settings that cannot work.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem in one line.
    pub fn check(&self) -> Result<(), Error> {
        refuse_if_any(STORE, self.problems())
    }

    /// What cannot work, each in a few words that name the field.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.authentication.problems();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        let identifier_fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        refuse(
            !(1..=64).contains(&self.schema.len()) || !self.schema.bytes().all(identifier_fits),
            "schema is not 1 to 64 of A-Z, a-z, 0-9 and '_'",
        );
        refuse(self.table_count.get() > MAX_TABLES, "table_count is above 64");
        self.refuse_server(&mut refuse);
        self.refuse_retention(&mut refuse);
        self.refuse_times(&mut refuse);
        problems
    }

    fn refuse_server(&self, refuse: &mut impl FnMut(bool, &str)) {
        let name_fits = |name: &str| {
            (1..=128).contains(&name.encode_utf16().count()) && !name.chars().any(char::is_control)
        };
        refuse(!is_host(&self.host), "host is not a name or an IP address (IPv6 without brackets)");
        refuse(
            matches!(self.host.as_str(), "0.0.0.0" | "::"),
            "host is 0.0.0.0 or ::, which a server listens on and nobody can connect to",
        );
        refuse(self.port == Some(0), "port is 0");
        refuse(
            self.instance.as_ref().is_some_and(|instance| !instance_fits(instance)),
            "instance is not 1 to 16 of letters, digits, '_', '$' and '#'",
        );
        refuse(
            self.database.is_empty(),
            "database is missing (the login's default database is not used, as it may be changed)",
        );
        refuse(
            !self.database.is_empty() && !name_fits(&self.database),
            "database is longer than 128 characters, or holds a control character",
        );
        refuse(
            !name_fits(&self.application_name),
            "application_name is not 1 to 128 characters, none of them a control character",
        );
        refuse(!(512..=32_767).contains(&self.packet_size), "packet_size is not 512 to 32767");
        refuse(
            self.host_name_in_certificate.as_ref().is_some_and(|name| !is_host(name)),
            "host_name_in_certificate is not a name or an IP address",
        );
        let encrypts = self.encryption != Encryption::NotSupported;
        refuse(
            self.trust_server_certificate && self.ca.is_some(),
            "ca is set, and trust_server_certificate trusts any certificate",
        );
        refuse(
            self.trust_server_certificate && self.host_name_in_certificate.is_some(),
            "host_name_in_certificate is set, and trust_server_certificate trusts any certificate",
        );
        refuse(
            self.trust_server_certificate && self.encryption == Encryption::Strict,
            "trust_server_certificate is set, and strict encryption is there to check the certificate",
        );
        refuse(
            !encrypts && (self.ca.is_some() || self.host_name_in_certificate.is_some()),
            "ca and host_name_in_certificate are for TLS, and encryption is not_supported",
        );
        if let Some(pem) = &self.ca {
            client::ca_problems(pem, refuse);
        }
        refuse(
            !encrypts && matches!(self.authentication, Authentication::AccessToken(_)),
            "an access token is only sent encrypted, and encryption is not_supported",
        );
        refuse(
            self.enable_broker && self.install != Install::Create,
            "enable_broker is for install=create: other nodes change nothing",
        );
        refuse(
            self.enable_broker && self.notifications == Notifications::PollOnly,
            "enable_broker is set, and notifications are poll_only",
        );
    }

    fn refuse_retention(&self, refuse: &mut impl FnMut(bool, &str)) {
        refuse(self.max_payload_bytes == 0, "max_payload_bytes is 0: nothing could be sent");
        refuse(self.max_payload_bytes > MAX_PAYLOAD_BYTES, "max_payload_bytes is above 64 MiB");
        refuse(
            u64::try_from(self.max_payload_bytes).is_ok_and(|payload| self.max_retained_bytes < payload),
            "max_retained_bytes is below max_payload_bytes: one payload would push out all others",
        );
        refuse(self.max_retained_bytes > MAX_BIGINT, "max_retained_bytes is above 2^63 - 1");
        refuse(self.max_retained_rows == 0, "max_retained_rows is 0: nothing would be kept");
        refuse(self.max_retained_rows > MAX_BIGINT, "max_retained_rows is above 2^63 - 1");
        refuse(self.max_retained_age.is_zero(), "max_retained_age is 0: nothing would be kept");
        refuse(self.max_retained_age > 365 * 24 * HOUR, "max_retained_age is above 365 days");
        refuse(self.sender_expiry < HOUR, "sender_expiry is below 1 hour");
        refuse(self.sender_expiry > 365 * 24 * HOUR, "sender_expiry is above 365 days");
        refuse(self.sender_expiry < self.max_retained_age, "sender_expiry is below max_retained_age");
    }

    fn refuse_times(&self, refuse: &mut impl FnMut(bool, &str)) {
        refuse(
            self.min_poll < Duration::from_millis(1),
            "min_poll is below 1 ms: the server would be asked in a busy loop",
        );
        refuse(self.max_poll < self.min_poll, "max_poll is below min_poll");
        refuse(self.max_poll_with_broker < self.max_poll, "max_poll_with_broker is below max_poll");
        refuse(self.max_poll_with_broker > MINUTE, "max_poll_with_broker is above 60 s");
        refuse(self.connect_timeout.is_zero(), "connect_timeout is 0: nothing could connect");
        refuse(self.connect_timeout > 5 * MINUTE, "connect_timeout is above 5 minutes");
        refuse(self.command_timeout < Duration::from_millis(100), "command_timeout is below 100 ms");
        refuse(self.command_timeout > 10 * MINUTE, "command_timeout is above 10 minutes");
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

impl fmt::Debug for SqlServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, since certificates are long; what is secret hides itself. All fields are named, so that a new one
        // is not forgotten.
        let Self {
            app,
            host,
            port,
            instance,
            database,
            authentication,
            encryption,
            trust_server_certificate,
            ca,
            host_name_in_certificate,
            application_name,
            packet_size,
            schema,
            install,
            enable_broker,
            notifications,
            table_count,
            max_connections,
            max_retained_age,
            max_retained_bytes,
            max_retained_rows,
            sender_expiry,
            max_payload_bytes,
            min_poll,
            max_poll,
            max_poll_with_broker,
            connect_timeout,
            command_timeout,
            min_backoff,
            max_backoff,
            fatal_retry,
        } = self;
        f.debug_struct("SqlServerConfig")
            .field("app", app)
            .field("host", host)
            .field("port", port)
            .field("instance", instance)
            .field("database", database)
            .field("authentication", authentication)
            .field("encryption", encryption)
            .field("trust_server_certificate", trust_server_certificate)
            .field("ca", &ca.as_ref().map(|_| "PEM"))
            .field("host_name_in_certificate", host_name_in_certificate)
            .field("application_name", application_name)
            .field("packet_size", packet_size)
            .field("schema", schema)
            .field("install", install)
            .field("enable_broker", enable_broker)
            .field("notifications", notifications)
            .field("table_count", table_count)
            .field("max_connections", max_connections)
            .field("max_retained_age", max_retained_age)
            .field("max_retained_bytes", max_retained_bytes)
            .field("max_retained_rows", max_retained_rows)
            .field("sender_expiry", sender_expiry)
            .field("max_payload_bytes", max_payload_bytes)
            .field("min_poll", min_poll)
            .field("max_poll", max_poll)
            .field("max_poll_with_broker", max_poll_with_broker)
            .field("connect_timeout", connect_timeout)
            .field("command_timeout", command_timeout)
            .field("min_backoff", min_backoff)
            .field("max_backoff", max_backoff)
            .field("fatal_retry", fatal_retry)
            .finish()
    }
}

/// Whether `instance` can be the name of one ("Instance configuration" in the documentation of SQL Server's setup).
fn instance_fits(instance: &str) -> bool {
    let fits = |char: char| char.is_alphanumeric() || matches!(char, '_' | '$' | '#');
    (1..=16).contains(&instance.chars().count()) && instance.chars().all(fits)
}

/// What the settings are of, in errors.
const STORE: &str = "sqlserver";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Each table has a set of procedures of its own; more streams than a large server has processors buy nothing.
const MAX_TABLES: u16 = 64;

/// The server takes 2 GiB; what is far smaller already holds up everybody else on its stream.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// What fits the procedures' parameters.
const MAX_BIGINT: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests;
