//! What a user can set on a Service Bus backplane.

mod connection_string;
mod endpoints;
mod options;
#[cfg(feature = "serde")]
mod serde;
mod tls;
mod url;

use std::{fmt, num::NonZeroU16, str::FromStr, time::Duration};

use scaleout_core::{
    AppName, Error,
    provider::settings::{is_host, refuse_if_any},
};

#[cfg(feature = "entra")]
pub(crate) use self::tls::tls_of;
pub(crate) use self::{endpoints::ManagementUrl, tls::NodeTls};
use crate::token::Credential;

/// The settings of a Service Bus backplane.
///
/// `app`, `topic_prefix` and `topic_count` are the layout: all nodes of an app must agree on them. `Debug` shows no
/// secrets.
///
/// # Text forms
///
/// The connection string of a namespace, as the portal shows it, with options of ours:
/// `Endpoint=sb://chat.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…;App=chat`. Names have any case.
///
/// - `Endpoint=sb://host[:port]`, where the port is that for messages;
/// - `SharedAccessKeyName` and `SharedAccessKey`, or `SharedAccessSignature` with a ready token;
/// - `UseDevelopmentEmulator=true` is `development_emulator`;
/// - `TransportType=AmqpWebSockets` is `protocol=websocket`;
/// - `EntityPath` is refused: it is in the connection string of one topic or queue, whose policy knows no others.
///
/// As a URL, `servicebus://policy:key@host[:port]/?app=chat`, or `servicebus+emulator://` for the development emulator.
/// Policy, key and values are percent-decoded, and a `+` is a plus; a `/` in a key must be written `%2F`.
///
/// Options are named as the fields, which are described below; in a connection string also as `TopicCount`: `app`
/// (required), `host`, `amqp_port`, `management_endpoint`, `shared_access_key_name`, `shared_access_key`,
/// `shared_access_signature`, `development_emulator`, `ca` (PEM or the path of a PEM file, which is read at once),
/// `protocol` (`amqp`, `websocket`, `rest`), `topic_prefix`, `topic_count`, `create_entities`, `subscription`, `epoch`,
/// `node_label`, `reception` (`peek_lock`, `receive_and_delete`), `subscription_idle_expiry`, `message_ttl`,
/// `lock_duration`, `max_delivery_count`, `max_topic_megabytes`, `duplicate_window`, `max_payload_bytes`, `idle_timeout`, `keep_alive`,
/// `connect_timeout`, `operation_timeout`, `token_lifetime`, `min_backoff`, `max_backoff`, `fatal_retry` and
/// `start_jitter`. A size is `64KiB`, `1MB` or plain bytes; a duration is `500ms`, `1m 30s` or plain seconds.
///
/// An option that is unknown, empty or given twice is refused in either form.
///
/// ```
/// # fn main() -> Result<(), scaleout_core::Error> {
/// use std::time::Duration;
///
/// use scaleout_servicebus::{Credential, ServiceBusConfig};
///
/// let config: ServiceBusConfig = "Endpoint=sb://chat.servicebus.windows.net/;SharedAccessKeyName=node;\
///     SharedAccessKey=c2VjcmV0;App=chat;MessageTtl=10m".parse()?;
/// assert_eq!(config.credential, Credential::shared_access_key("node", "c2VjcmV0"));
/// assert_eq!(config.message_ttl, Duration::from_secs(600));
///
/// let same: ServiceBusConfig =
///     "servicebus://node:c2VjcmV0@chat.servicebus.windows.net/?app=chat&message_ttl=10m".parse()?;
/// assert_eq!(config, same);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ServiceBusConfig {
    /// The application's namespace, a part of the names of its topics. Required.
    pub app: AppName,
    /// The name of the Service Bus namespace: `chat.servicebus.windows.net`. Required.
    ///
    /// An IPv6 address, which only an emulator has, is written without brackets.
    pub host: String,
    /// The port for messages. Defaults to none: 5671, 443 by WebSocket, and 5672 of the development emulator.
    ///
    /// It has no meaning with [`Protocol::Rest`].
    pub amqp_port: Option<u16>,
    /// Where entities are created and looked up, as a URL without a path. Defaults to none: `https://` and `host`, or
    /// port 5300 of the development emulator by `http://`.
    ///
    /// `http://` is for loopback addresses and the development emulator: tokens are sent there.
    pub management_endpoint: Option<String>,
    /// As whom to connect. Required.
    pub credential: Credential,
    /// Whether `host` is the emulator of Service Bus, or ours, which speaks without TLS. Defaults to `false`.
    pub development_emulator: bool,
    /// Certificates of authorities that are trusted besides those of the operating system, as PEM. Defaults to none.
    ///
    /// For networks whose proxy opens TLS, and for emulators. It has no meaning with `development_emulator`.
    pub ca: Option<Vec<u8>>,
    /// How messages travel. Defaults to AMQP.
    pub protocol: Protocol,
    /// What the names of the topics begin with. Defaults to `scaleout-`.
    ///
    /// A topic is named `{topic_prefix}{app}-{index}`. At most 100 of letters, digits, `.`, `-` and `_`, beginning with a
    /// letter or digit. Two apps whose prefix and name give the same text would share topics.
    pub topic_prefix: String,
    /// Topics, of which each is one stream that the channels of the app are spread over. Defaults to 5; at most 64.
    ///
    /// Order is kept within a stream, and each sends one message at a time: more let more nodes publish at once. They add
    /// no capacity to the namespace, and each costs every node a subscription.
    pub topic_count: NonZeroU16,
    /// Whether a node creates the topics that are missing, and its own subscriptions. Defaults to `true`.
    ///
    /// It needs the right Manage (role Azure Service Bus Data Owner). With `false` the topics and a subscription for each
    /// node on every topic must be there, and Send and Listen are enough; nothing is asked by HTTPS then.
    pub create_entities: bool,
    /// The name of this node's subscriptions, the same on every topic, where `create_entities` is `false`. Defaults to
    /// none.
    ///
    /// Every node needs one of its own: two that share one get half of the messages each. A node that only publishes
    /// needs none. 1 to 50 of letters, digits, `.`, `-` and `_`, beginning and ending with a letter or digit.
    pub subscription: Option<String>,
    /// The number of the topics' history, where `create_entities` is `false`. Defaults to 1.
    ///
    /// Raise it on all nodes when the topics are deleted and created again. With `create_entities`, the time at which a
    /// topic was created is asked for instead.
    pub epoch: u64,
    /// What the names of this node's subscriptions begin with, for people who look at a topic. Defaults to none: the name
    /// of the host.
    ///
    /// Anything but letters, digits and `-` is replaced, and it is cut to 33 characters. A random part follows.
    pub node_label: Option<String>,
    /// What happens to messages that are on their way to a node when its connection ends. Defaults to being delivered
    /// again.
    pub reception: Reception,
    /// How long a subscription may be unused until Service Bus deletes it. Defaults to 10 minutes; 5 minutes to 24 hours.
    ///
    /// A node that stops without closing leaves its subscriptions for so long, and one that is cut off for longer loses
    /// what was sent meanwhile.
    pub subscription_idle_expiry: Duration,
    /// How long a subscription keeps a message for its node. Defaults to 5 minutes; 1 minute to 24 hours.
    ///
    /// A node that is cut off for longer loses messages. More makes subscriptions of nodes that are gone fill the topic.
    /// The official emulator takes at most 1 hour.
    pub message_ttl: Duration,
    /// How long a received message belongs to the connection that it came by. Defaults to 5 s; 5 s to 5 minutes.
    ///
    /// After a connection was lost, what was on its way comes again this much later, and what follows it waits.
    pub lock_duration: Duration,
    /// How often a message may be delivered to one node until it is put aside, and missed. Defaults to 2,000; 10 to 2,000.
    pub max_delivery_count: u32,
    /// The size of a topic that is created, in megabytes. Defaults to 1,024; a multiple of 1,024, at most 81,920.
    ///
    /// A full topic takes no messages. Every subscription's copy counts; Standard goes up to 5,120.
    pub max_topic_megabytes: u32,
    /// For how long a topic that is created recognises a message that is sent again. Defaults to 1 hour; 20 s to 7 days.
    ///
    /// A frame that was first tried longer ago is given up. The official emulator takes at most 5 minutes.
    pub duplicate_window: Duration,
    /// Bytes of a payload that is accepted. Defaults to 192 KiB; at most 100 MiB.
    ///
    /// Standard takes 256 KiB with all properties, Premium what the topic is set to, 1 MiB by default. A topic that is
    /// created for more than that is created with as much.
    pub max_payload_bytes: usize,
    /// How long Service Bus may be silent on a connection until it counts as dead. Defaults to 60 s; 2 s to 4 minutes.
    ///
    /// A heartbeat is sent twice in that time.
    pub idle_timeout: Duration,
    /// How long nothing may come on a stream that is received, until a node appends an empty payload. Defaults to 2
    /// minutes; 1 s to half of `message_ttl`, and of `subscription_idle_expiry`.
    ///
    /// It keeps subscriptions and links from being idle, and it has to come back: so a link that is dead without a word is
    /// noticed as well. All nodes get it, so that one of them sends for all.
    pub keep_alive: Duration,
    /// How long a connection may take to be made, from name look-up to the token. Defaults to 10 s; at most 5 minutes.
    pub connect_timeout: Duration,
    /// How long Service Bus may leave a request unanswered. Defaults to 10 s; 100 ms to 10 minutes.
    ///
    /// The connection is then given up. Too little takes a slow moment for an outage; too much notices one late.
    pub operation_timeout: Duration,
    /// How long a token that is made from a shared access key is valid. Defaults to 1 hour; 1 s to 24 hours.
    ///
    /// It is renewed at three quarters of that, or five minutes before its end if that is sooner.
    pub token_lifetime: Duration,
    /// The delay before the second attempt to connect. Defaults to 50 ms.
    ///
    /// The first is at once; further delays double, with full jitter, up to `max_backoff`.
    pub min_backoff: Duration,
    /// The longest delay between attempts to connect. Defaults to 5 s; at most 1 hour.
    pub max_backoff: Duration,
    /// The delay between attempts after an error that somebody must mend, such as a wrong key. Defaults to 60 s; at most 24
    /// hours.
    pub fatal_retry: Duration,
    /// The longest random delay before a node first asks for its entities. Defaults to 500 ms; at most 5 minutes.
    ///
    /// A namespace of the tier Standard takes about 100 such requests a second, and nodes often start together.
    pub start_jitter: Duration,
}

/// How messages travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// AMQP 1.0 over TLS, port 5671.
    #[default]
    Amqp,
    /// AMQP 1.0 in a WebSocket, port 443, for networks that let nothing else out. Needs the feature `websocket`.
    ///
    /// The rest is as with AMQP: the same order, guarantees and cost.
    WebSocket,
    /// HTTPS requests to `management_endpoint`, one after the other. Needs the feature `rest`.
    ///
    /// A message is one request to send and two to receive, and a waiting one for each topic meanwhile, which is made
    /// again after half of `idle_timeout`. Since no link tells that a topic was deleted, a node with `create_entities` asks
    /// after each send whether it is the same one still, which counts as ten operations. Nodes that use AMQP and nodes
    /// that use REST understand each other. Payloads have at most 1 MiB.
    Rest,
}

/// What happens to messages that are on their way to a node when its connection ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reception {
    /// They are delivered again once their lock is over. Nothing is lost; every message costs one operation more.
    #[default]
    PeekLock,
    /// They are lost, which subscribers are told by a gap after every reconnect. Half the operations.
    ReceiveAndDelete,
}

impl ServiceBusConfig {
    /// The defaults, for `app` in the namespace `host`.
    #[must_use]
    pub fn new(app: AppName, host: impl Into<String>, credential: Credential) -> Self {
        Self {
            app,
            host: host.into(),
            amqp_port: None,
            management_endpoint: None,
            credential,
            development_emulator: false,
            ca: None,
            protocol: Protocol::default(),
            topic_prefix: "scaleout-".into(),
            topic_count: NonZeroU16::new(5).expect("5 is not 0"),
            create_entities: true,
            subscription: None,
            epoch: 1,
            node_label: None,
            reception: Reception::default(),
            subscription_idle_expiry: 10 * MINUTE,
            message_ttl: 5 * MINUTE,
            lock_duration: Duration::from_secs(5),
            max_delivery_count: 2_000,
            max_topic_megabytes: 1_024,
            duplicate_window: HOUR,
            max_payload_bytes: 192 << 10,
            idle_timeout: MINUTE,
            keep_alive: 2 * MINUTE,
            connect_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(10),
            token_lifetime: HOUR,
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(5),
            fatal_retry: MINUTE,
            start_jitter: Duration::from_millis(500),
        }
    }

    /// Reads one of the [text forms](Self#text-forms), which must not say as whom to connect.
    ///
    /// It is for tokens of a [provider](crate::TokenProvider), which no text can hold: leave out key and signature.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), with every problem in one line, none of which shows a value.
    pub fn parse_with(text: &str, credential: Credential) -> Result<Self, Error> {
        parse(text, Some(credential))
    }

    /// Whether connections for messages are encrypted: all but those to the development emulator.
    pub(crate) fn tls(&self) -> bool {
        !self.development_emulator
    }

    /// The port for messages.
    pub(crate) fn data_port(&self) -> u16 {
        self.amqp_port.unwrap_or(match (self.development_emulator, self.protocol) {
            (true, _) => 5672,
            (false, Protocol::Amqp) => 5671,
            (false, Protocol::WebSocket | Protocol::Rest) => 443,
        })
    }
}

impl FromStr for ServiceBusConfig {
    type Err = Error;

    /// Reads a connection string or a URL; both are described [above](ServiceBusConfig#text-forms).
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), with every problem in one line, none of which shows a value.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text, None)
    }
}

fn parse(text: &str, credential: Option<Credential>) -> Result<ServiceBusConfig, Error> {
    let text = text.trim();
    // The other form has a `://` in it as well.
    let is_url = text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    });
    if is_url { url::parse(text, credential) } else { connection_string::parse(text, credential) }
}

macro_rules! setters {
    ($($field:ident $setter:ident: $type:ty $(=> $wrap:expr)?),* $(,)?) => {
        impl ServiceBusConfig {
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
    credential with_credential: Credential,
    amqp_port with_amqp_port: u16 => Some,
    management_endpoint with_management_endpoint: impl Into<String> => |it| Some(Into::into(it)),
    development_emulator with_development_emulator: bool,
    ca with_ca: impl Into<Vec<u8>> => |it| Some(Into::into(it)),
    protocol with_protocol: Protocol,
    topic_prefix with_topic_prefix: impl Into<String> => Into::into,
    topic_count with_topic_count: NonZeroU16,
    create_entities with_create_entities: bool,
    subscription with_subscription: impl Into<String> => |it| Some(Into::into(it)),
    epoch with_epoch: u64,
    node_label with_node_label: impl Into<String> => |it| Some(Into::into(it)),
    reception with_reception: Reception,
    subscription_idle_expiry with_subscription_idle_expiry: Duration,
    message_ttl with_message_ttl: Duration,
    lock_duration with_lock_duration: Duration,
    max_delivery_count with_max_delivery_count: u32,
    max_topic_megabytes with_max_topic_megabytes: u32,
    duplicate_window with_duplicate_window: Duration,
    max_payload_bytes with_max_payload_bytes: usize,
    idle_timeout with_idle_timeout: Duration,
    keep_alive with_keep_alive: Duration,
    connect_timeout with_connect_timeout: Duration,
    operation_timeout with_operation_timeout: Duration,
    token_lifetime with_token_lifetime: Duration,
    min_backoff with_min_backoff: Duration,
    max_backoff with_max_backoff: Duration,
    fatal_retry with_fatal_retry: Duration,
    start_jitter with_start_jitter: Duration,
}

impl ServiceBusConfig {
    /// Reports settings that cannot work.
    ///
    /// # Errors
    /// [`Config`](scaleout_core::ErrorKind::Config), with every problem in one line.
    pub fn check(&self) -> Result<(), Error> {
        refuse_if_any(STORE, self.problems())
    }

    /// What cannot work, each in a few words that name the field.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.credential.problems();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        self.refuse_service(&mut refuse);
        self.refuse_entities(&mut refuse);
        self.refuse_times(&mut refuse);
        problems
    }

    fn refuse_service(&self, refuse: &mut impl FnMut(bool, &str)) {
        refuse(self.host.is_empty(), "host is missing");
        refuse(
            !self.host.is_empty() && !is_host(&self.host),
            "host is not a name or an IP address (IPv6 without brackets)",
        );
        refuse(
            matches!(self.host.as_str(), "0.0.0.0" | "::"),
            "host is 0.0.0.0 or ::, which a server listens on and nobody can connect to",
        );
        refuse(self.amqp_port == Some(0), "amqp_port is 0");
        match self.management_endpoint.as_deref().map(ManagementUrl::parse) {
            None => {}
            Some(None) => refuse(true, "management_endpoint is not https://<host>[:port], without a path"),
            Some(Some(url)) => refuse(
                !url.tls && !self.development_emulator && !url.is_loopback(),
                "management_endpoint is http:// and no loopback address: tokens would be sent in the clear",
            ),
        }
        refuse(
            self.ca.is_some()
                && self.development_emulator
                && self.management_url().is_some_and(|url| !url.tls),
            "ca is for TLS, and the development emulator has none",
        );
        if let Some(pem) = &self.ca {
            tls::ca_problems(pem, refuse);
        }
        refuse(
            !cfg!(feature = "websocket") && self.protocol == Protocol::WebSocket,
            "protocol is websocket, and scaleout-servicebus was built without its feature `websocket`",
        );
        refuse(
            !cfg!(feature = "rest") && self.protocol == Protocol::Rest,
            "protocol is rest, and scaleout-servicebus was built without its feature `rest`",
        );
        refuse(
            self.protocol == Protocol::Rest && self.max_payload_bytes > MAX_REST_PAYLOAD_BYTES,
            "max_payload_bytes is above 1 MiB, and protocol=rest carries no more",
        );
    }

    fn refuse_entities(&self, refuse: &mut impl FnMut(bool, &str)) {
        let begins_well = |name: &str| name.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric());
        let ends_well = |name: &str| name.bytes().last().is_none_or(|byte| byte.is_ascii_alphanumeric());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        refuse(
            self.topic_prefix.len() > 100
                || !self.topic_prefix.bytes().all(fits)
                || !begins_well(&self.topic_prefix),
            "topic_prefix is not up to 100 of letters, digits, '.', '-' and '_', beginning with a letter or digit",
        );
        refuse(self.topic_count.get() > MAX_TOPICS, "topic_count is above 64");
        if let Some(name) = &self.subscription {
            refuse(
                !(1..=50).contains(&name.len())
                    || !name.bytes().all(fits)
                    || !begins_well(name)
                    || !ends_well(name),
                "subscription is not 1 to 50 of letters, digits, '.', '-' and '_', beginning and ending with a letter \
                 or digit",
            );
            refuse(
                self.create_entities,
                "subscription is for create_entities=false: a node otherwise makes its own (see node_label)",
            );
        }
        refuse(
            self.create_entities && self.epoch != 1,
            "epoch is for create_entities=false: a topic's creation time is asked for otherwise",
        );
        refuse(
            self.node_label.as_ref().is_some_and(|label| !label.bytes().any(|b| b.is_ascii_alphanumeric())),
            "node_label has no letter or digit",
        );
        refuse(!(10..=2_000).contains(&self.max_delivery_count), "max_delivery_count is not 10 to 2000");
        refuse(
            !(1_024..=81_920).contains(&self.max_topic_megabytes)
                || !self.max_topic_megabytes.is_multiple_of(1_024),
            "max_topic_megabytes is not a multiple of 1024, at most 81920",
        );
        refuse(self.max_payload_bytes == 0, "max_payload_bytes is 0: nothing could be sent");
        refuse(self.max_payload_bytes > MAX_PAYLOAD_BYTES, "max_payload_bytes is above 100 MiB");
    }

    fn refuse_times(&self, refuse: &mut impl FnMut(bool, &str)) {
        let day = 24 * HOUR;
        let second = Duration::from_secs(1);
        refuse(
            !(5 * MINUTE..=day).contains(&self.subscription_idle_expiry),
            "subscription_idle_expiry is not 5 minutes to 24 hours",
        );
        refuse(!(MINUTE..=day).contains(&self.message_ttl), "message_ttl is not 1 minute to 24 hours");
        refuse(
            !(5 * second..=5 * MINUTE).contains(&self.lock_duration),
            "lock_duration is not 5 s to 5 minutes",
        );
        refuse(self.lock_duration > self.message_ttl, "lock_duration is above message_ttl");
        refuse(
            !(20 * second..=7 * day).contains(&self.duplicate_window),
            "duplicate_window is not 20 s to 7 days",
        );
        refuse(
            !(2 * second..=4 * MINUTE).contains(&self.idle_timeout),
            "idle_timeout is not 2 s to 4 minutes",
        );
        let least_lasting = self.message_ttl.min(self.subscription_idle_expiry);
        refuse(
            !(second..=least_lasting / 2).contains(&self.keep_alive),
            "keep_alive is not 1 s to half of message_ttl and of subscription_idle_expiry",
        );
        refuse(self.connect_timeout.is_zero(), "connect_timeout is 0: nothing could connect");
        refuse(self.connect_timeout > 5 * MINUTE, "connect_timeout is above 5 minutes");
        refuse(self.operation_timeout < Duration::from_millis(100), "operation_timeout is below 100 ms");
        refuse(self.operation_timeout > 10 * MINUTE, "operation_timeout is above 10 minutes");
        refuse(!(second..=day).contains(&self.token_lifetime), "token_lifetime is not 1 s to 24 hours");
        refuse(
            self.min_backoff.is_zero(),
            "min_backoff is 0: an unreachable service would be tried in a busy loop",
        );
        refuse(self.max_backoff < self.min_backoff, "max_backoff is below min_backoff");
        refuse(self.max_backoff > HOUR, "max_backoff is above 1 hour");
        refuse(self.fatal_retry.is_zero(), "fatal_retry is 0: a wrong key would be tried in a busy loop");
        refuse(self.fatal_retry > day, "fatal_retry is above 24 hours");
        refuse(self.start_jitter > 5 * MINUTE, "start_jitter is above 5 minutes");
    }
}

impl fmt::Debug for ServiceBusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, since certificates are long; what is secret hides itself. All fields are named, so that a new one
        // is not forgotten.
        let Self {
            app,
            host,
            amqp_port,
            management_endpoint,
            credential,
            development_emulator,
            ca,
            protocol,
            topic_prefix,
            topic_count,
            create_entities,
            subscription,
            epoch,
            node_label,
            reception,
            subscription_idle_expiry,
            message_ttl,
            lock_duration,
            max_delivery_count,
            max_topic_megabytes,
            duplicate_window,
            max_payload_bytes,
            idle_timeout,
            keep_alive,
            connect_timeout,
            operation_timeout,
            token_lifetime,
            min_backoff,
            max_backoff,
            fatal_retry,
            start_jitter,
        } = self;
        f.debug_struct("ServiceBusConfig")
            .field("app", app)
            .field("host", host)
            .field("amqp_port", amqp_port)
            .field("management_endpoint", management_endpoint)
            .field("credential", credential)
            .field("development_emulator", development_emulator)
            .field("ca", &ca.as_ref().map(|_| "PEM"))
            .field("protocol", protocol)
            .field("topic_prefix", topic_prefix)
            .field("topic_count", topic_count)
            .field("create_entities", create_entities)
            .field("subscription", subscription)
            .field("epoch", epoch)
            .field("node_label", node_label)
            .field("reception", reception)
            .field("subscription_idle_expiry", subscription_idle_expiry)
            .field("message_ttl", message_ttl)
            .field("lock_duration", lock_duration)
            .field("max_delivery_count", max_delivery_count)
            .field("max_topic_megabytes", max_topic_megabytes)
            .field("duplicate_window", duplicate_window)
            .field("max_payload_bytes", max_payload_bytes)
            .field("idle_timeout", idle_timeout)
            .field("keep_alive", keep_alive)
            .field("connect_timeout", connect_timeout)
            .field("operation_timeout", operation_timeout)
            .field("token_lifetime", token_lifetime)
            .field("min_backoff", min_backoff)
            .field("max_backoff", max_backoff)
            .field("fatal_retry", fatal_retry)
            .field("start_jitter", start_jitter)
            .finish()
    }
}

/// What the settings are of, in errors.
const STORE: &str = "servicebus";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Every node has a subscription on each topic, and a start asks for all of them.
const MAX_TOPICS: u16 = 64;

/// What a topic of the tier Premium can be set to take.
const MAX_PAYLOAD_BYTES: usize = 100 << 20;

/// Larger messages are for AMQP only.
const MAX_REST_PAYLOAD_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
