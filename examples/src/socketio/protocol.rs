//! What travels between client and node.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socketioxide::socket::Sid;

/// Bytes of a message that a node reads at most.
pub const MAX_MESSAGE_BYTES: u32 = 1 << 20;
/// Bytes of a text that a node sends on at most.
pub const MAX_TEXT_BYTES: usize = 4 << 10;
/// Characters of the name of a room or a user at most.
pub const MAX_NAME_CHARS: usize = 64;
/// How long a client may have a node wait for answers.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);

/// What names a room or a user: 1 to 64 characters, none of them control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(String);

impl Name {
    /// The room of that name, as the server calls it: every socket is also in a room of its id, which nobody may enter by
    /// calling a room so.
    pub(super) fn room(&self) -> String {
        format!("{ROOM}{}", self.0)
    }

    /// The name of a room, where it is one that clients name.
    pub(super) fn of_room(room: &str) -> Option<Self> {
        room.strip_prefix(ROOM).map(|name| Self(name.to_owned()))
    }
}

const ROOM: &str = "room:";

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.trim().is_empty()
            || name.chars().count() > MAX_NAME_CHARS
            || name.chars().any(char::is_control)
        {
            return Err(format!("a name has 1 to {MAX_NAME_CHARS} characters"));
        }
        Ok(Self(name))
    }
}

/// What is said: 1 byte to 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Text(String);

impl Text {
    /// What an event of a text alone is made of: socketioxide takes a newtype for a list of arguments.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Err(format!("a text has 1 to {MAX_TEXT_BYTES} bytes"));
        }
        Ok(Self(text))
    }
}

/// Who a client says he is.
#[derive(Debug, Deserialize)]
pub(super) struct Login {
    pub(super) user: Name,
}

#[derive(Debug, Deserialize)]
pub(super) struct Say {
    pub(super) room: Name,
    pub(super) text: Text,
    pub(super) except: Option<Name>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tell {
    pub(super) to: Sid,
    pub(super) text: Text,
}

#[derive(Debug, Deserialize)]
pub(super) struct SendFile {
    pub(super) room: Name,
    pub(super) name: Name,
    pub(super) data: Bytes,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub(super) room: Name,
    pub(super) question: Text,
    pub(super) wait_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Show {
    pub(super) room: Name,
    pub(super) wait_ms: u64,
}

/// What a client of `/admin` shows.
#[derive(Debug, Deserialize)]
pub(super) struct Pass {
    pub(super) token: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Move {
    pub(super) id: Sid,
    pub(super) from: Option<Name>,
    pub(super) to: Name,
}

#[derive(Debug, Deserialize)]
pub(super) struct Kick {
    pub(super) id: Sid,
    pub(super) why: Text,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub(super) room: &'a Name,
    pub(super) user: &'a Name,
    pub(super) text: &'a Text,
}

#[derive(Debug, Serialize)]
pub(super) struct File<'a> {
    pub(super) room: &'a Name,
    pub(super) user: &'a Name,
    pub(super) name: &'a Name,
    pub(super) data: &'a Bytes,
}

/// Where a socket is.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    pub(super) id: Sid,
    pub(super) server: String,
}

/// What came of a question.
#[derive(Debug, Serialize)]
pub(super) struct Answers<T> {
    pub(super) answers: Vec<Answer<T>>,
    /// Who was asked, and did not answer in time.
    pub(super) silent: Vec<Sid>,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer<T> {
    pub(super) id: Sid,
    pub(super) answer: T,
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn names_and_texts_are_bounded() {
        let name = |name: &str| from_value::<Name>(name.into());
        assert_eq!(name("Zoë").unwrap().room(), "room:Zoë");
        for wrong in ["", " ", "a\n", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        let text = |bytes| from_value::<Text>("x".repeat(bytes).into());
        assert!(text(MAX_TEXT_BYTES).is_ok());
        assert!(text(0).is_err() && text(MAX_TEXT_BYTES + 1).is_err());
    }

    #[test]
    fn a_room_of_a_socket_is_no_room_of_a_name() {
        assert_eq!(Name::of_room("room:room:a"), Some(Name("room:a".into())));
        assert_eq!(Name::of_room("AAAAAAAAAAAAAAAA"), None);
    }
}
