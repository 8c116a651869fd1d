//! The topics of the app: how many there are, how they are set up, and what is in them.

use std::collections::BTreeSet;

use scaleout_core::{Error, Remnant, StreamIndex};

use super::{Examination, Hidden};
use crate::{
    ServiceBusConfig, commands,
    entities::{Entities, Flaw, names},
    error::{Failure, said},
    management::{Management, SubscriptionInfo, TopicInfo, iso8601},
};

impl Examination {
    /// Looks at all topics of the app; gives which are there.
    pub(super) async fn look_at_topics(&mut self) -> Result<Vec<usize>, Hidden> {
        let indices = match self.entities.indices(&self.management).await {
            Ok(indices) => indices,
            Err(error) => {
                self.problem("connection", said(&error), "ask again in a moment");
                return Err(Hidden);
            }
        };
        let count = usize::from(self.config.topic_count.get());
        // Those that are missing are told as such where nobody makes them.
        let may_differ = self.config.create_entities || indices.last().is_some_and(|last| *last >= count);
        let differs = Flaw::of_count(&self.config, &indices).filter(|_| may_differ);
        let prefix = names::topic_prefix(&self.config);
        let (mut missing, mut there) = (Vec::new(), Vec::new());
        for index in 0..count {
            let name = names::topic(&self.config, StreamIndex(u16::try_from(index).unwrap_or(u16::MAX)));
            match self.management.topic_with_contents(&name).await {
                Ok(Some(info)) => there.push((index, info)),
                Ok(None) => missing.push(name),
                // It is in no list of topics, and its name is taken.
                Err(Failure::Foreign(what)) => {
                    let what = format!(
                        "the name {name} belongs to something that is no topic, such as a queue: {what}"
                    );
                    self.problem("layout", what, OTHER_NAME);
                }
                Err(failure) => {
                    self.failed(
                        "entities",
                        &format!("looking at topic {name}"),
                        failure,
                        "ask again in a moment",
                    );
                    return Err(Hidden);
                }
            }
        }
        match differs {
            Some(flaw) => self.problem("layout", flaw.what, flaw.fix),
            None if indices.is_empty() && self.is_well("layout") => {
                self.ok("layout", format!("there is no topic {prefix}* yet"));
            }
            None if self.is_well("layout") && missing.is_empty() => {
                self.ok(
                    "layout",
                    format!("the app {} has {count} topics, {prefix}0 and on", self.config.app),
                );
            }
            None => {}
        }
        self.look_at_missing(&missing, indices.is_empty());
        for (_, info) in &there {
            self.look_at_topic(info);
        }
        if self.is_well("entities") && !there.is_empty() {
            self.ok("entities", format!("{} topics are set up as they should be", there.len()));
        }
        if self.is_well("retention") && !there.is_empty() {
            self.ok(
                "retention",
                format!("messages may wait for {:?} for a node that is away", self.config.message_ttl),
            );
        }
        self.look_at_subscriptions(&there).await?;
        Ok(there.into_iter().map(|(index, _)| index).collect())
    }

    fn look_at_missing(&mut self, missing: &[String], all: bool) {
        if missing.is_empty() {
            return;
        }
        let names = missing.join(", ");
        if self.config.create_entities {
            let what = if all {
                "the first node makes all topics".into()
            } else {
                format!("a node makes {names} anew")
            };
            self.ok("entities", what);
        } else {
            self.missing_topics(missing);
        }
    }

    /// Reports topics that no node can make.
    pub(super) fn missing_topics(&mut self, missing: &[String]) {
        let fix = match missing {
            [one] => format!(
                "{} && {}",
                commands::create_topic(&self.config, one),
                commands::create_subscription(
                    &self.config,
                    one,
                    self.config.subscription.as_deref().unwrap_or("<node>")
                )
            ),
            _ => commands::deploy_entities(&self.config),
        };
        let what = format!("missing, and no node can make them: {}", missing.join(", "));
        self.problem("entities", what, fix);
    }

    fn look_at_topic(&mut self, info: &TopicInfo) {
        let name = &info.name;
        let config = std::sync::Arc::clone(&self.config);
        if let Some(flaw) = Flaw::refused(&config, info) {
            self.problem("entities", flaw.what, flaw.fix);
        }
        if let Some(flaw) = Flaw::of_duplicates(&config, info) {
            self.warning("entities", flaw.what, flaw.fix);
        } else if let Some(window) = info.duplicate_window
            && window < config.duplicate_window
            && !config.create_entities
        {
            self.warning(
                "entities",
                format!(
                    "topic {name} recognises what is sent again for {window:?}, and duplicate_window is {:?}: what is \
                     sent again later than that comes twice",
                    config.duplicate_window
                ),
                format!("set duplicate_window to {} s on all nodes", window.as_secs()),
            );
        }
        if let Some(ttl) = info.message_ttl
            && ttl < config.message_ttl
        {
            self.warning(
                "retention",
                format!(
                    "topic {name} keeps messages for {ttl:?}, and message_ttl is {:?}: a node that is away for longer than \
                     the former misses some, and may not be told",
                    config.message_ttl
                ),
                commands::update_topic(
                    &config,
                    name,
                    &format!("--default-message-time-to-live {}", iso8601(config.message_ttl)),
                ),
            );
        }
        if let (Some(bytes), Some(megabytes)) = (info.contents.bytes, info.max_megabytes) {
            let limit = megabytes.saturating_mul(1 << 20);
            let percent = bytes.saturating_mul(100) / limit.max(1);
            let what = format!("topic {name} holds {} of {megabytes} MiB", bytes >> 20);
            let fix = format!(
                "delete subscriptions that nobody receives from, or wait until message_ttl has emptied them, or {}",
                commands::update_topic(
                    &config,
                    name,
                    &format!("--max-size {}", megabytes.saturating_add(1_024))
                )
            );
            if percent >= 100 {
                self.problem("entities", format!("{what}: it takes no more messages"), fix);
            } else if percent >= NEARLY_FULL_PERCENT {
                self.warning("entities", format!("{what}: a full one takes no more messages"), fix);
            }
        }
        if let Some(subscriptions) = info.contents.subscriptions
            && subscriptions >= MANY_SUBSCRIPTIONS
        {
            let what =
                format!("topic {name} has {subscriptions} of at most {MAX_SUBSCRIPTIONS} subscriptions");
            let fix = "wait until those of nodes that are gone expire (subscription_idle_expiry, or less of it), or delete \
                       them: az servicebus topic subscription delete";
            if subscriptions >= MAX_SUBSCRIPTIONS {
                self.problem("entities", format!("{what}: no node that receives can start"), fix);
            } else {
                self.warning("entities", what, fix);
            }
        }
    }

    async fn look_at_subscriptions(&mut self, there: &[(usize, TopicInfo)]) -> Result<(), Hidden> {
        let (mut strangers, mut nodes) = (BTreeSet::new(), 0);
        for (_, info) in there {
            let topic = &info.name;
            let found = match self.management.subscriptions(topic).await {
                Ok(found) => found,
                Err(failure) => {
                    let doing = format!("listing the subscriptions of topic {topic}");
                    self.failed("entities", &doing, failure, "ask again in a moment");
                    return Err(Hidden);
                }
            };
            nodes = found.len().max(nodes);
            if self.config.create_entities {
                let stranger = |(name, _): &&(String, SubscriptionInfo)| !names::is_made_by_a_node(name);
                strangers.extend(found.iter().filter(stranger).map(|(name, _)| format!("{topic}/{name}")));
            } else if let Some(own) = self.config.subscription.clone() {
                let info =
                    found.iter().find(|(name, _)| name.eq_ignore_ascii_case(&own)).map(|(_, info)| info);
                self.look_at_own_subscription(topic, &own, info);
            }
        }
        if !strangers.is_empty() {
            let some: Vec<_> = strangers.iter().take(5).map(String::as_str).collect();
            let what = format!(
                "another application uses topics of the app {}, or nodes with create_entities=false: {} subscriptions \
                 that no node makes, such as {}. Whatever is sent to these topics comes to both",
                self.config.app,
                strangers.len(),
                some.join(", ")
            );
            self.warning("layout", what, OTHER_NAME);
        }
        if !there.is_empty() {
            self.ok(
                "nodes",
                format!(
                    "{nodes} nodes receive, or did not long ago: so many subscriptions has a topic at most"
                ),
            );
        }
        Ok(())
    }

    fn look_at_own_subscription(&mut self, topic: &str, name: &str, info: Option<&SubscriptionInfo>) {
        let config = std::sync::Arc::clone(&self.config);
        let Some(info) = info else {
            self.missing_subscription(topic, name);
            return;
        };
        let update = |change: &str| commands::update_subscription(&config, topic, name, change);
        if matches!(info.status.as_str(), "Disabled" | "ReceiveDisabled") {
            let what = format!("subscription {name} of topic {topic} is disabled");
            self.problem("entities", what, update("--status Active"));
        }
        if info.requires_session {
            let what =
                format!("subscription {name} of topic {topic} needs sessions, which nodes do not have");
            let fix = format!(
                "delete it, and create it without: {}",
                commands::create_subscription(&config, topic, name)
            );
            self.problem("entities", what, fix);
        }
        if let Some(lock) = info.lock_duration
            && lock != config.lock_duration
        {
            let what = format!(
                "subscription {name} of topic {topic} locks messages for {lock:?}, and lock_duration is {:?}: after a \
                 lost connection a node waits for the latter",
                config.lock_duration
            );
            self.warning(
                "entities",
                what,
                update(&format!("--lock-duration {}", iso8601(config.lock_duration))),
            );
        }
    }

    pub(super) fn missing_subscription(&mut self, topic: &str, name: &str) {
        self.problem(
            "entities",
            format!("subscription {name} of topic {topic} is missing, and no node can make it"),
            commands::create_subscription(&self.config, topic, name),
        );
    }
}

impl ServiceBusConfig {
    /// What the app has under the topic of this index: the topic, and then its subscriptions; nothing if it is gone.
    pub(super) async fn remnants_of(
        &self,
        entities: &Entities,
        management: &Management,
        index: usize,
    ) -> Result<Vec<Remnant>, Error> {
        let topic = format!("{}{index}", names::topic_prefix(self));
        let doing = format!("looking at topic {topic}");
        let found = entities.retried(&doing, || management.topic_with_contents(&topic)).await?;
        let Some(info) = found else { return Ok(Vec::new()) };
        let doing = format!("listing the subscriptions of topic {topic}");
        let subscriptions = entities.retried(&doing, || management.subscriptions(&topic)).await?;
        let mut holds = format!("{} subscriptions", subscriptions.len());
        if let Some(bytes) = info.contents.bytes {
            holds.push_str(&format!(", {}", size(bytes)));
        }
        let mut remnants = vec![Remnant::new("topic", &topic, holds)];
        remnants.extend(subscriptions.into_iter().map(|(name, info)| {
            let holds = info.messages.map_or_else(String::new, |messages| format!("{messages} messages"));
            Remnant::new("subscription", format!("{topic}/Subscriptions/{name}"), holds)
        }));
        Ok(remnants)
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} bytes"),
        1_024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

const OTHER_NAME: &str = "set another app or topic_prefix on all nodes, or have the other one moved";

const NEARLY_FULL_PERCENT: u64 = 80;

/// What the service takes.
const MAX_SUBSCRIPTIONS: u64 = 2_000;

/// Nine tenths of that.
const MANY_SUBSCRIPTIONS: u64 = 1_800;
