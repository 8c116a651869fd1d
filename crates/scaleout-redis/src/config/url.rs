//! `redis://` and its relatives.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use scaleout_core::{Error, provider::settings::shown};

use crate::config::{Endpoint, RedisConfig, Topology, options::Options};

/// Where the scheme says that the servers are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Standalone,
    Unix,
    Sentinel,
    Cluster,
}

pub(super) fn parse(url: &str) -> Result<RedisConfig, Error> {
    let mut options = Options::new();
    let Some((rest, (kind, tls))) =
        url.split_once("://").and_then(|(scheme, rest)| Some((rest, scheme_of(scheme)?)))
    else {
        options.reading.refuse(NO_SCHEME);
        return options.abandon();
    };
    options.set_tls(tls);

    let (rest, fragment) = split(rest, '#');
    let (rest, query) = split(rest, '?');
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    // An unescaped '/', '?' or '#' of a password ends the authority, and what follows would be taken for something
    // else and told.
    let misplaced = |part: Option<&str>| part.is_some_and(|part| part.contains('@'));
    let suspicious = login.is_none() && kind != Kind::Unix;
    if fragment.is_some() || suspicious && misplaced(path) {
        options.reading.refuse(ESCAPE);
        return options.abandon();
    }

    if let Some(login) = login {
        let (username, password) = split(login, ':');
        // An empty one is none: `redis://:@host`.
        for (name, value) in [("username", username), ("password", password.unwrap_or_default())] {
            if !value.is_empty() {
                set(&mut options, name, value);
            }
        }
    }
    let topology = topology(&mut options, kind, hosts, path);
    let may_be_password = suspicious && misplaced(query);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split(pair, '=');
        if may_be_password && !options.knows(name) {
            options.reading.refuse(ESCAPE);
        } else {
            set(&mut options, name, value.unwrap_or_default());
        }
    }
    options.finish(topology)
}

/// Sets an option to what `value` stands for.
fn set(options: &mut Options, name: &str, value: &str) {
    match decode(value) {
        Some(value) => {
            if !options.set(name, &value) {
                options.reading.refuse_unknown(name);
            }
        }
        None => options.reading.refuse(format!("the value of an option ({}) is not UTF-8", shown(name))),
    }
}

/// Percent-decodes. A `+` stays one: passwords hold it, and no option has spaces.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

fn topology(options: &mut Options, kind: Kind, hosts: &str, path: Option<&str>) -> Option<Topology> {
    let path = path.unwrap_or_default();
    if kind == Kind::Unix {
        let Some(path) = decode(path).filter(|path| hosts.is_empty() && !path.is_empty()) else {
            options.reading.refuse("a unix socket is written redis+unix:///path/to.sock?db=0&app=chat");
            return None;
        };
        return Some(Topology::Standalone(Endpoint::Unix(format!("/{path}").into())));
    }

    let default_port = if kind == Kind::Sentinel { SENTINEL_PORT } else { SERVER_PORT };
    let endpoints = endpoints(options, hosts, default_port);
    let (master, database) = if kind == Kind::Sentinel {
        let (master, database) = split(path, '/');
        (decode(master), database.unwrap_or_default())
    } else {
        (None, path)
    };
    let database = database.trim_end_matches('/');
    if !database.is_empty() {
        options.set("database", database);
    }

    let mut endpoints = endpoints?;
    match kind {
        Kind::Sentinel => match master.filter(|master| !master.is_empty()) {
            Some(master) => Some(Topology::Sentinel { master: master.into(), sentinels: endpoints }),
            None => {
                options
                    .reading
                    .refuse("the master's name is missing: redis+sentinel://host1,host2/<name>?app=…");
                None
            }
        },
        Kind::Cluster => Some(Topology::Cluster { seeds: endpoints }),
        Kind::Standalone | Kind::Unix if endpoints.len() > 1 => {
            options.reading.refuse("several hosts are for redis+sentinel:// and redis+cluster://");
            None
        }
        Kind::Standalone | Kind::Unix => endpoints.pop().map(Topology::Standalone),
    }
}

fn endpoints(options: &mut Options, hosts: &str, default_port: u16) -> Option<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    let mut all_fit = true;
    for (index, host) in hosts.split(',').enumerate() {
        match Endpoint::parse(host, default_port) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(problem) => {
                all_fit = false;
                options.reading.refuse(format!("host {} has {problem} ({ESCAPE})", index + 1));
            }
        }
    }
    all_fit.then_some(endpoints)
}

/// The part before the first `separator`, and the part after it if there is one.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn scheme_of(scheme: &str) -> Option<(Kind, bool)> {
    let scheme = scheme.to_ascii_lowercase();
    let (base, suffix) = split(&scheme, '+');
    let kind = match suffix {
        None => Kind::Standalone,
        Some("unix") => Kind::Unix,
        Some("sentinel") => Kind::Sentinel,
        Some("cluster") => Kind::Cluster,
        Some(_) => return None,
    };
    match base {
        "redis" | "valkey" => Some((kind, false)),
        "rediss" | "valkeys" => Some((kind, true)),
        "unix" if suffix.is_none() => Some((Kind::Unix, false)),
        _ => None,
    }
}

pub(super) const SERVER_PORT: u16 = 6379;
pub(super) const SENTINEL_PORT: u16 = 26379;

const NO_SCHEME: &str = "the text begins with none of redis://, rediss:// (TLS), redis+unix://, redis+sentinel://, \
     rediss+sentinel://, redis+cluster:// and rediss+cluster://";

const ESCAPE: &str = "in a user or password, '/', '?', '#', '@', ':', '%' and '&' are written %2F, %3F, %23, %40, %3A, \
     %25 and %26";
