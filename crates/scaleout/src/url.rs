//! Which provider a URL is for.

use scaleout_core::{AppName, Error, ErrorKind};

use crate::{BackplaneConfig, memory};

pub(crate) fn parse(url: &str) -> Result<BackplaneConfig, Error> {
    let url = url.trim();
    if let Some(rest) = strip_memory(url) {
        return memory::parse(rest).map_err(refused);
    }
    if is_ado(url) || is_jdbc(url) {
        return SQLSERVER.read(url);
    }
    if is_servicebus(url) {
        return SERVICEBUS.read(url);
    }
    let Some(scheme) = scheme_of(url) else {
        return Err(refused(format!("it has no scheme; {} ({NO_URL})", compiled_in())));
    };
    // `redis+sentinel` is of the same family; the provider knows which of them there are.
    let family = scheme.split('+').next().unwrap_or_default();
    match PROVIDERS.iter().find(|provider| is_any_of(provider.families, family)) {
        Some(provider) => provider.read(url),
        None => Err(refused(format!("there is no backplane for {scheme}://; {}", compiled_in()))),
    }
}

/// `text` for `app`, unless it names one already.
pub(crate) fn with_app(text: &str, app: &AppName) -> String {
    let text = text.trim();
    if is_ado(text) || is_servicebus(text) {
        let text = text.trim_end_matches(';');
        return if has_part(text, &["app"]) { text.to_owned() } else { format!("{text};App={app}") };
    }
    match text.split_once('?') {
        Some((_, query)) if query.split('&').any(|pair| pair.starts_with("app=")) => text.to_owned(),
        Some(_) => format!("{text}&app={app}"),
        None => format!("{text}?app={app}"),
    }
}

/// A provider, compiled in or not.
struct Provider {
    /// The feature that compiles it in, which is its name too.
    feature: &'static str,
    /// What its URLs begin with, up to `://` or a `+`.
    families: &'static [&'static str],
    /// What its URLs begin with, for people.
    schemes: &'static str,
    /// Reads its settings, where it is compiled in.
    read: Option<Read>,
}

type Read = fn(&str) -> Result<BackplaneConfig, Error>;

impl Provider {
    fn read(&self, settings: &str) -> Result<BackplaneConfig, Error> {
        let Some(read) = self.read else {
            let feature = self.feature;
            return Err(refused(format!(
                "{feature} is not compiled in: enable the feature `{feature}` of scaleout; {}",
                compiled_in()
            )));
        };
        read(settings)
    }
}

/// Why `name`, which stands where a provider's does, is of no provider that is compiled in.
#[cfg(feature = "serde")]
pub(crate) fn no_provider(name: &str) -> String {
    use scaleout_core::provider::settings::shown;
    match PROVIDERS.iter().find(|provider| provider.feature == name) {
        Some(_) => format!("{name} is not compiled in: enable the feature `{name}` of scaleout"),
        None => format!("there is no backplane {}: use `url`, redis, sqlserver or servicebus", shown(name)),
    }
}

/// The schemes that there are, and the features that add more.
fn compiled_in() -> String {
    let mut told = "compiled in: memory:".to_owned();
    for provider in PROVIDERS.iter().filter(|provider| provider.read.is_some()) {
        told = format!("{told}, {}", provider.schemes);
    }
    for Provider { feature, families, .. } in PROVIDERS.iter().filter(|provider| provider.read.is_none()) {
        told = format!("{told}; {}:// by the feature `{feature}` of scaleout", families[0]);
    }
    told
}

/// What follows `memory:`; `memory://` is the same.
fn strip_memory(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    scheme.eq_ignore_ascii_case("memory").then(|| rest.strip_prefix("//").unwrap_or(rest))
}

/// The scheme, where there is one: a password may well hold `://`, and what precedes it there is none.
fn scheme_of(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = (1..=32).contains(&scheme.len()) && scheme.bytes().all(fits);
    is_scheme.then_some(scheme)
}

/// Whether it is a connection string of ADO.NET: one of its parts is the server.
///
/// A part of a quoted value may be taken for the server; the string is of that form all the same.
fn is_ado(text: &str) -> bool {
    has_part(text, &["server", "datasource", "address", "addr", "networkaddress"])
}

/// Whether it is a connection string of Service Bus, where nothing is quoted: one of its parts is the endpoint.
fn is_servicebus(text: &str) -> bool {
    has_part(text, &["endpoint"])
}

/// Whether `text` is a connection string, parts between `;` that begin with `name=`, and has one of these `names`.
///
/// Other forms begin with a scheme or a host, so that no plain name stands before their first `=`.
fn has_part(text: &str, names: &[&str]) -> bool {
    let name = |part: &str| -> Option<String> { Some(part.split_once('=')?.0.split_whitespace().collect()) };
    let is_plain = |name: String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    name(text.trim_start_matches(';')).is_some_and(is_plain)
        && text.split(';').filter_map(name).any(|name| is_any_of(names, &name))
}

/// Whether it is a URL of Java, which the provider answers with the form that it reads.
fn is_jdbc(url: &str) -> bool {
    url.get(..15).is_some_and(|begin| begin.eq_ignore_ascii_case("jdbc:sqlserver:"))
}

fn is_any_of(known: &[&str], word: &str) -> bool {
    known.iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn refused(problem: String) -> Error {
    Error::new(ErrorKind::Config, format!("backplane URL: {problem}"))
}

const PROVIDERS: [Provider; 3] = [REDIS, SQLSERVER, SERVICEBUS];

const REDIS: Provider = Provider {
    feature: "redis",
    families: &["redis", "rediss", "valkey", "valkeys"],
    schemes: "redis://, rediss://, redis+unix://, redis+sentinel://, redis+cluster://",
    #[cfg(feature = "redis")]
    read: Some(|url| url.parse::<scaleout_redis::RedisConfig>().map(Into::into)),
    #[cfg(not(feature = "redis"))]
    read: None,
};

const SQLSERVER: Provider = Provider {
    feature: "sqlserver",
    families: &["sqlserver", "mssql"],
    schemes: "sqlserver://",
    #[cfg(feature = "sqlserver")]
    read: Some(|settings| settings.parse::<scaleout_sqlserver::SqlServerConfig>().map(Into::into)),
    #[cfg(not(feature = "sqlserver"))]
    read: None,
};

const SERVICEBUS: Provider = Provider {
    feature: "servicebus",
    families: &["servicebus"],
    schemes: "servicebus://, servicebus+emulator://",
    #[cfg(feature = "servicebus")]
    read: Some(|settings| settings.parse::<scaleout_servicebus::ServiceBusConfig>().map(Into::into)),
    #[cfg(not(feature = "servicebus"))]
    read: None,
};

const NO_URL: &str = "the form `host:6380,ssl=true,…` is no URL: RedisConfig reads it, and BackplaneConfig::from takes that; \
     a connection string of ADO.NET is known by its `Server=`, one of Service Bus by its `Endpoint=sb://`";
