//! The state of a namespace, while time stands still or goes as it is told.

mod entities;
mod receiving;
mod sending;

use std::time::Duration;

use bytes::Bytes;

use crate::{
    namespace::{
        Delivery, Incoming, Mode, Namespace, Queue, Receiver, SubscriptionProperties, TopicProperties,
    },
    settings::Settings,
};

const MINUTE: Duration = Duration::from_secs(60);

/// One with a topic and a subscription.
fn namespace() -> Namespace {
    with_properties(SubscriptionProperties::default())
}

fn with_properties(properties: SubscriptionProperties) -> Namespace {
    let namespace = Namespace::new(Settings::default());
    namespace.create_topic("Orders", TopicProperties::default()).expect("a new topic");
    namespace.create_subscription("orders", "S", properties).expect("a new subscription");
    namespace
}

fn message(body: &'static str) -> Incoming {
    Incoming { bare: Bytes::from_static(body.as_bytes()), ..Incoming::default() }
}

fn send(namespace: &Namespace, bodies: &[&'static str]) {
    for body in bodies {
        namespace.publish("orders", vec![message(body)]).expect("a topic");
    }
}

fn receiver(namespace: &Namespace, mode: Mode) -> Receiver {
    namespace.open_receiver("orders", "s", Queue::Active, mode).expect("a subscription")
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| std::str::from_utf8(&delivery.message.bare).expect("text")).collect()
}
