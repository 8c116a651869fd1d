//! What travels: JSON between client and node, JSON in the payloads between nodes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of a WebSocket message that a node reads at most.
pub const MAX_FRAME_BYTES: usize = 64 << 10;
/// Bytes of a text that a node publishes at most.
pub const MAX_TEXT_BYTES: usize = 4 << 10;
/// Characters of a room's name at most.
pub const MAX_ROOM_CHARS: usize = 64;
/// Characters of a user's name at most.
pub const MAX_USER_CHARS: usize = 32;

/// What a client asks for in the URL.
#[derive(Debug, Deserialize)]
pub(super) struct Query {
    #[serde(default)]
    room: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// A client's place: valid names.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) channel: String,
    pub(super) user: String,
}

impl Query {
    /// The room's channel and the user's name.
    ///
    /// # Errors
    /// What is wrong with the names, for the client to read.
    pub(super) fn place(&self) -> Result<Place, String> {
        let room = name("room", &self.room, MAX_ROOM_CHARS)?;
        let user = name("user", &self.user, MAX_USER_CHARS)?;
        Ok(Place { channel: format!("room:{room}"), user: user.to_owned() })
    }
}

fn name<'a>(what: &str, text: &'a str, max_chars: usize) -> Result<&'a str, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > max_chars || text.chars().any(char::is_control) {
        return Err(format!("{what} must be 1 to {max_chars} characters"));
    }
    Ok(text)
}

/// The text in what a client sent.
///
/// # Errors
/// What is wrong with it, for the client to read.
pub(super) fn text_of(json: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Said {
        text: String,
    }
    let Ok(Said { text }) = serde_json::from_str(json) else {
        return Err(r#"not understood; send {"text":"…"}"#.into());
    };
    if text.trim().is_empty() {
        return Err("the text is empty".into());
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("the text has {} bytes, at most {MAX_TEXT_BYTES} are sent", text.len()));
    }
    Ok(text)
}

/// The payload of a message on a room's channel.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spoken {
    pub(super) user: String,
    pub(super) text: String,
}

impl Spoken {
    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings always become JSON").into()
    }

    /// `None`: somebody who is no chat published on a room's channel.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// What a node sends to a client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ToClient {
    Hello { node: String, store: &'static str, cursor: String },
    Message { user: String, text: String, node: String, cursor: String },
    Gap { reason: String, missing: Option<u64>, cursor: String },
    Cursor { cursor: String },
    Store { state: &'static str },
    Error { message: String },
}

impl ToClient {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always become JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(room: &str, user: &str) -> Query {
        Query { room: room.into(), user: user.into(), cursor: None }
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        let place = query(" lobby ", "Zoë").place().unwrap();
        assert_eq!((place.channel.as_str(), place.user.as_str()), ("room:lobby", "Zoë"));
        for (room, user) in
            [("", "a"), ("a", " "), ("a\n", "b\u{7}b"), (&"x".repeat(65), "a"), ("a", &"x".repeat(33))]
        {
            assert!(query(room, user).place().is_err(), "{room:?} {user:?}");
        }
        // The longest room of the widest characters is still a channel.
        assert!(query(&"🦀".repeat(MAX_ROOM_CHARS), "a").place().unwrap().channel.len() <= 1024);
    }

    #[test]
    fn a_client_message_has_a_text_of_bounded_length() {
        assert_eq!(text_of(r#"{"text":"hello","later":1}"#).as_deref(), Ok("hello"));
        assert!(text_of(&format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES))).is_ok());
        for wrong in ["", "hello", "[]", r#"{"text":1}"#, r#"{"text":" "}"#] {
            assert!(text_of(wrong).is_err(), "{wrong}");
        }
        assert!(text_of(&format!(r#"{{"text":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES + 1))).is_err());
    }

    #[test]
    fn what_is_said_survives_the_way_through_a_payload() {
        let spoken = Spoken { user: "Zoë".into(), text: "\"<b>\\".into() };
        assert_eq!(Spoken::decode(&spoken.encode()), Some(spoken));
        assert_eq!(Spoken::decode(b"\xff"), None);
    }

    #[test]
    fn the_client_sees_the_documented_shapes() {
        let gap = ToClient::Gap { reason: "lost".into(), missing: None, cursor: "c".into() };
        assert_eq!(gap.encode(), r#"{"type":"gap","reason":"lost","missing":null,"cursor":"c"}"#);
        let hello = ToClient::Hello { node: "n".into(), store: "up", cursor: "c".into() };
        assert_eq!(hello.encode(), r#"{"type":"hello","node":"n","store":"up","cursor":"c"}"#);
    }
}
