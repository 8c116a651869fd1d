//! `sqlserver://user:password@host:port/database?app=chat`.

use std::{borrow::Cow, net::Ipv6Addr};

use percent_encoding::percent_decode_str;
use scaleout_core::{Error, provider::settings::shown};

use crate::config::{Authentication, SqlServerConfig, options::Options};

pub(super) fn parse(url: &str, given: Option<Authentication>) -> Result<SqlServerConfig, Error> {
    let mut options = Options::new(given);
    let is_ours = |scheme: &str| ["sqlserver", "mssql"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
    let Some((_, rest)) = url.split_once("://").filter(|(scheme, _)| is_ours(scheme)) else {
        options.reading.refuse("the URL does not begin with sqlserver:// or mssql://");
        return options.abandon();
    };

    let (rest, fragment) = split(rest, '#');
    let (rest, query) = split(rest, '?');
    let (authority, path) = split(rest, '/');
    let (login, server) = match authority.rsplit_once('@') {
        Some((login, server)) => (Some(login), server),
        None => (None, authority),
    };
    // An unescaped '/', '?' or '#' of a password ends the authority, and what follows would be taken for something
    // else and told.
    let misplaced = |part: Option<&str>| part.is_some_and(|part| part.contains('@'));
    if fragment.is_some() || login.is_none() && misplaced(path) {
        options.reading.refuse(ESCAPE);
        return options.abandon();
    }

    if let Some(login) = login {
        let (user, password) = split(login, ':');
        for (name, value) in [("user", user), ("password", password.unwrap_or_default())] {
            // What is empty is missing, which is told by the check of the whole.
            if !value.is_empty() {
                set(&mut options, name, value);
            }
        }
    }
    take_server(&mut options, server);
    let database = path.unwrap_or_default().trim_end_matches('/');
    if database.contains('/') {
        options.reading.refuse(
            "the path is more than the database (a '/' in its name is written %2F; an instance is given as \
             instance=<name>)",
        );
    } else if !database.is_empty() {
        set(&mut options, "database", database);
    }

    let may_be_password = login.is_none() && misplaced(query);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split(pair, '=');
        let name = alias(name);
        if may_be_password && Options::canonical(name) != Some(name) {
            options.reading.refuse(ESCAPE);
        } else {
            set(&mut options, name, value.unwrap_or_default());
        }
    }
    options.finish()
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

/// Percent-decodes. A `+` stays one: passwords hold it.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// Reads `host`, `host:port` and `[v6]:port`. A problem is told without a word of it: in a URL with an unescaped
/// password, this is part of it.
fn take_server(options: &mut Options, server: &str) {
    if server.contains(',') {
        options.reading.refuse("host is a list: write the listener of the availability group");
        options.reading.first("host");
        return;
    }
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) if host.parse::<Ipv6Addr>().is_ok() => (host, None),
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() && port.starts_with(':') => {
                (host, Some(&port[1..]))
            }
            _ => {
                options
                    .reading
                    .refuse("host is an IPv6 address that is not written [address] or [address]:port");
                options.reading.first("host");
                return;
            }
        }
    } else {
        split(server, ':')
    };
    if host.is_empty() {
        options.reading.refuse("host is missing");
        options.reading.first("host");
    } else {
        set(options, "host", host);
    }
    if let Some(port) = port {
        set(options, "port", port);
    }
}

/// The part before the first `separator`, and the part after it if there is one.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The field's name for what other clients' URLs say.
fn alias(name: &str) -> &str {
    match name {
        "encrypt" => "encryption",
        name => name,
    }
}

const ESCAPE: &str = "in a user or password, '/', '?', '#', '@', ':', '%' and '&' are written %2F, %3F, %23, %40, %3A, \
     %25 and %26";
