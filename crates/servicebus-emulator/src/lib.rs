#![doc = include_str!("../README.md")]

mod amqp;
pub mod codec;
mod context;
mod emulator;
mod faults;
mod http;
mod listen;
pub mod message;
mod namespace;
mod sas;
mod settings;
mod signal;
mod tls;

pub use self::{
    emulator::{Emulator, EmulatorBuilder, Endpoint},
    faults::{FaultKind, Faults, Figures},
    namespace::{
        Address, Counts, DeadLetter, Delivery, EntityStatus, Entries, FOREVER, Incoming, Logged,
        MessageState, Mode, Namespace, Queue, Receiver, Refusal, Sender, Settlement, SubscriptionInfo,
        SubscriptionProperties, Times, TopicInfo, TopicProperties, path_of,
    },
    sas::{Claim, Right, Rights, shared_access_token},
    settings::Settings,
};
