#![doc = include_str!("../README.md")]

mod cluster;
pub mod codec;
mod config;
mod counters;
mod error;
mod handlers;
mod member;
mod membership;
mod presence;
mod report;
mod request;
mod router;
mod wire;

pub use crate::{
    cluster::{Caster, Cluster, Target},
    config::ClusterConfig,
    counters::ClusterCounters,
    error::RequestError,
    handlers::{Incoming, Registration, Responder},
    member::{Member, MemberEvent, MemberWatch, Members},
    presence::{Entry, Presence, PresenceError, PresenceEvent, PresenceWatch},
    report::{NodeReport, Observation, Observations, Observer, Reports, StreamReport},
    request::{Collected, Missing, Replies, Reply},
};
