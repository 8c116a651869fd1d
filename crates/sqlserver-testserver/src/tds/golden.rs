//! Bytes as tiberius 0.13.0 sends them, taken from the wire.

use bytes::Bytes;

use super::{Encryption, Login, Parameter, PreLogin, Rpc, Target, Value};

/// Of user `sa` to database `test`, with packets of 8,000 bytes.
pub(super) const LOGIN: &str = "ae00000004000074401f00000000000000000000000000006003000800000000000000005e0006006a0002006e000b008400080094000900a6000000a6000000a6000000a6000400000000002a00ae000000ae000000ae0000000000000063006c00690065006e0074007300610090a593a5b3a563a5f3a577a551a5f2a5e2a577a5b6a57300630061006c0065006f00750074003100320037002e0030002e0030002e0031007400650073007400";

/// Bytes of hexadecimal digits.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
