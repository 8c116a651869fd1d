//! What travels with a message beside its payload.

use std::{fmt, str::FromStr};

use bytes::Bytes;

use crate::{Error, ErrorKind, frame};

/// What travels with a message beside its payload, for [`Bus::publish_with`](crate::Bus::publish_with).
///
/// One value may serve many messages. Nodes of older releases pass over what they do not know.
///
/// ```
/// use scaleout_core::Extensions;
///
/// # fn main() -> Result<(), scaleout_core::Error> {
/// let of_request = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let extensions = Extensions::default().with_traceparent(of_request.parse()?);
/// assert_eq!(extensions.encoded_len(), 57);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Each tag once.
    pairs: Vec<(u8, Bytes)>,
}

impl Extensions {
    /// Makes the message part of a trace.
    #[must_use]
    pub fn with_traceparent(self, traceparent: Traceparent) -> Self {
        self.with(frame::TRACEPARENT, Bytes::copy_from_slice(traceparent.as_str().as_bytes()))
    }

    /// The bytes that they add to each message, in its frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        frame::encoded_message_len(0, 0, &self.pairs) - frame::encoded_message_len(0, 0, &[])
    }

    fn with(mut self, tag: u8, value: Bytes) -> Self {
        self.pairs.retain(|(known, _)| *known != tag);
        self.pairs.push((tag, value));
        self
    }

    pub(crate) fn pairs(&self) -> &[(u8, Bytes)] {
        &self.pairs
    }
}

/// A `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/): the trace and the span that something
/// is part of.
///
/// `00-<trace id>-<parent id>-<flags>`, 55 bytes of text. What a later version of the standard adds behind them is left
/// out when it is read, as the standard asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    /// ASCII, checked.
    text: [u8; LEN],
}

/// Bytes of `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LEN: usize = 55;

impl Traceparent {
    /// The text, as it stands in a header of HTTP.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("it is ASCII")
    }

    /// The trace, 32 digits in lower-case hexadecimal, not all of them 0.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.as_str()[3..35]
    }

    /// The span that caused this, 16 digits in lower-case hexadecimal, not all of them 0.
    #[must_use]
    pub fn parent_id(&self) -> &str {
        &self.as_str()[36..52]
    }

    /// Whether whoever caused this recorded it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        let last = self.text[LEN - 1];
        char::from(last).to_digit(16).is_some_and(|flags| flags & 1 == 1)
    }
}

impl FromStr for Traceparent {
    type Err = Error;

    /// Reads the value of a header `traceparent`.
    ///
    /// # Errors
    /// [`InvalidTraceparent`](ErrorKind::InvalidTraceparent) for anything else, upper-case digits and ids of zeros
    /// included.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| ErrorKind::InvalidTraceparent.into())
    }
}

fn parse(text: &str) -> Option<Traceparent> {
    let (known, rest) = text.as_bytes().split_at_checked(LEN)?;
    let mut text = [0; LEN];
    text.copy_from_slice(known);
    let is_hex = |digits: &[u8]| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |digits: &[u8]| is_hex(digits) && digits.iter().any(|digit| *digit != b'0');
    let parts = [&text[..2], &text[3..35], &text[36..52], &text[53..]];
    let dashes = [text[2], text[35], text[52]];
    if dashes != [b'-'; 3] || !is_hex(parts[0]) || !is_id(parts[1]) || !is_id(parts[2]) || !is_hex(parts[3]) {
        return None;
    }
    match &text[..2] {
        b"ff" => return None,
        b"00" if !rest.is_empty() => return None,
        b"00" => {}
        // Of a later version, all that this one knows is taken: the ids, and whether it is sampled.
        _ if rest.first().is_some_and(|next| *next != b'-') => return None,
        _ => {
            let is_sampled = Traceparent { text }.is_sampled();
            text[..2].copy_from_slice(b"00");
            text[LEN - 2..].copy_from_slice(if is_sampled { b"01" } else { b"00" });
        }
    }
    Some(Traceparent { text })
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traceparent({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let read: Traceparent = GOOD.parse().unwrap();
        assert_eq!(read.to_string(), GOOD);
        assert_eq!(read.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(read.parent_id(), "00f067aa0ba902b7");
        assert!(read.is_sampled());
        assert!(!GOOD.replace("-01", "-02").parse::<Traceparent>().unwrap().is_sampled());
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let longer = format!("{GOOD}-00");
        for text in [
            "",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            &GOOD[..54],
            &longer,
            &GOOD.to_uppercase(),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replacen("00-", "0g-", 1),
            &GOOD.replace("b7-01", "b7_01"),
            &GOOD.replace("-01", "-0x"),
            &GOOD.replacen("4b", "é", 1),
            &format!("01{}x", &GOOD[2..]),
        ] {
            let refused = text.parse::<Traceparent>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidTraceparent, "{text}");
        }
        assert!("".parse::<Traceparent>().unwrap_err().to_string().contains("32 hex digits"));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00-", "01-", 1);
        assert_eq!(later.parse::<Traceparent>().unwrap().as_str(), GOOD);
        let later = format!("cc{}-03-more", &GOOD[2..52]);
        assert_eq!(later.parse::<Traceparent>().unwrap().as_str(), GOOD);
    }

    #[test]
    fn a_tag_comes_once() {
        let (one, two): (Traceparent, Traceparent) =
            (GOOD.parse().unwrap(), GOOD.replace("-01", "-00").parse().unwrap());
        let extensions = Extensions::default().with_traceparent(one).with_traceparent(two);
        assert_eq!(extensions, Extensions::default().with_traceparent(two));
        assert_eq!(extensions.encoded_len(), 57);
        assert_eq!(Extensions::default().encoded_len(), 0);
    }
}
