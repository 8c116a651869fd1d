//! The Tabular Data Stream protocol, version 7.4, as far as the clients of scaleout speak it: bytes to values and back.
//!
//! Nothing here knows a socket. Whatever the bytes are, decoding gives a value or [`Malformed`], and reserves no more
//! memory than bytes have arrived. Names of fields are those of Microsoft's "MS-TDS" document.

mod login;
mod packets;
mod prelogin;
mod reader;
mod rpc;
mod tokens;
mod types;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

use std::{borrow::Cow, error, fmt};

pub(crate) use self::{
    login::Login,
    packets::{Assembler, Message, PacketType, write_packets},
    prelogin::{Encryption, PreLogin},
    rpc::{Batch, Parameter, Rpc, Target},
    tokens::{DoneKind, Environment, Tokens},
    types::{Column, Type, Value},
};

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(Cow<'static, str>);

impl Malformed {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed TDS: {}", self.0)
    }
}

impl error::Error for Malformed {}
