//! Whether a server is new enough.

use scaleout_core::{Error, ErrorKind};

type Version = [u32; 3];

/// Accepts Redis from 7.0.0 (ids of the form `<epoch>-*`) and Valkey from 7.2, by the reply of `INFO server`.
///
/// Others, such as KeyDB and Dragonfly, pass if the `redis_version` that they claim to match does.
///
/// Answers its name and version, as in `redis 7.0.15`.
pub(crate) fn server_version(info: &str) -> Result<String, Error> {
    let field = |name| info_field(info, name);
    let (server, found, least) = match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => ("valkey", version, [7, 2, 0]),
        (None, Some(version)) if field("server_name") == Some("valkey") => ("valkey", version, [7, 2, 0]),
        (None, Some(version)) => ("redis", version, [7, 0, 0]),
        (None, None) => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the server does not tell its version; redis 7.0.0 or valkey 7.2.0 is needed, or later",
            ));
        }
    };
    let shown: String = found.chars().filter(char::is_ascii_graphic).take(32).collect();
    if parse(found).is_some_and(|version| version >= least) {
        return Ok(format!("{server} {shown}"));
    }
    let [major, minor, patch] = least;
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("the server is {server} {shown}; {server} {major}.{minor}.{patch} or later is needed"),
    ))
}

/// The value of a line `name:value` of a reply of `INFO`.
pub(crate) fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Reads `7.0.15`, `8.0-rc1`: up to three numbers, of which the missing are 0.
fn parse(text: &str) -> Option<Version> {
    let numbers = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut version = [0; 3];
    for (part, number) in version.iter_mut().zip(numbers.split('.')) {
        *part = number.parse().ok()?;
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_seven_pass() {
        for good in [
            "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n",
            "redis_version:7.0.15\n",
            "redis_version:8.10.1\r\n",
            "redis_version:8.0-rc1\r\n",
            "redis_version:255.255.255\r\n",
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n",
            "redis_version:7.2.5\r\nserver_name:valkey\r\n",
            "redis_version:7.4.0\r\ndragonfly_version:df-v1.30.0\r\n",
        ] {
            assert!(server_version(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_older_or_unknown_is_refused_with_both_versions() {
        for (info, told) in [
            ("redis_version:6.2.14\r\n", ["redis 6.2.14", "7.0.0"]),
            ("redis_version:6.3.4\r\nserver_name:KeyDB\r\n", ["6.3.4", "7.0.0"]),
            ("redis_version:7.1.0\r\nserver_name:valkey\r\n", ["valkey 7.1.0", "7.2.0"]),
            ("redis_version:\r\n", ["redis", "7.0.0"]),
            ("redis_version:99999999999999.1\r\n", ["redis", "7.0.0"]),
            ("", ["does not tell", "7.0.0"]),
        ] {
            let error = server_version(info).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(told.iter().all(|part| error.to_string().contains(part)), "{info}: {error}");
        }
    }
}
