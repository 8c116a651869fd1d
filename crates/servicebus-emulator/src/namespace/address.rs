//! Names of entities, as clients write them: [`Address`].

use crate::namespace::Queue;

/// What a link, a request or a token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `{topic}`
    Topic(String),
    /// `{topic}/Subscriptions/{subscription}[/$DeadLetterQueue]`
    Subscription {
        /// Of the topic.
        topic: String,
        /// Of the subscription.
        subscription: String,
        /// Which of its queues.
        queue: Queue,
    },
}

impl Address {
    /// Reads `topic`, `/topic`, `sb://host/topic/Subscriptions/name` and the like. `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let path = path_of(text);
        let parts: Vec<&str> = path.split('/').collect();
        let queue = match parts.get(3) {
            None => Queue::Active,
            Some(part) if part.eq_ignore_ascii_case("$deadletterqueue") => Queue::DeadLetter,
            Some(_) => return None,
        };
        match parts.as_slice() {
            [topic] if is_name(topic) => Some(Self::Topic((*topic).to_owned())),
            [topic, word, subscription] | [topic, word, subscription, _]
                if word.eq_ignore_ascii_case("subscriptions") && is_name(topic) && is_name(subscription) =>
            {
                let (topic, subscription) = ((*topic).to_owned(), (*subscription).to_owned());
                Some(Self::Subscription { topic, subscription, queue })
            }
            _ => None,
        }
    }
}

/// The path of an address without slashes around it: of `amqps://host:5671/topic/`, `/topic` and `topic` it is `topic`.
pub fn path_of(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

/// Whether an entity may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_that_clients_use() {
        for text in ["orders", "/orders", "orders/", "amqps://127.0.0.1:5671/orders", "sb://host/orders/"] {
            assert_eq!(Address::parse(text), Some(Address::Topic("orders".into())), "{text}");
        }
        let subscription = |queue| {
            Some(Address::Subscription { topic: "orders".into(), subscription: "node-1".into(), queue })
        };
        assert_eq!(Address::parse("orders/Subscriptions/node-1"), subscription(Queue::Active));
        assert_eq!(
            Address::parse("amqp://host/orders/subscriptions/node-1/$deadletterqueue"),
            subscription(Queue::DeadLetter)
        );
        for text in
            ["", "$cbs", "a/b", "a/subscriptions", "a/subscriptions/", "a/subscriptions/b/c", "sb://host"]
        {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
