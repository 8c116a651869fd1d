//! What an emulator is to be like: [`EmulatorBuilder`].

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{Emulator, Endpoint};
use crate::{
    namespace::Namespace,
    sas::{Right, Rights},
    settings::Settings,
    tls::Tls,
};

/// The name and the text of the key that there is where none is given: those of Microsoft's emulator.
const DEFAULT_KEY: (&str, &str) = ("RootManageSharedAccessKey", "SAS_KEY_VALUE");

/// Makes an [`Emulator`].
#[derive(Clone)]
#[must_use]
pub struct EmulatorBuilder {
    endpoints: BTreeMap<Endpoint, SocketAddr>,
    keys: Vec<(String, String, Rights)>,
    names: Vec<String>,
    settings: Settings,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        let free = (Ipv4Addr::LOCALHOST, 0).into();
        Self {
            endpoints: Endpoint::ALL.into_iter().map(|endpoint| (endpoint, free)).collect(),
            keys: Vec::new(),
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            settings: Settings::default(),
        }
    }
}

impl EmulatorBuilder {
    /// Listens on this address instead of a free port of 127.0.0.1.
    pub fn listen(mut self, endpoint: Endpoint, address: SocketAddr) -> Self {
        self.endpoints.insert(endpoint, address);
        self
    }

    /// Does not listen for this.
    pub fn without(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.remove(&endpoint);
        self
    }

    /// Lets whoever has this key in. Where none is given there is `RootManageSharedAccessKey` with the key
    /// `SAS_KEY_VALUE`, which may do everything.
    pub fn key(mut self, policy: &str, key: &str, rights: &[Right]) -> Self {
        self.keys.push((policy.to_owned(), key.to_owned(), Rights::of(rights)));
        self
    }

    /// Puts one more name or address into the certificate of the TLS listeners: there are `localhost`, 127.0.0.1 and ::1.
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// All limits and times at once; what was set before is forgotten.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// [`Settings::max_message_bytes`].
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes;
        self
    }

    /// [`Settings::max_topics`].
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.settings.max_topics = topics;
        self
    }

    /// [`Settings::max_subscriptions`].
    pub fn max_subscriptions(mut self, subscriptions: usize) -> Self {
        self.settings.max_subscriptions = subscriptions;
        self
    }

    /// [`Settings::max_topic_bytes`].
    pub fn max_topic_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_topic_bytes = Some(bytes);
        self
    }

    /// [`Settings::link_idle`].
    pub fn link_idle(mut self, idle: Duration) -> Self {
        self.settings.link_idle = idle;
        self
    }

    /// [`Settings::throttle_credits_per_second`].
    pub fn throttle_credits_per_second(mut self, credits: u64) -> Self {
        self.settings.throttle_credits_per_second = Some(credits);
        self
    }

    /// Sets [`Settings::keep_log`].
    pub fn keep_log(mut self, keep: bool) -> Self {
        self.settings.keep_log = keep;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where an address is taken, or a name is none that a certificate can hold.
    pub async fn start(mut self) -> io::Result<Emulator> {
        if self.keys.is_empty() {
            self = self.key(DEFAULT_KEY.0, DEFAULT_KEY.1, &[Right::Manage]);
        }
        let namespace = Namespace::new(self.settings);
        for (policy, key, rights) in &self.keys {
            namespace.add_policy(policy, key, *rights);
        }
        let everything = self.keys.iter().position(|(_, _, rights)| *rights == Rights::ALL);
        let (policy, key, _) = self.keys.swap_remove(everything.unwrap_or(0));
        Emulator::start(self.endpoints, (policy, key), Tls::generate(self.names)?, namespace).await
    }
}

impl fmt::Debug for EmulatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.keys.iter().map(|(policy, _, _)| policy).collect();
        f.debug_struct("EmulatorBuilder")
            .field("endpoints", &self.endpoints)
            .field("keys", &keys)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
