//! `servicebus://policy:key@host:port/?app=chat`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use scaleout_core::{Error, provider::settings::shown};

use crate::{
    config::{
        ServiceBusConfig,
        options::{KEY, KEY_NAME, Options},
    },
    token::Credential,
};

pub(super) fn parse(url: &str, given: Option<Credential>) -> Result<ServiceBusConfig, Error> {
    let mut options = Options::new(given);
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    match scheme.to_ascii_lowercase().as_str() {
        "servicebus" => {}
        "servicebus+emulator" => {
            options.set("development_emulator", "true");
        }
        _ => {
            options.reading.refuse(
                "the URL does not begin with servicebus:// or servicebus+emulator:// (a connection string begins with \
                 Endpoint=sb://)",
            );
            return options.abandon();
        }
    }

    let (rest, fragment) = split(rest, '#');
    let (rest, query) = split(rest, '?');
    let (authority, path) = split(rest, '/');
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    // An unescaped '/', '?' or '#' of a key ends the authority, and what follows would be taken for something else and
    // told.
    let misplaced = |part: Option<&str>| part.is_some_and(|part| part.contains('@'));
    if fragment.is_some() || login.is_none() && misplaced(path) {
        options.reading.refuse(ESCAPE);
        return options.abandon();
    }

    if let Some(login) = login {
        let (name, key) = split(login, ':');
        for (option, value) in [(KEY_NAME, name), (KEY, key.unwrap_or_default())] {
            // What is empty is missing, which is told by the check of the whole.
            if !value.is_empty() {
                set(&mut options, option, value);
            }
        }
    }
    if host.is_empty() {
        options.reading.first("host");
        options.reading.refuse("host is missing");
    } else {
        options.set_host(host);
    }
    if path.is_some_and(|path| !path.is_empty()) {
        options.reading.refuse("there is a path, and topics are named by app and topic_prefix");
    }

    let may_be_key = login.is_none() && misplaced(query);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = split(pair, '=');
        if may_be_key && Options::canonical(name) != Some(name) {
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

/// Percent-decodes. A `+` stays one: keys hold it.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

/// The part before the first `separator`, and the part after it if there is one.
fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

const ESCAPE: &str = "in a policy or key, '/', '?', '#', '@', ':', '%' and '&' are written %2F, %3F, %23, %40, %3A, %25 \
     and %26";
