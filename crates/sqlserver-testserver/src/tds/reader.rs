//! Takes fields from the front of a message: [`Reader`].

use bytes::{Buf, Bytes};

use super::Malformed;

/// What is left of a message.
#[derive(Debug, Clone)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes; they share the memory of the message.
    pub(super) fn take(&mut self, count: usize) -> Result<Bytes, Malformed> {
        if count > self.0.len() {
            return Err(Malformed::new(format!("{count} bytes wanted, {} are left", self.0.len())));
        }
        Ok(self.0.split_to(count))
    }

    pub(super) fn rest(&mut self) -> Bytes {
        self.0.split_off(0)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.get_u8())
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.get_u16_le())
    }

    /// In network order, as PRELOGIN has its numbers.
    pub(super) fn u16_be(&mut self) -> Result<u16, Malformed> {
        Ok(self.take(2)?.get_u16())
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(self.take(4)?.get_u32_le())
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(self.take(8)?.get_u64_le())
    }

    /// `B_VARCHAR`: a count of UTF-16 code units in one byte, then the units.
    pub(super) fn b_varchar(&mut self) -> Result<String, Malformed> {
        let units = self.u8()?.into();
        self.utf16(units)
    }

    /// So many UTF-16 code units.
    pub(super) fn utf16(&mut self, units: usize) -> Result<String, Malformed> {
        let bytes = self.take(units * 2)?;
        utf16(&bytes)
    }
}

/// Text of little-endian UTF-16 code units.
pub(super) fn utf16(bytes: &[u8]) -> Result<String, Malformed> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Malformed::new("a text of an odd number of bytes"));
    }
    char::decode_utf16(pairs.iter().map(|pair| u16::from_le_bytes(*pair)))
        .collect::<Result<_, _>>()
        .map_err(|_| Malformed::new("a text that is not UTF-16"))
}
