//! The form of StackExchange.Redis: `host:6380,ssl=true,password=…`.
//!
//! Source: "Configuration" in its documentation. Nothing is escaped there, so a value has no comma.

use scaleout_core::Error;

use crate::config::{
    Endpoint, RedisConfig, Topology,
    options::Options,
    url::{SENTINEL_PORT, SERVER_PORT},
};

pub(super) fn parse(text: &str) -> Result<RedisConfig, Error> {
    let mut found = Found { options: Options::new(), tls: false, service: None, tls_host: None };
    let mut hosts = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some((name, value)) => found.take(name.trim(), value.trim()),
            None => hosts.push(item),
        }
    }
    found.finish(&hosts)
}

struct Found<'a> {
    options: Options,
    tls: bool,
    service: Option<&'a str>,
    tls_host: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        let lower = name.to_ascii_lowercase();
        let options = &mut self.options;
        match lower.as_str() {
            "ssl" if options.reading.first("ssl") => match boolean(value) {
                Some(tls) => self.tls = tls,
                None => options.reading.refuse("ssl is neither true nor false"),
            },
            "sslhost" if options.reading.first("sslHost") => self.tls_host = Some(value),
            "servicename" if options.reading.first("serviceName") => self.service = Some(value),
            "ssl" | "sslhost" | "servicename" => {}
            "defaultdatabase" => {
                options.set("database", value);
            }
            "connecttimeout" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                options.set("connect_timeout", &format!("{value}ms"));
            }
            "connecttimeout" => {
                options.reading.refuse("connectTimeout is not a whole number of milliseconds");
            }
            "sslprotocols" => {
                // Version 1.3 is better than what is asked for; to fall back to 1.2 where it is excluded is not.
                if !value.to_ascii_lowercase().split('|').any(|version| version.trim() == "tls12") {
                    options
                        .reading
                        .refuse("sslProtocols does not hold tls12: TLS 1.2 and 1.3 are what there is");
                }
            }
            "checkcertificaterevocation" => {
                if boolean(value) != Some(false) {
                    options
                        .reading
                        .refuse("checkCertificateRevocation is not false: revocation is not checked");
                }
            }
            "proxy" => {
                if !value.eq_ignore_ascii_case("none") {
                    options
                        .reading
                        .refuse("proxy is not none: proxies know neither transactions nor blocking reads");
                }
            }
            "channelprefix" => {
                options
                    .reading
                    .refuse("channelPrefix has no meaning here: app and key_prefix are what keys begin with");
            }
            _ if name.starts_with('$') => {
                options.reading.refuse("commands cannot be renamed or disabled ($…)");
            }
            _ if WITHOUT_MEANING.contains(&lower.as_str()) => {}
            _ => {
                if !options.set(&lower, value) {
                    options.reading.refuse_unknown(name);
                }
            }
        }
    }

    fn finish(mut self, hosts: &[&str]) -> Result<RedisConfig, Error> {
        self.options.set_tls(self.tls);
        let default_port = match (self.service, self.tls) {
            (Some(_), _) => SENTINEL_PORT,
            (None, true) => SERVER_TLS_PORT,
            (None, false) => SERVER_PORT,
        };
        let mut endpoints = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            match Endpoint::parse(host, default_port) {
                Ok(endpoint) => endpoints.push(endpoint),
                Err(problem) => self.options.reading.refuse(format!(
                    "endpoint {} has {problem} (a value cannot hold a comma, use a URL where it does)",
                    index + 1
                )),
            }
        }
        if hosts.is_empty() {
            self.options
                .reading
                .refuse("no endpoint is given: begin with host:port, or with the scheme of a URL");
        }
        if let Some(expected) = self.tls_host
            && !endpoints.iter().all(
                |endpoint| matches!(endpoint, Endpoint::Tcp { host, .. } if host.eq_ignore_ascii_case(expected)),
            )
        {
            self.options.reading.refuse("sslHost is not the host of all endpoints: a certificate is checked for the host");
        }
        if endpoints.len() < hosts.len().max(1) {
            return self.options.finish(None);
        }
        let topology = match self.service {
            Some(master) => Topology::Sentinel { master: master.to_owned(), sentinels: endpoints },
            None if endpoints.len() == 1 => Topology::Standalone(endpoints.remove(0)),
            None => Topology::Cluster { seeds: endpoints },
        };
        self.options.finish(Some(topology))
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// What StackExchange.Redis assumes with `ssl=true`.
const SERVER_TLS_PORT: u16 = 6380;

/// Options about how that client retries, times out, pings, names itself or finds servers. Here connections are
/// retried for ever, liveness is watched, and nothing is told that would be asked for by these.
const WITHOUT_MEANING: [&str; 23] = [
    "abortconnect",
    "allowadmin",
    "asynctimeout",
    "configchannel",
    "configcheckseconds",
    "connectretry",
    "heartbeatconsistencychecks",
    "heartbeatinterval",
    "highintegrity",
    "includedetailinexceptions",
    "includeperformancecountersinexceptions",
    "keepalive",
    "libname",
    "name",
    "preserveasyncorder",
    "protocol",
    "resolvedns",
    "responsetimeout",
    "setlib",
    "synctimeout",
    "tiebreaker",
    "version",
    "writebuffer",
];
