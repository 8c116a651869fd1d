//! Channel and app names, and the stream of a channel.

use std::{fmt, num::NonZeroU16, str::FromStr};

use twox_hash::XxHash3_64;

use crate::{Error, ErrorKind, StreamIndex};

/// Bytes of a channel name at most.
pub const MAX_CHANNEL_BYTES: usize = 1024;

/// The stream that carries `channel`: XXH3-64 (seed 0) of its UTF-8 bytes, modulo `stream_count`.
///
/// It is part of the wire format: every node of every release answers the same.
#[must_use]
pub fn stream_of(channel: &str, stream_count: NonZeroU16) -> StreamIndex {
    let hash = XxHash3_64::oneshot(channel.as_bytes());
    let index = hash % u64::from(stream_count.get());
    StreamIndex(u16::try_from(index).expect("a remainder is below its u16 divisor"))
}

/// Refuses names that are no channel.
///
/// # Errors
/// [`InvalidChannel`](ErrorKind::InvalidChannel) where `channel` is empty or longer than [`MAX_CHANNEL_BYTES`].
pub fn check_channel(channel: &str) -> Result<(), Error> {
    if (1..=MAX_CHANNEL_BYTES).contains(&channel.len()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidChannel,
        format!("a channel is 1 to {MAX_CHANNEL_BYTES} bytes of UTF-8, this one has {}", channel.len()),
    ))
}

/// The namespace of an application in a store: `[a-z0-9][a-z0-9-]{0,30}`.
///
/// Two apps, or two environments of one, never see each other's messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppName(String);

impl AppName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What frames carry of the name: its XXH3-64 with seed 0.
    #[must_use]
    pub fn hash(&self) -> u64 {
        XxHash3_64::oneshot(self.0.as_bytes())
    }
}

impl Default for AppName {
    /// `"app"`.
    fn default() -> Self {
        Self("app".into())
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AppName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let rest_fits = name.bytes().all(|byte| fits(byte) || byte == b'-');
        if name.len() <= 31 && name.bytes().next().is_some_and(fits) && rest_fits {
            return Ok(Self(name.into()));
        }
        let shown: String = name.chars().take(40).collect();
        Err(Error::new(
            ErrorKind::Config,
            format!("an app name is 1 to 31 of a-z, 0-9 and '-', not beginning with '-': {shown:?} is not"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_channel_never_changes() {
        // Golden vectors: XXH3-64, seed 0. A change of any of them splits a running fleet.
        let of = |channel, count| stream_of(channel, NonZeroU16::new(count).unwrap()).0;
        let golden: Vec<_> =
            ["a", "room:42", "user:7", "größe", "日本"].iter().map(|c| (of(c, 4), of(c, 1000))).collect();
        assert_eq!(golden, GOLDEN);
        assert_eq!(of("room:42", 1), 0);
    }

    const GOLDEN: [(u16, u16); 5] = [(3, 719), (2, 602), (0, 908), (0, 244), (0, 296)];

    #[test]
    fn channels_and_apps_are_checked() {
        assert!(check_channel("").is_err() && check_channel(&"x".repeat(1025)).is_err());
        assert!(check_channel("x").is_ok() && check_channel(&"x".repeat(1024)).is_ok());
        for good in ["a", "0", "chat-2", &"a".repeat(31)] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "ä", &"a".repeat(32)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }
}
