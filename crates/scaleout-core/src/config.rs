//! What a user can set on a bus.

use std::time::Duration;

use crate::{AppName, Error, ErrorKind, frame::FRAME_VERSION};

/// The settings of a [`Bus`](crate::Bus).
///
/// Every bound is per bus, shared by its streams.
#[derive(Debug, Clone)]
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

macro_rules! setters {
    ($($field:ident $setter:ident: $type:ty),* $(,)?) => {
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
    };
}

setters! {
    app with_app: AppName,
    role with_role: Role,
    interest with_interest: Interest,
    interest_linger with_interest_linger: Duration,
    queue_policy with_queue_policy: QueuePolicy,
    overflow with_overflow: Overflow,
    max_queue_messages with_max_queue_messages: usize,
    max_queue_bytes with_max_queue_bytes: usize,
    max_queue_age with_max_queue_age: Duration,
    max_frame_bytes with_max_frame_bytes: usize,
    max_ring_bytes with_max_ring_bytes: usize,
    max_ring_age with_max_ring_age: Duration,
    max_tail_bytes with_max_tail_bytes: usize,
    max_tail_age with_max_tail_age: Duration,
    send_timeout with_send_timeout: Duration,
    ahead_wait with_ahead_wait: Duration,
    min_backoff with_min_backoff: Duration,
    max_backoff with_max_backoff: Duration,
    max_backlog_payloads with_max_backlog_payloads: usize,
    frame_version with_frame_version: u8,
    degraded_grace with_degraded_grace: Duration,
}

impl BusConfig {
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
}
