//! The type system of AMQP 1.0 (part 1 of the standard): [`Value`], read by [`Decoder`] and written by [`Encoder`].
//!
//! Written for this emulator alone, so that it shares no mistakes with the clients that are tested against it.
//! Whatever the bytes, decoding gives a value or [`Malformed`]: lengths, nesting and the number of elements are bounded by
//! the length of the input.

mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

pub use self::{
    decode::Decoder,
    encode::Encoder,
    value::{Symbol, Value},
};

/// Bytes that are not AMQP, or not what is expected at their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed AMQP: {}", self.0)
    }
}

impl std::error::Error for Malformed {}
