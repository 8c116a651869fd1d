//! The type system of AMQP 1.0 (part 1 of the standard): [`Value`], read by [`Decoder`] and written by [`Encoder`].
//!
//! Written for this emulator alone, so that it shares no mistakes with the clients that are tested against it.
//! Whatever the bytes, decoding gives a value or [`Malformed`]: lengths, nesting and the number of elements are bounded by
//! the length of the input.

mod decode;
mod encode;
mod malformed;
#[cfg(test)]
mod tests;
mod value;

pub use self::{
    decode::Decoder,
    encode::Encoder,
    malformed::Malformed,
    value::{Symbol, Value},
};
