//! The way that messages take, by links over which none goes.

use std::time::Duration;

use scaleout_core::StreamIndex;

use super::{Examination, Hidden, Sight, service::lacks_right};
use crate::{Protocol, Reception, entities::names, error::Failure, sender::MESSAGE_OVERHEAD_BYTES};

/// How long the end of a link in good order may take.
const CLOSING: Duration = Duration::from_secs(2);

/// What is said of an entity, and not of the service.
const ENTITY_CONDITIONS: [&str; 4] = [
    "com.microsoft:entity-disabled",
    "amqp:not-allowed",
    "amqp:not-implemented",
    "amqp:resource-limit-exceeded",
];

/// What a link to an entity shows.
enum Shown {
    /// It is there, and may be used.
    There,
    /// It may be used, and is not there.
    Missing,
    /// It may not be used, as far as this one says.
    Refused(String),
}

impl Examination {
    /// Whether messages can be sent and received; where topics cannot be seen otherwise, also which are missing.
    pub(super) async fn look_at_links(&mut self, answers: bool, sight: Sight) -> Result<(), Hidden> {
        if self.management.url().host != self.config.host {
            self.look_up(&self.config.host.clone(), self.config.data_port()).await?;
        }
        let (sees, mut streams) = match sight {
            Sight::Topics(there) => (true, there.into_iter().take(1).collect::<Vec<_>>()),
            Sight::Nothing => (false, (0..usize::from(self.config.topic_count.get())).collect()),
        };
        // A right shows on a topic that is not there as well.
        if streams.is_empty() {
            streams.push(0);
        }
        let names: Vec<_> = streams
            .into_iter()
            .map(|index| names::topic(&self.config, StreamIndex(u16::try_from(index).unwrap_or(u16::MAX))))
            .collect();
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        let mut sends = true;
        for (place, name) in names.iter().enumerate() {
            match self.attach_sender(name, place == 0, answers).await? {
                Shown::There => there.push(name.clone()),
                Shown::Missing => missing.push(name.clone()),
                Shown::Refused(detail) => {
                    self.lacks("Send", &detail);
                    sends = false;
                    break;
                }
            }
        }
        if self.config.protocol == Protocol::Rest {
            if !sees {
                self.ok(
                    "permissions",
                    "what may be sent and received shows only with messages: protocol=rest has no links",
                );
            }
            return Ok(());
        }
        if !sees && sends && !missing.is_empty() {
            self.missing_topics(&missing);
        }
        let listens = self.look_at_listening(sees, sends, &names, &there, answers).await?;
        if sends && listens {
            let manages = if sees { "Manage, " } else { "" };
            let who = self.who();
            self.ok("permissions", format!("{who} gives the rights {manages}Send and Listen"));
        }
        Ok(())
    }

    /// Whether this login may listen. `sends`: that is known to be so of sending, and thus which topics are there.
    async fn look_at_listening(
        &mut self,
        sees: bool,
        sends: bool,
        names: &[String],
        there: &[String],
        answers: bool,
    ) -> Result<bool, Hidden> {
        let own = self.config.subscription.clone();
        if !self.config.create_entities && own.is_none() {
            self.warning(
                "entities",
                "subscription is not set, and create_entities is false: such a node can publish, and cannot receive",
                "set subscription to the name of one on every topic that no other node uses",
            );
        }
        // A name that nobody has shows the right as well.
        let subscription = own.clone().unwrap_or_else(|| self.entities.another_subscription());
        let topics = if sends && !there.is_empty() { there } else { &names[..names.len().min(1)] };
        let mut lacks = false;
        for topic in topics {
            match self.attach_receiver(topic, &subscription, answers).await? {
                Shown::There => {}
                // Where topics are seen, so are subscriptions.
                Shown::Missing if own.is_some() && !sees && there.contains(topic) => {
                    self.missing_subscription(topic, &subscription);
                }
                Shown::Missing => {}
                Shown::Refused(detail) if self.config.create_entities || own.is_some() => {
                    self.lacks("Listen", &detail);
                    return Ok(false);
                }
                Shown::Refused(_) => lacks = true,
            }
            if own.is_none() {
                break;
            }
        }
        Ok(!lacks)
    }

    async fn attach_sender(&mut self, topic: &str, is_first: bool, answers: bool) -> Result<Shown, Hidden> {
        let doing = format!("attaching to topic {topic}");
        let outlet = match self.wire.outlet(topic).await {
            Ok(outlet) => outlet,
            Err(failure) => return self.shown(&doing, failure, answers),
        };
        let limit = self.config.max_payload_bytes + MESSAGE_OVERHEAD_BYTES;
        if let Some(max) = outlet.max_message_bytes()
            && max < limit as u64
        {
            self.problem(
                "entities",
                format!(
                    "topic {topic} takes messages of up to {max} bytes, and max_payload_bytes is {}, to which \
                     {MESSAGE_OVERHEAD_BYTES} bytes of properties come",
                    self.config.max_payload_bytes
                ),
                format!(
                    "set max_payload_bytes to at most {} on all nodes, or raise the topic's maximum message size \
                     (Premium)",
                    max.saturating_sub(MESSAGE_OVERHEAD_BYTES as u64)
                ),
            );
        }
        outlet.close(CLOSING).await;
        if is_first {
            self.ok("connection", format!("messages can go to {}", self.way()));
        }
        Ok(Shown::There)
    }

    async fn attach_receiver(&mut self, topic: &str, name: &str, answers: bool) -> Result<Shown, Hidden> {
        // It asks for no message, whatever the setting; this way it goes over the same connection.
        match self.wire.inlet(topic, name, Reception::PeekLock).await {
            Ok(inlet) => {
                inlet.close(CLOSING).await;
                Ok(Shown::There)
            }
            Err(failure) => {
                self.shown(&format!("attaching to subscription {name} of topic {topic}"), failure, answers)
            }
        }
    }

    /// What a failure shows of an entity, if it is about that.
    fn shown(&mut self, doing: &str, failure: Failure, answers: bool) -> Result<Shown, Hidden> {
        if failure.is_not_found() {
            return Ok(Shown::Missing);
        }
        match failure {
            Failure::Amqp { condition, description } if condition == "amqp:unauthorized-access" => {
                Ok(Shown::Refused(description))
            }
            Failure::Unauthorized(detail) if lacks_right(&detail) => Ok(Shown::Refused(detail)),
            failure @ (Failure::Unauthorized(_) | Failure::Token(_)) => {
                self.refused_login(failure);
                Err(Hidden)
            }
            // A topic by which it was looked for is told of by how it is set up.
            Failure::Amqp { condition, .. }
                if condition == "com.microsoft:entity-disabled" && !self.is_well("entities") =>
            {
                Ok(Shown::There)
            }
            Failure::Amqp { ref condition, .. } if ENTITY_CONDITIONS.contains(&condition.as_str()) => {
                self.failed("entities", doing, failure, "look at the topic in the portal");
                Ok(Shown::There)
            }
            // It passes, such as being throttled.
            failure @ (Failure::Amqp { .. } | Failure::Busy { .. }) => {
                self.failed("connection", doing, failure, "examine it again in a moment");
                Err(Hidden)
            }
            failure => {
                let fix = self.blocked(answers);
                let doing = format!("{doing} at {}", self.way());
                self.failed("connection", &doing, failure, &fix);
                Err(Hidden)
            }
        }
    }

    /// Where messages go.
    fn way(&self) -> String {
        if self.uses_rest() {
            return self.management.url().to_string();
        }
        format!("{}, port {}", self.config.host, self.config.data_port())
    }

    /// What to do where nobody answers at the port for messages.
    fn blocked(&self, answers: bool) -> String {
        let (host, port) = (&self.config.host, self.config.data_port());
        match self.config.protocol {
            _ if self.config.development_emulator => {
                format!("start the emulator, or set amqp_port to where it listens, which is not {port}")
            }
            Protocol::Amqp if answers => format!(
                "open TCP port {port} to {host} on the way out; or set protocol=websocket, since HTTPS gets through \
                 (TransportType=AmqpWebSockets in a connection string; the feature `websocket`)"
            ),
            Protocol::Amqp => format!("look at host, and open TCP port {port} to it on the way out"),
            _ => format!("look at host, and let this machine reach it by TCP at port {port}"),
        }
    }
}
