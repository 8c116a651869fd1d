//! Reading the values of settings, so that all providers take the same forms and refuse in the same words.
//!
//! A problem is told without the value, to be put after the name of the option: where a password was not escaped, any
//! value of a text may be a part of it.

mod reading;

use std::{fs, net::Ipv6Addr, path::Path, str::FromStr, time::Duration};

use bytesize::ByteSize;

pub use self::reading::{Reading, canonical, put, refuse_if_any};
#[cfg(feature = "serde")]
pub use self::serde::{Size, Time};

/// A whole number that fits its field.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn number<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "is not a whole number of the field's range".into())
}

/// Bytes: `1048576`, `1MiB` (binary) or `1MB` (decimal).
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn size<T: TryFrom<u64>>(value: &str) -> Result<T, String> {
    let size: ByteSize = value.trim().parse().map_err(|_| "is not a size such as 64MiB, 1MB or 65536")?;
    // It saturates.
    if size.as_u64() == u64::MAX {
        return Err("is too large a size".into());
    }
    T::try_from(size.as_u64()).map_err(|_| "is too large a size".into())
}

/// A duration: `90` or `1.5` (seconds), `1500ms`, `1m 30s`, `24h`.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn duration(value: &str) -> Result<Duration, String> {
    let value = value.trim();
    let plain = value.parse::<f64>().ok().map(Duration::try_from_secs_f64);
    match plain {
        Some(Ok(seconds)) => Some(seconds),
        Some(Err(_)) => None,
        None => humantime::parse_duration(value).ok(),
    }
    .ok_or_else(|| "is not a duration such as 500ms, 60s, 5m, or plain seconds".into())
}

/// What `value` names, in any case.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn one_of<T: Copy>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, choice)| *choice).ok_or_else(
        || {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("is none of {}", names.join(", "))
        },
    )
}

/// `true`, `yes`, `on`, `1` and their opposites, in any case.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("is neither true nor false".into()),
    }
}

/// Whether `host` can be a name or an IP address; one of IPv6 is without brackets.
#[must_use]
pub fn is_host(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    host.parse::<Ipv6Addr>().is_ok()
        || (1..=255).contains(&host.len()) && host.bytes().all(fits) && host != "."
}

/// PEM, either the text itself or the path of a file that holds it and is read at once.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn pem(value: &str) -> Result<Vec<u8>, String> {
    if value.contains("-----BEGIN ") {
        return Ok(value.as_bytes().to_vec());
    }
    // A PEM file is some kilobytes; a wrong path, such as that of a device, must not fill the memory.
    let path = Path::new(value);
    match fs::metadata(path) {
        Ok(file) if !file.is_file() => return Err("is not the path of a file".into()),
        Ok(file) if file.len() > MAX_PEM_BYTES => return Err("is the path of a file above 1 MiB".into()),
        _ => {}
    }
    fs::read(path).map_err(|error| format!("is not the path of a file that can be read: {}", error.kind()))
}

/// `name` if it can be an option's name; anything else may be a piece of a password.
#[must_use]
pub fn shown(name: &str) -> &str {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=32).contains(&name.len()) && name.bytes().all(fits) { name } else { "of that name (not shown)" }
}

const MAX_PEM_BYTES: u64 = 1 << 20;

/// `Deserialize` for the same values.
#[cfg(feature = "serde")]
mod serde {
    use std::{fmt, time::Duration};

    use serde::{
        Deserialize, Deserializer,
        de::{Error, Unexpected, Visitor},
    };

    use crate::provider::{
        Secret,
        settings::{duration, size},
    };

    /// Bytes: a number, or text such as `"64MiB"`. Needs the feature `serde`.
    #[derive(Debug, Clone, Copy)]
    pub struct Size<T>(
        /// The number of bytes.
        pub T,
    );

    /// A duration: a number of seconds, or text such as `"5m"`. Needs the feature `serde`.
    #[derive(Debug, Clone, Copy)]
    pub struct Time(
        /// The duration.
        pub Duration,
    );

    /// A number, or text with a unit.
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, or text with a unit")]
    enum Quantity<T> {
        Number(T),
        Text(String),
    }

    impl<'de, T: TryFrom<u64>> Deserialize<'de> for Size<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match Quantity::<u64>::deserialize(deserializer)? {
                Quantity::Number(bytes) => T::try_from(bytes)
                    .map(Self)
                    .map_err(|_| D::Error::custom(format!("{bytes} is too large a size"))),
                Quantity::Text(text) => {
                    size(&text).map(Self).map_err(|problem| D::Error::custom(quoting(&text, &problem)))
                }
            }
        }
    }

    impl<'de> Deserialize<'de> for Time {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = match Quantity::<f64>::deserialize(deserializer)? {
                Quantity::Number(seconds) => seconds.to_string(),
                Quantity::Text(text) => text,
            };
            duration(&text).map(Self).map_err(|problem| D::Error::custom(quoting(&text, &problem)))
        }
    }

    /// A message for what is no secret, in a format that may not name the field.
    fn quoting(text: &str, problem: &str) -> String {
        let shown: String = text.chars().take(40).collect();
        format!("{shown:?} {problem}")
    }

    impl<'de> Deserialize<'de> for Secret {
        /// Text; the error about anything else does not show it.
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // As any, since the error about a number would show it.
            deserializer.deserialize_any(SecretVisitor)
        }
    }

    struct SecretVisitor;

    impl SecretVisitor {
        fn refuse<E: Error>(self) -> Result<Secret, E> {
            Err(E::invalid_type(Unexpected::Other("something else (not shown)"), &self))
        }
    }

    impl Visitor<'_> for SecretVisitor {
        type Value = Secret;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a secret as text, in quotes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
            Ok(Secret::from(text))
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_i128<E: Error>(self, _: i128) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_u128<E: Error>(self, _: u128) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
            self.refuse()
        }

        fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Secret, E> {
            self.refuse()
        }
    }
}
