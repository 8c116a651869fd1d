//! Any value of AMQP: [`Value`].

use std::borrow::Cow;

use bytes::Bytes;
use uuid::Uuid;

/// A name of the protocol: ASCII by the standard, which is not checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub Cow<'static, str>);

impl Symbol {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Symbol {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Symbol {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

/// A value with its type (AMQP 1.0, section 1.6).
///
/// Two values are equal where they have the same type and the same content, however they were encoded. Floating-point
/// numbers are kept and compared by their bits, so that `Value` is [`Eq`] and what was read is written back unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `ubyte`.
    Ubyte(u8),
    /// `ushort`.
    Ushort(u16),
    /// `uint`.
    Uint(u32),
    /// `ulong`.
    Ulong(u64),
    /// `byte`.
    Byte(i8),
    /// `short`.
    Short(i16),
    /// `int`.
    Int(i32),
    /// `long`.
    Long(i64),
    /// `float`, its bits.
    Float(u32),
    /// `double`, its bits.
    Double(u64),
    /// `decimal32`, its bits.
    Decimal32([u8; 4]),
    /// `decimal64`, its bits.
    Decimal64([u8; 8]),
    /// `decimal128`, its bits.
    Decimal128([u8; 16]),
    /// `char`.
    Char(char),
    /// `timestamp`: milliseconds since 1970.
    Timestamp(i64),
    /// `uuid`.
    Uuid(Uuid),
    /// `binary`.
    Binary(Bytes),
    /// `string`.
    String(String),
    /// `symbol`.
    Symbol(Symbol),
    /// `list`.
    List(Vec<Value>),
    /// `map`, in the order in which it was written; a key can come twice.
    Map(Vec<(Value, Value)>),
    /// `array`. Elements of more than one type have no encoding and are written as a list.
    Array(Vec<Value>),
    /// A descriptor and what it describes.
    Described(Box<(Value, Value)>),
}

impl Value {
    /// A symbol.
    pub fn symbol(text: impl Into<Symbol>) -> Self {
        Self::Symbol(text.into())
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A value described by a number, as the protocol's own types are.
    pub fn described(code: u64, value: Self) -> Self {
        Self::Described(Box::new((Self::Ulong(code), value)))
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a string or symbol.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// A whole number of any type that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => Some(number),
            _ => self.as_i64()?.try_into().ok(),
        }
    }

    /// A whole number of any type that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) | Self::Timestamp(number) => Some(number),
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => number.try_into().ok(),
            _ => None,
        }
    }

    /// The value of a key of a map, where this is one that has it.
    pub fn entry(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The elements of a list or an array; none of anything else.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::List(elements) | Self::Array(elements) => elements,
            _ => &[],
        }
    }
}

impl From<&'static str> for Value {
    /// A string.
    fn from(text: &'static str) -> Self {
        Self::String(text.to_owned())
    }
}
