//! The names of topics and subscriptions.

use std::{env, fs};

use scaleout_core::StreamIndex;
use uuid::Uuid;

use crate::config::ServiceBusConfig;

/// What the names of all topics of the app begin with.
pub(crate) fn topic_prefix(config: &ServiceBusConfig) -> String {
    format!("{}{}-", config.topic_prefix, config.app)
}

/// The name of a stream's topic.
pub(crate) fn topic(config: &ServiceBusConfig, stream: StreamIndex) -> String {
    format!("{}{stream}", topic_prefix(config))
}

/// The index of a topic, from what follows the prefix; what is none is a topic of another app.
pub(super) fn index(rest: &str) -> Option<usize> {
    let index: u16 = rest.parse().ok()?;
    // One text for each number, and no sign.
    (index.to_string() == rest).then_some(usize::from(index))
}

/// The indices of those of these topics that are of the app, in ascending order.
pub(super) fn indices(config: &ServiceBusConfig, titles: &[String]) -> Vec<usize> {
    let prefix = topic_prefix(config);
    let mut indices: Vec<_> = titles.iter().filter_map(|title| index(title.get(prefix.len()..)?)).collect();
    indices.sort_unstable();
    indices
}

/// Whether a node makes subscriptions of that name: a label, and 16 hexadecimal digits.
pub(crate) fn is_made_by_a_node(subscription: &str) -> bool {
    subscription.rsplit_once('-').is_some_and(|(label, random)| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        !label.is_empty() && random.len() == 16 && random.bytes().all(is_hex)
    })
}

/// The name of this node's subscriptions: the configured one, or a new one; empty where neither is there.
pub(crate) fn subscription(config: &ServiceBusConfig) -> String {
    if !config.create_entities {
        return config.subscription.clone().unwrap_or_default();
    }
    let label = config.node_label.clone().or_else(host_name).unwrap_or_default();
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // A few bits of either half are the same in all of them, but not of both.
    format!("{}-{:016x}", cleaned(&label), high ^ low.rotate_left(8))
}

/// The name of this host, for people to see.
fn host_name() -> Option<String> {
    let named = |name: &str| env::var(name).ok().filter(|name| !name.trim().is_empty());
    named("HOSTNAME")
        .or_else(|| named("COMPUTERNAME"))
        .or_else(|| fs::read_to_string("/etc/hostname").ok().filter(|name| !name.trim().is_empty()))
}

/// `label` of `a-z`, `0-9` and `-` alone, neither beginning nor ending with `-`.
fn cleaned(label: &str) -> String {
    let fitting = label.trim().chars().take(LABEL).map(|char| {
        let char = char.to_ascii_lowercase();
        if char.is_ascii_lowercase() || char.is_ascii_digit() { char } else { '-' }
    });
    let label: String = fitting.collect();
    match label.trim_matches('-') {
        "" => "node".into(),
        label => label.into(),
    }
}

/// The name of a subscription has at most 50 characters, of which 17 are the random part and what is before it.
const LABEL: usize = 33;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::token::Credential;

    fn config() -> ServiceBusConfig {
        let app = "chat".parse().expect("a good name");
        ServiceBusConfig::new(app, "h", Credential::shared_access_key("n", "k"))
    }

    #[test]
    fn topics_are_named_by_prefix_app_and_index() {
        let config = config().with_topic_count(NonZeroU16::MIN);
        assert_eq!(topic(&config, StreamIndex(7)), "scaleout-chat-7");
        assert_eq!(topic(&config.with_topic_prefix("x."), StreamIndex(0)), "x.chat-0");
    }

    #[test]
    fn only_plain_numbers_are_an_index() {
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("63"), Some(63));
        for rest in ["", "00", "01", "+1", "-1", "1-0", "a", "1a", "70000"] {
            assert_eq!(index(rest), None, "{rest}");
        }
    }

    #[test]
    fn a_label_is_cleaned_and_cut() {
        assert_eq!(cleaned("Web_Server.example\n"), "web-server-example");
        assert_eq!(cleaned("--x--"), "x");
        assert_eq!(cleaned("Ünï"), "n");
        assert_eq!(cleaned("ü"), "node");
        assert_eq!(cleaned(""), "node");
        assert_eq!(cleaned(&"a".repeat(60)).len(), 33);
    }

    #[test]
    fn a_subscription_has_a_label_and_a_random_part_within_50_characters() {
        let config = config().with_node_label("A".repeat(80));
        let (one, other) = (subscription(&config), subscription(&config));
        assert_ne!(one, other);
        assert_eq!(one.len(), 50);
        let (label, random) = one.rsplit_once('-').expect("two parts");
        assert_eq!(label, "a".repeat(33));
        assert!(random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(subscription(&super::tests::config()).len() <= 50);
        assert!(is_made_by_a_node(&one) && is_made_by_a_node(&subscription(&super::tests::config())));
        for other in ["audit", "audit-1", "web-0123456789abcdeF", "-0123456789abcdef", "0123456789abcdef", ""]
        {
            assert!(!is_made_by_a_node(other), "{other}");
        }
    }

    #[test]
    fn a_configured_subscription_is_used_where_none_is_created() {
        let config = config().with_create_entities(false);
        assert_eq!(subscription(&config), "");
        assert_eq!(subscription(&config.with_subscription("web-1")), "web-1");
    }
}
