//! Where the servers are.

use std::{fmt, net::Ipv6Addr, path::PathBuf};

/// Where the servers are, and how the one to write to is found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// One server, or an address behind which somebody else sees to it that a master answers.
    Standalone(Endpoint),
    /// A master with replicas, watched by Redis Sentinel; the master is followed when it changes.
    Sentinel {
        /// The name under which the sentinels know the master (`sentinel monitor <name> …`).
        master: String,
        /// The sentinels, asked in turn; one that answers is enough.
        sentinels: Vec<Endpoint>,
    },
    /// Redis Cluster.
    Cluster {
        /// Members to ask for the others; one that answers is enough.
        seeds: Vec<Endpoint>,
    },
}

impl Topology {
    /// The endpoints that are configured.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        match self {
            Self::Standalone(endpoint) => std::slice::from_ref(endpoint),
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster { seeds } => seeds,
        }
        .iter()
    }

    /// What cannot work, each in a few words.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| {
            if wrong {
                problems.push(problem.to_owned());
            }
        };
        match self {
            Self::Standalone(_) => {}
            Self::Sentinel { master, sentinels } => {
                refuse(master.is_empty(), "the name of the sentinels' master is empty");
                refuse(sentinels.is_empty(), "no sentinel is given");
            }
            Self::Cluster { seeds } => {
                refuse(seeds.is_empty(), "no member of the Cluster is given");
                refuse(
                    seeds.iter().any(|seed| matches!(seed, Endpoint::Unix(_))),
                    "a Cluster is reached by TCP, its members know no unix sockets",
                );
            }
        }
        for endpoint in self.endpoints() {
            match endpoint {
                Endpoint::Tcp { host, port } => {
                    refuse(host.is_empty(), "a host is empty");
                    refuse(
                        matches!(host.as_str(), "0.0.0.0" | "::"),
                        "a host is 0.0.0.0 or ::, which a server listens on and nobody can connect to",
                    );
                    refuse(
                        host.starts_with('['),
                        "a host is in brackets: an IPv6 address is written without them",
                    );
                    refuse(*port == 0, "a port is 0");
                }
                Endpoint::Unix(path) => {
                    refuse(path.as_os_str().is_empty(), "the path of a unix socket is empty");
                }
            }
        }
        problems
    }
}

/// The address of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// By TCP.
    Tcp {
        /// A name, or an IP address; one of version 6 without brackets.
        host: String,
        /// The port. Servers listen on 6379, sentinels on 26379, unless told otherwise.
        port: u16,
    },
    /// By a unix socket at this path.
    Unix(PathBuf),
}

impl Endpoint {
    /// The server at `host` and `port`.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// Reads `host`, `host:port`, `[v6]:port`, or the absolute path of a unix socket.
    ///
    /// The error says what is wrong without a word of `text`: in a URL with an unescaped password, this is part of it.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or("a '[' without its ']'")?;
            let host: Ipv6Addr = host.parse().map_err(|_| "no IPv6 address between '[' and ']'")?;
            let port = match port.strip_prefix(':') {
                None if !port.is_empty() => return Err("something other than ':' and a port after ']'"),
                port => port,
            };
            (host.to_string(), port)
        } else if let Ok(host) = text.parse::<Ipv6Addr>() {
            (host.to_string(), None)
        } else {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() {
                return Err("no host");
            }
            if !host.bytes().all(fits) {
                return Err("a host with a character other than A-Z, a-z, 0-9, '-', '.' and '_'");
            }
            (host.to_owned(), port)
        };
        let port = match port {
            None => default_port,
            Some(port) => port.parse().map_err(|_| "a port that is not 1 to 65535")?,
        };
        Ok(Self::Tcp { host, port })
    }
}

impl fmt::Display for Endpoint {
    /// `host:port`, `[v6]:port`, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_what_it_shows() {
        for (text, shown) in [
            ("redis.example", "redis.example:6379"),
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("[::1]", "[::1]:6379"),
            ("[::1]:7000", "[::1]:7000"),
            ("::1", "[::1]:6379"),
            ("/run/redis.sock", "/run/redis.sock"),
        ] {
            let endpoint = Endpoint::parse(text, 6379).expect(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(Endpoint::parse(shown, 1), Ok(endpoint));
        }
        for bad in
            ["", ":6379", "host:", "host:x", "host:70000", "[::1", "[x]:1", "[::1]x", "a b", "größe", "a:1:2"]
        {
            assert!(Endpoint::parse(bad, 6379).is_err(), "{bad}");
        }
    }
}
