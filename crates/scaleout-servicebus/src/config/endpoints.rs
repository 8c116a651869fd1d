//! Where entities are created and looked up.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use scaleout_core::provider::settings::is_host;

use crate::config::ServiceBusConfig;

/// Where entities are created and looked up: `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManagementUrl {
    /// Whether it is `https`.
    pub(crate) tls: bool,
    /// A name or an address, an IPv6 address without brackets.
    pub(crate) host: String,
    /// The port, also where it is the usual one.
    pub(crate) port: u16,
}

impl ServiceBusConfig {
    /// Where entities are created and looked up; `None` where the setting cannot be read, which `check` refuses.
    pub(crate) fn management_url(&self) -> Option<ManagementUrl> {
        match &self.management_endpoint {
            Some(url) => ManagementUrl::parse(url),
            None if self.development_emulator => {
                Some(ManagementUrl { tls: false, host: self.host.clone(), port: EMULATOR_PORT })
            }
            None => Some(ManagementUrl { tls: true, host: self.host.clone(), port: 443 }),
        }
    }
}

impl ServiceBusConfig {
    /// What tokens for `path`, or for the whole namespace where it is empty, are made for: `sb://host/path`.
    pub(crate) fn resource_uri(&self, path: &str) -> String {
        format!("sb://{}/{path}", self.host)
    }
}

impl ManagementUrl {
    /// Reads `http[s]://host[:port][/]`.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return None;
        };
        let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
        let port = port.unwrap_or(usual_port(tls));
        (is_host(host) && port != 0).then(|| Self { tls, host: host.to_owned(), port })
    }

    /// Whether it is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// `host[:port]`, as in a URL: the usual port is left out.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        if self.port == usual_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for ManagementUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.tls { "s" } else { "" }, self.authority())
    }
}

fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Takes `host[:port]` apart, where an IPv6 address is in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    match port {
        None => Some((host, None)),
        // `parse` takes a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

/// Of the official emulator, for HTTP.
const EMULATOR_PORT: u16 = 5300;
