//! How much of everything there was: [`Figures`].

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// How much of everything there was since the emulator started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// AMQP connections that are open.
    pub connections: u64,
    /// AMQP connections that were ever made.
    pub connections_made: u64,
    /// HTTP connections that are open; those are not counted that only control the emulator.
    pub http_connections: u64,
    /// Links that are attached.
    pub links: u64,
    /// Links that were ever attached.
    pub attaches: u64,
    /// Messages that came in; those of a batch one by one.
    pub sends: u64,
    /// Messages that went out, over AMQP and HTTP.
    pub deliveries: u64,
    /// Deliveries that were settled by their receivers.
    pub settled: u64,
    /// Requests to create, change, delete, read or list entities, answered with whatever status.
    pub management_calls: u64,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Amqp,
    Http,
}

/// What [`Figures`] are made of.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    connections_made: AtomicU64,
    http_connections: AtomicU64,
    links: AtomicU64,
    attaches: AtomicU64,
    sends: AtomicU64,
    deliveries: AtomicU64,
    settled: AtomicU64,
    management_calls: AtomicU64,
}

impl Counters {
    pub(crate) fn figures(&self) -> Figures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            connections: load(&self.connections),
            connections_made: load(&self.connections_made),
            http_connections: load(&self.http_connections),
            links: load(&self.links),
            attaches: load(&self.attaches),
            sends: load(&self.sends),
            deliveries: load(&self.deliveries),
            settled: load(&self.settled),
            management_calls: load(&self.management_calls),
        }
    }

    pub(super) fn connected(&self, protocol: Protocol) {
        match protocol {
            Protocol::Amqp => {
                self.connections.fetch_add(1, Ordering::Relaxed);
                self.connections_made.fetch_add(1, Ordering::Relaxed);
            }
            Protocol::Http => {
                self.http_connections.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn disconnected(&self, protocol: Protocol) {
        match protocol {
            Protocol::Amqp => self.connections.fetch_sub(1, Ordering::Relaxed),
            Protocol::Http => self.http_connections.fetch_sub(1, Ordering::Relaxed),
        };
    }

    pub(crate) fn attached(&self) {
        self.links.fetch_add(1, Ordering::Relaxed);
        self.attaches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn detached(&self) {
        self.links.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, messages: usize) {
        self.sends.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self, messages: usize) {
        self.deliveries.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn managed(&self) {
        self.management_calls.fetch_add(1, Ordering::Relaxed);
    }
}
