//! The fields that messages of a cluster, and of what is built on it, are made of.
//!
//! | Field | Bytes |
//! | --- | --- |
//! | byte | itself |
//! | number | 1 to 10: seven bits each, least significant first, the high bit set on all but the last (LEB128) |
//! | bytes, text | their length as a number, then themselves; text is UTF-8 |
//! | node | 16, little-endian |
//! | rest | up to the end of the message |

use std::fmt;

use bytes::Bytes;
use scaleout_core::NodeId;

/// Writes fields one behind the other.
#[derive(Debug, Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty message with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends a byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends a number.
    #[inline]
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Appends bytes behind their length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Appends text behind its length in bytes.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends a node.
    #[inline]
    pub fn node(&mut self, node: NodeId) {
        self.0.extend_from_slice(&node.0.to_le_bytes());
    }

    /// Appends bytes without a length: nothing may follow them.
    #[inline]
    pub fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields one behind the other; what it gives out are slices of the message.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Reads `bytes` from the start.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Takes a byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    /// Takes a number.
    ///
    /// # Errors
    /// [`DecodeError::Short`], and [`DecodeError::Number`] for one that does not fit 64 bits.
    #[inline]
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Number)
    }

    /// Takes bytes, as a slice of the message.
    ///
    /// # Errors
    /// [`DecodeError::Short`], also for a length beyond the end: nothing is allocated for it.
    #[inline]
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let range = self.range()?;
        Ok(self.bytes.slice(range))
    }

    /// Takes text, without a copy.
    ///
    /// # Errors
    /// [`DecodeError::Short`], [`DecodeError::Text`].
    #[inline]
    pub fn text(&mut self) -> Result<&str, DecodeError> {
        let range = self.range()?;
        std::str::from_utf8(&self.bytes[range]).map_err(|_| DecodeError::Text)
    }

    /// Takes a node.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn node(&mut self) -> Result<NodeId, DecodeError> {
        let bytes = self.bytes.get(self.at..self.at + 16).ok_or(DecodeError::Short)?;
        let bytes = bytes.try_into().map_err(|_| DecodeError::Short)?;
        self.at += 16;
        Ok(NodeId(u128::from_le_bytes(bytes)))
    }

    /// Takes what is left.
    #[inline]
    #[must_use]
    pub fn rest(self) -> Bytes {
        let mut bytes = self.bytes;
        bytes::Buf::advance(&mut bytes, self.at);
        bytes
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Long`].
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(DecodeError::Long) }
    }

    #[inline]
    fn range(&mut self) -> Result<std::ops::Range<usize>, DecodeError> {
        let len = usize::try_from(self.number()?).map_err(|_| DecodeError::Short)?;
        if len > self.remaining() {
            return Err(DecodeError::Short);
        }
        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// It ends in the middle of a field.
    Short,
    /// Bytes are left behind its last field.
    Long,
    /// A number does not fit 64 bits.
    Number,
    /// A text is not UTF-8.
    Text,
    /// A field has a value without a meaning.
    Unknown {
        /// The name of the field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// It is written by a later release.
    Version(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the message ends in the middle of a field"),
            Self::Long => f.write_str("bytes are left behind the last field of the message"),
            Self::Number => f.write_str("a number of the message does not fit 64 bits"),
            Self::Text => f.write_str("a text of the message is not UTF-8"),
            Self::Unknown { field, value } => {
                write!(f, "the message's {field} is {value}, which means nothing")
            }
            Self::Version(version) => {
                write!(f, "the message has version {version}, which is later than this release reads")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(byte: u8, number: u64, bytes: Vec<u8>, text: String, node: u128, rest: Vec<u8>) {
            let mut writer = Writer::default();
            writer.byte(byte);
            writer.number(number);
            writer.bytes(&bytes);
            writer.text(&text);
            writer.node(NodeId(node));
            writer.rest(&rest);
            let mut reader = Reader::new(writer.into_vec().into());
            prop_assert_eq!(reader.byte(), Ok(byte));
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.bytes(), Ok(Bytes::from(bytes)));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.node(), Ok(NodeId(node)));
            prop_assert_eq!(reader.rest(), Bytes::from(rest));
        }

        #[test]
        fn any_bytes_give_fields_or_an_error(bytes: Vec<u8>, order in prop::collection::vec(0..5_u8, 0..20)) {
            let mut reader = Reader::new(bytes.into());
            for field in order {
                let left = reader.remaining();
                match field {
                    0 => drop(reader.byte()),
                    1 => drop(reader.number()),
                    2 => drop(reader.bytes()),
                    3 => drop(reader.text().map(str::len)),
                    _ => drop(reader.node()),
                }
                prop_assert!(reader.remaining() <= left);
            }
        }
    }

    #[test]
    fn numbers_take_the_bytes_that_the_table_says() {
        for (number, bytes) in [(0, 1), (0x7F, 1), (0x80, 2), (u64::from(u32::MAX), 5), (u64::MAX, 10)] {
            let mut writer = Writer::default();
            writer.number(number);
            assert_eq!(writer.len(), bytes, "{number}");
        }
        let mut long = Reader::new(Bytes::from_static(&[0xFF; 11]));
        assert_eq!(long.number(), Err(DecodeError::Number));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        assert_eq!(Reader::new(writer.into_vec().into()).bytes(), Err(DecodeError::Short));
    }
}
