//! Which provider a URL is for.

use scaleout_core::{Error, ErrorKind};

use crate::{BackplaneConfig, memory};

pub(crate) fn parse(url: &str) -> Result<BackplaneConfig, Error> {
    let url = url.trim();
    if let Some(rest) = strip_memory(url) {
        return memory::parse(rest).map_err(refused);
    }
    let Some(scheme) = scheme_of(url) else {
        return Err(refused(format!("it has no scheme; compiled in: {COMPILED_IN} ({NOT_DOTNET})")));
    };
    // `redis+sentinel` is of the same family; the provider knows which of them there are.
    let family = scheme.split('+').next().unwrap_or_default();
    if REDIS.iter().any(|known| family.eq_ignore_ascii_case(known)) {
        return redis(url);
    }
    Err(refused(format!("there is no backplane for {scheme}://; compiled in: {COMPILED_IN}")))
}

#[cfg(feature = "redis")]
fn redis(url: &str) -> Result<BackplaneConfig, Error> {
    url.parse::<scaleout_redis::RedisConfig>().map(Into::into)
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str) -> Result<BackplaneConfig, Error> {
    let problem = format!(
        "redis is not compiled in: enable the feature `redis` of scaleout; compiled in: {COMPILED_IN}"
    );
    Err(refused(problem))
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

fn refused(problem: String) -> Error {
    Error::new(ErrorKind::Config, format!("backplane URL: {problem}"))
}

#[cfg(feature = "redis")]
const COMPILED_IN: &str = "memory:, redis://, rediss://, redis+unix://, redis+sentinel://, redis+cluster://";
#[cfg(not(feature = "redis"))]
const COMPILED_IN: &str = "memory:; redis:// by the feature `redis` of scaleout";

const NOT_DOTNET: &str =
    "the form `host:6380,ssl=true,…` is no URL: RedisConfig reads it, and BackplaneConfig::from takes that";

const REDIS: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
