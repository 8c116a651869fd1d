//! What a user can set on a bus.

use std::time::Duration;

#[cfg(feature = "serde")]
mod serde;

use crate::{
    AppName, Error, ErrorKind,
    frame::FRAME_VERSION,
    provider::settings::{duration, number, one_of, put, shown, size},
};

/// The settings of a [`Bus`](crate::Bus).
///
/// Every bound is per bus, shared by its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusConfig {
    /// The application's namespace. Defaults to `app`.
    ///
    /// Frames carry its hash, so that a frame of another app is never taken for one of this.
    pub app: AppName,
    /// Whether this node receives. Defaults to [`Role::Full`].
    pub role: Role,
    /// Which streams this node receives. Defaults to [`Interest::AllStreams`].
    ///
    /// [`Interest::OnDemand`] needs a backplane that replays, and `max_backlog_payloads` above 0.
    pub interest: Interest,
    /// How long a stream is received after the last subscription to one of its channels has ended. Defaults to 30 s.
    ///
    /// With [`Interest::OnDemand`] only. A client that comes back within that time finds the stream as it left it; more
    /// costs memory and traffic for streams that nobody here follows, less makes clients that come and go wait while
    /// it is opened again.
    pub interest_linger: Duration,
    /// Who may wait in the send queue while a stream is not up. Defaults to [`QueuePolicy::Always`].
    pub queue_policy: QueuePolicy,
    /// What happens to a message that finds the send queue full. Defaults to [`Overflow::Reject`].
    pub overflow: Overflow,
    /// Messages that may wait to be sent. Defaults to 100,000.
    pub max_queue_messages: usize,
    /// Bytes of messages that may wait to be sent. Defaults to 32 MiB.
    pub max_queue_bytes: usize,
    /// How long a message may wait to be sent before it fails with `Expired`. Defaults to 30 s.
    ///
    /// It counts until the message is part of a frame that was tried; such a frame is retried for ever.
    pub max_queue_age: Duration,
    /// Bytes of a frame up to which waiting messages are put together. Defaults to 128 KiB.
    ///
    /// A larger message goes alone in a larger frame. More costs memory and latency of what waits behind,
    /// less costs throughput.
    pub max_frame_bytes: usize,
    /// Bytes of received frames, with their index, kept for subscribers and resuming clients. Defaults to 256 MiB.
    pub max_ring_bytes: usize,
    /// How long received frames are kept. Defaults to 10 minutes.
    pub max_ring_age: Duration,
    /// Bytes of accepted frames kept to repair a store that forgot them. Defaults to 32 MiB.
    pub max_tail_bytes: usize,
    /// How long accepted frames are kept to repair a store that forgot them. Defaults to 60 s.
    ///
    /// At least `max_queue_age`.
    pub max_tail_age: Duration,
    /// How long one send may take before it is tried again. Defaults to 5 s.
    pub send_timeout: Duration,
    /// How long a cursor ahead of this node is waited for, while the stream is up. Defaults to 10 s.
    pub ahead_wait: Duration,
    /// The delay before the second retry of a send. Defaults to 50 ms.
    ///
    /// The first retry is at once; further delays double, with full jitter, up to `max_backoff`.
    pub min_backoff: Duration,
    /// The longest delay between retries. Defaults to 5 s.
    pub max_backoff: Duration,
    /// Payloads asked of a store that replays, per stream, when a stream is opened. Defaults to 65,536.
    ///
    /// What does not fit the ring leaves it again; this bounds the work of opening.
    pub max_backlog_payloads: usize,
    /// The version of the frames this node writes. Defaults to [`FRAME_VERSION`], the only one so far.
    ///
    /// A release reads its own version and the one before, and writes the one before until it is told otherwise:
    /// upgrade every node first, then raise this.
    pub frame_version: u8,
    /// How long a stream may be degraded before [`Health::ready`](crate::Health::ready) turns false. Defaults to 30 s.
    ///
    /// So that one blip of the store does not take every node out of the balancer.
    pub degraded_grace: Duration,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            app: AppName::default(),
            role: Role::Full,
            interest: Interest::AllStreams,
            interest_linger: Duration::from_secs(30),
            queue_policy: QueuePolicy::Always,
            overflow: Overflow::Reject,
            max_queue_messages: 100_000,
            max_queue_bytes: 32 << 20,
            max_queue_age: Duration::from_secs(30),
            max_frame_bytes: 128 << 10,
            max_ring_bytes: 256 << 20,
            max_ring_age: Duration::from_secs(600),
            max_tail_bytes: 32 << 20,
            max_tail_age: Duration::from_secs(60),
            send_timeout: Duration::from_secs(5),
            ahead_wait: Duration::from_secs(10),
            min_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(5),
            max_backlog_payloads: 65_536,
            frame_version: FRAME_VERSION,
            degraded_grace: Duration::from_secs(30),
        }
    }
}

/// Declares the setters, and by what name and in which form each field is read from text.
macro_rules! fields {
    ($($field:ident $setter:ident: $type:ty, $read:expr;)*) => {
        impl BusConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }

        /// The fields by their names, and how each is set from text.
        const FIELDS: &[(&str, SetFromText)] = &[
            $((stringify!($field), |config, text| put(&mut config.$field, ($read)(text))),)*
        ];
    };
}

type SetFromText = fn(&mut BusConfig, &str) -> Result<(), String>;

fields! {
    app with_app: AppName, |text: &str| {
        text.parse().map_err(|_| "is not 1 to 31 of a-z, 0-9 and '-', not beginning with '-'".to_owned())
    };
    role with_role: Role, |text| one_of(text, &[("full", Role::Full), ("publish_only", Role::PublishOnly)]);
    interest with_interest: Interest,
        |text| one_of(text, &[("all_streams", Interest::AllStreams), ("on_demand", Interest::OnDemand)]);
    interest_linger with_interest_linger: Duration, duration;
    queue_policy with_queue_policy: QueuePolicy, |text| one_of(text, QUEUE_POLICIES);
    overflow with_overflow: Overflow, |text| one_of(text, OVERFLOWS);
    max_queue_messages with_max_queue_messages: usize, number;
    max_queue_bytes with_max_queue_bytes: usize, size;
    max_queue_age with_max_queue_age: Duration, duration;
    max_frame_bytes with_max_frame_bytes: usize, size;
    max_ring_bytes with_max_ring_bytes: usize, size;
    max_ring_age with_max_ring_age: Duration, duration;
    max_tail_bytes with_max_tail_bytes: usize, size;
    max_tail_age with_max_tail_age: Duration, duration;
    send_timeout with_send_timeout: Duration, duration;
    ahead_wait with_ahead_wait: Duration, duration;
    min_backoff with_min_backoff: Duration, duration;
    max_backoff with_max_backoff: Duration, duration;
    max_backlog_payloads with_max_backlog_payloads: usize, number;
    frame_version with_frame_version: u8, number;
    degraded_grace with_degraded_grace: Duration, duration;
}

const QUEUE_POLICIES: &[(&str, QueuePolicy)] = &[
    ("always", QueuePolicy::Always),
    ("initial_only", QueuePolicy::InitialOnly),
    ("disabled", QueuePolicy::Disabled),
];

const OVERFLOWS: &[(&str, Overflow)] =
    &[("reject", Overflow::Reject), ("wait", Overflow::Wait), ("drop_oldest", Overflow::DropOldest)];

impl BusConfig {
    /// Sets the field `name` to what `value` says: for settings that come as text, such as those of an environment.
    ///
    /// A duration is `500ms`, `5m`, or a number of seconds; a size `64MiB`, `1MB`, or a number of bytes; a choice is
    /// written as its variant in snake case: `drop_oldest`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config): there is no such field (the error lists them), or it cannot be `value`, which is
    /// not shown.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), scaleout_core::Error> {
    /// let mut config = scaleout_core::BusConfig::default();
    /// config.set("max_queue_bytes", "64MiB")?;
    /// config.set("overflow", "drop_oldest")?;
    /// assert_eq!(config.max_queue_bytes, 64 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let problem = match FIELDS.iter().find(|(field, _)| *field == name) {
            Some((_, set)) => match set(self, value) {
                Ok(()) => return Ok(()),
                Err(problem) => format!("{name} {problem}"),
            },
            None => {
                let names: Vec<_> = FIELDS.iter().map(|(field, _)| *field).collect();
                format!("there is no setting {}: there are {}", shown(name), names.join(", "))
            }
        };
        Err(Error::new(ErrorKind::Config, format!("bus settings: {problem}")))
    }

    /// Reports settings that cannot work.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), with every problem in one line.
    pub fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        refuse(self.max_queue_messages == 0, "max_queue_messages is 0: nothing could be sent");
        refuse(self.max_queue_bytes == 0, "max_queue_bytes is 0: nothing could be sent");
        refuse(self.max_queue_age.is_zero(), "max_queue_age is 0: nothing could be sent");
        refuse(self.max_frame_bytes == 0, "max_frame_bytes is 0");
        refuse(self.max_frame_bytes > 16 << 20, "max_frame_bytes is above 16 MiB");
        refuse(self.max_tail_age < self.max_queue_age, "max_tail_age is below max_queue_age");
        refuse(self.send_timeout.is_zero(), "send_timeout is 0");
        refuse(self.min_backoff.is_zero(), "min_backoff is 0");
        refuse(self.max_backoff < self.min_backoff, "max_backoff is below min_backoff");
        refuse(self.max_ring_age.is_zero(), "max_ring_age is 0");
        refuse(
            self.interest == Interest::OnDemand && self.max_backlog_payloads == 0,
            "max_backlog_payloads is 0: interest on demand opens streams with a backlog",
        );
        refuse(
            self.frame_version != FRAME_VERSION,
            "frame_version is not 1, which is all that this release writes",
        );
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("bus settings: {}", problems.join("; "))))
    }
}

/// Whether a node receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It publishes and receives.
    #[default]
    Full,
    /// It only publishes (emitters, jobs): no reception is opened, and subscriptions see nothing.
    PublishOnly,
}

/// Which streams a node receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interest {
    /// All of them, from the start to the end.
    #[default]
    AllStreams,
    /// Those on which it has subscriptions: with many streams a node costs what its own clients follow.
    ///
    /// A stream is opened, with the backlog that the store retains, at its first subscription, and closed
    /// [`interest_linger`](BusConfig::interest_linger) after the last one. "From now" is, at the first one, the store's head
    /// when the stream has opened: what this node publishes after `subscribe` lies behind that, and so does what others
    /// publish once the stream is [`Up`](crate::StreamState::Up).
    OnDemand,
}

/// Who may wait in the send queue while a stream is not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueuePolicy {
    /// Every message, up to the bounds.
    #[default]
    Always,
    /// Every message until the stream first opened; later outages refuse at once with `Unavailable`.
    InitialOnly,
    /// Nobody: a message for a stream that is not up fails at once with `Unavailable`.
    Disabled,
}

/// What happens to a message that finds the send queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It fails with `QueueFull`.
    #[default]
    Reject,
    /// `publish` waits for room, up to `max_queue_age`; `enqueue` fails with `QueueFull`.
    Wait,
    /// The oldest messages of its stream that are not yet in a frame are dropped, and fail with `Dropped`.
    DropOldest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_reported_at_once() {
        let config = BusConfig::default()
            .with_max_queue_messages(0)
            .with_send_timeout(Duration::ZERO)
            .with_interest(Interest::OnDemand)
            .with_max_backlog_payloads(0)
            .with_max_tail_age(Duration::from_secs(1));
        let text = config.check().unwrap_err().to_string();
        for part in ["max_queue_messages", "send_timeout", "max_tail_age", "max_backlog_payloads"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(BusConfig::default().check().is_ok());
    }

    #[test]
    fn every_field_is_set_by_its_name() {
        let mut config = BusConfig::default();
        for (name, value) in [
            ("app", "shop"),
            ("role", "publish_only"),
            ("interest", "on_demand"),
            ("interest_linger", "1s"),
            ("queue_policy", "Initial_Only"),
            ("overflow", "wait"),
            ("max_queue_messages", "1"),
            ("max_queue_bytes", "2KiB"),
            ("max_queue_age", "3"),
            ("max_frame_bytes", "4"),
            ("max_ring_bytes", "5MB"),
            ("max_ring_age", "6m"),
            ("max_tail_bytes", "7"),
            ("max_tail_age", "8h"),
            ("send_timeout", "9ms"),
            ("ahead_wait", "10s"),
            ("min_backoff", "0.5"),
            ("max_backoff", "12s"),
            ("max_backlog_payloads", "13"),
            ("frame_version", "14"),
            ("degraded_grace", "15s"),
        ] {
            config.set(name, value).expect(name);
        }
        let seconds = Duration::from_secs;
        let expected = BusConfig::default()
            .with_app("shop".parse().expect("a name"))
            .with_role(Role::PublishOnly)
            .with_interest(Interest::OnDemand)
            .with_interest_linger(seconds(1))
            .with_queue_policy(QueuePolicy::InitialOnly)
            .with_overflow(Overflow::Wait)
            .with_max_queue_messages(1)
            .with_max_queue_bytes(2 << 10)
            .with_max_queue_age(seconds(3))
            .with_max_frame_bytes(4)
            .with_max_ring_bytes(5_000_000)
            .with_max_ring_age(seconds(360))
            .with_max_tail_bytes(7)
            .with_max_tail_age(seconds(8 * 3600))
            .with_send_timeout(Duration::from_millis(9))
            .with_ahead_wait(seconds(10))
            .with_min_backoff(Duration::from_millis(500))
            .with_max_backoff(seconds(12))
            .with_max_backlog_payloads(13)
            .with_frame_version(14)
            .with_degraded_grace(seconds(15));
        assert_eq!(config, expected);
    }

    #[test]
    fn what_cannot_be_set_is_named_and_not_shown() {
        let mut config = BusConfig::default();
        for (name, value, told) in [
            ("max_queue_byte", "hunter2", "max_queue_bytes"),
            ("max_queue_bytes", "hunter2", "max_queue_bytes is not a size"),
            ("overflow", "hunter2", "overflow is none of reject, wait, drop_oldest"),
            ("app", "hunter2 ", "app is not 1 to 31"),
            ("frame_version", "256", "frame_version is not a whole number"),
            ("pass word://hunter2", "1", "not shown"),
        ] {
            let error = config.set(name, value).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains(told) && !text.contains("hunter2"), "{text}");
        }
        assert_eq!(config, BusConfig::default());
    }
}
