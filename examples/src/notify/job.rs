//! What is told to whom.

use std::{fmt, str::FromStr, time::SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Characters of a user's name at most.
pub const MAX_USER_CHARS: usize = 64;
/// Bytes of a notification's text at most.
pub const MAX_TEXT_BYTES: usize = 4 << 10;

/// Who is told: 1 to [`MAX_USER_CHARS`] characters, no spaces among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(String);

impl User {
    /// The channel of all that this user is told.
    #[must_use]
    pub fn channel(&self) -> String {
        format!("user:{}", self.0)
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let is_wrong = |c: char| c.is_control() || c.is_whitespace();
        if name.is_empty() || name.chars().count() > MAX_USER_CHARS || name.chars().any(is_wrong) {
            return Err(format!("a user must be 1 to {MAX_USER_CHARS} characters without spaces"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job that is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose it was.
    pub user: User,
    /// What became of it: 1 to [`MAX_TEXT_BYTES`] bytes.
    pub text: String,
}

/// `ada Your export is ready`.
impl FromStr for Job {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (user, text) = line.trim().split_once(char::is_whitespace).unwrap_or((line, ""));
        let (user, text) = (user.parse()?, text.trim());
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "what became of the job must be 1 to {MAX_TEXT_BYTES} bytes, behind the user"
            ));
        }
        Ok(Self { user, text: text.to_owned() })
    }
}

/// The payload of a message on a user's channel.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) text: String,
    /// Since 1970.
    pub(super) finished_ms: u64,
}

impl Done {
    pub(super) fn now(text: String) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { text, finished_ms: now.as_millis().try_into().unwrap_or(u64::MAX) }
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and numbers always become JSON").into()
    }

    /// `None`: somebody who is no worker published on a user's channel.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_user_and_what_became_of_the_job() {
        let job: Job = "ada  Your export is ready \n".parse().unwrap();
        assert_eq!((job.user.channel().as_str(), job.text.as_str()), ("user:ada", "Your export is ready"));
        let long = format!("ada {}", "x".repeat(MAX_TEXT_BYTES + 1));
        for wrong in ["", "ada", "ada  ", &format!("{} x", "a".repeat(MAX_USER_CHARS + 1)), &long] {
            assert!(wrong.parse::<Job>().is_err(), "{wrong:.20}");
        }
        // The longest user of the widest characters is still a channel.
        assert!("🦀".repeat(MAX_USER_CHARS).parse::<User>().unwrap().channel().len() <= 1024);
    }

    #[test]
    fn what_is_told_survives_the_way_through_a_payload() {
        let done = Done::now("\"<b>\\".into());
        assert_eq!(Done::decode(&done.encode()), Some(done));
        assert_eq!(Done::decode(b"\xff"), None);
    }
}
