#![doc = include_str!("../README.md")]

mod amqp;
pub mod codec;
mod faults;
pub mod message;
mod namespace;
mod sas;
mod settings;
mod signal;

pub use self::{
    faults::{FaultKind, Faults, Figures},
    namespace::{
        Address, Counts, DeadLetter, Delivery, EntityStatus, Entries, FOREVER, Incoming, MessageState, Mode,
        Namespace, Queue, Receiver, Refusal, Sender, Settlement, SubscriptionInfo, SubscriptionProperties,
        Times, TopicInfo, TopicProperties, path_of,
    },
    sas::{Claim, Right, Rights, shared_access_token},
    settings::Settings,
};
