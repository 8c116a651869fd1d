//! Values of parameters and columns: [`Value`], and the types of columns: [`Type`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::{
    Malformed,
    reader::{Reader, utf16},
};

const NULL: u8 = 0x1F;
const INT1: u8 = 0x30;
const BIT: u8 = 0x32;
const INT2: u8 = 0x34;
const INT4: u8 = 0x38;
const INT8: u8 = 0x7F;
const GUID: u8 = 0x24;
const INT_N: u8 = 0x26;
const BIT_N: u8 = 0x68;
const VARBINARY: u8 = 0xA5;
const BINARY: u8 = 0xAD;
const NVARCHAR: u8 = 0xE7;
const NCHAR: u8 = 0xEF;

/// The length of a type whose values may have any: they come in chunks.
const MAX: u16 = 0xFFFF;
const NULL_16: u16 = 0xFFFF;
const NULL_64: u64 = u64::MAX;
/// A value in chunks whose whole length is not told.
const UNKNOWN: u64 = u64::MAX - 1;

/// Latin1_General_CI_AS, as Microsoft's images have it.
const COLLATION: [u8; 5] = [0x09, 0x04, 0xD0, 0x00, 0x34];

/// A value of a parameter or of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bit(bool),
    /// Of any width.
    Int(i64),
    Text(String),
    Binary(Bytes),
    Guid(Uuid),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bit(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<Bytes> for Value {
    fn from(value: Bytes) -> Self {
        Self::Binary(value)
    }
}

impl Value {
    /// `TYPE_INFO` and the value behind it, as parameters of an RPC have them.
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let kind = reader.u8()?;
        Ok(match kind {
            NULL => Self::Null,
            BIT => Self::Bit(reader.u8()? != 0),
            INT1 => int(&reader.take(1)?)?,
            INT2 => int(&reader.take(2)?)?,
            INT4 => int(&reader.take(4)?)?,
            INT8 => int(&reader.take(8)?)?,
            GUID | INT_N | BIT_N => {
                reader.u8()?;
                let length = reader.u8()?.into();
                let bytes = reader.take(length)?;
                match (kind, length) {
                    (_, 0) => Self::Null,
                    (GUID, _) => guid(&bytes)?,
                    (BIT_N, 1) => Self::Bit(bytes[0] != 0),
                    (INT_N, _) => int(&bytes)?,
                    _ => return Err(Malformed::new(format!("a bit of {length} bytes"))),
                }
            }
            VARBINARY | BINARY => {
                let max = reader.u16()?;
                variable(reader, max)?.map_or(Self::Null, Self::Binary)
            }
            NVARCHAR | NCHAR => {
                let max = reader.u16()?;
                reader.take(COLLATION.len())?;
                match variable(reader, max)? {
                    Some(bytes) => Self::Text(utf16(&bytes)?),
                    None => Self::Null,
                }
            }
            other => {
                return Err(Malformed::new(format!("a value of type {other:#04x}, which is not supported")));
            }
        })
    }

    /// The opposite of [`decode`](Self::decode).
    #[cfg(test)]
    pub(super) fn encode(&self, out: &mut BytesMut) {
        let ty = match self {
            Self::Null => return out.put_u8(NULL),
            Self::Bit(_) => Type::Bit,
            Self::Int(_) => Type::BigInt,
            Self::Text(_) => Type::NVarChar(4000),
            Self::Binary(_) => Type::VarBinaryMax,
            Self::Guid(_) => Type::Guid,
        };
        ty.write(out);
        ty.write_value(self, out);
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Bit,
    SmallInt,
    Int,
    BigInt,
    /// At most so many UTF-16 code units.
    NVarChar(u16),
    VarBinaryMax,
    #[cfg(test)]
    Guid,
}

impl Type {
    /// `TYPE_INFO`.
    pub(super) fn write(self, out: &mut BytesMut) {
        match self {
            Self::Bit => out.put_slice(&[BIT_N, 1]),
            Self::SmallInt => out.put_slice(&[INT_N, 2]),
            Self::Int => out.put_slice(&[INT_N, 4]),
            Self::BigInt => out.put_slice(&[INT_N, 8]),
            #[cfg(test)]
            Self::Guid => out.put_slice(&[GUID, 16]),
            Self::NVarChar(units) => {
                out.put_u8(NVARCHAR);
                out.put_u16_le(units * 2);
                out.put_slice(&COLLATION);
            }
            Self::VarBinaryMax => {
                out.put_u8(VARBINARY);
                out.put_u16_le(MAX);
            }
        }
    }

    /// `TYPE_VARBYTE`, NULL where the value is of another type: rows are written by this crate alone.
    pub(super) fn write_value(self, value: &Value, out: &mut BytesMut) {
        match (self, value) {
            (Self::Bit, Value::Bit(bit)) => out.put_slice(&[1, u8::from(*bit)]),
            (Self::SmallInt, Value::Int(int)) => {
                out.put_u8(2);
                out.put_i16_le(*int as i16);
            }
            (Self::Int, Value::Int(int)) => {
                out.put_u8(4);
                out.put_i32_le(*int as i32);
            }
            (Self::BigInt, Value::Int(int)) => {
                out.put_u8(8);
                out.put_i64_le(*int);
            }
            #[cfg(test)]
            (Self::Guid, Value::Guid(guid)) => {
                out.put_u8(16);
                out.put_slice(&guid.to_bytes_le());
            }
            (Self::NVarChar(units), Value::Text(text)) => {
                let units: Vec<u16> = text.encode_utf16().take(units.into()).collect();
                out.put_u16_le(units.len() as u16 * 2);
                units.into_iter().for_each(|unit| out.put_u16_le(unit));
            }
            (Self::VarBinaryMax, Value::Binary(bytes)) => {
                out.put_u64_le(bytes.len() as u64);
                for chunk in bytes.chunks(1 << 20) {
                    out.put_u32_le(chunk.len() as u32);
                    out.put_slice(chunk);
                }
                out.put_u32_le(0);
            }
            (Self::NVarChar(_), _) => out.put_u16_le(NULL_16),
            (Self::VarBinaryMax, _) => out.put_u64_le(NULL_64),
            _ => out.put_u8(0),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    /// Empty where the statement gives it none.
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
}

fn int(bytes: &Bytes) -> Result<Value, Malformed> {
    let mut bytes = bytes.clone();
    Ok(Value::Int(match bytes.len() {
        1 => bytes.get_u8().into(), // tinyint knows no sign
        2 => bytes.get_i16_le().into(),
        4 => bytes.get_i32_le().into(),
        8 => bytes.get_i64_le(),
        other => return Err(Malformed::new(format!("an integer of {other} bytes"))),
    }))
}

fn guid(bytes: &[u8]) -> Result<Value, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed::new("a uniqueidentifier that is not of 16 bytes"))?;
    Ok(Value::Guid(Uuid::from_bytes_le(bytes)))
}

/// A value with its length, or in chunks where its type may have any length.
fn variable(reader: &mut Reader, max: u16) -> Result<Option<Bytes>, Malformed> {
    if max != MAX {
        let length = reader.u16()?;
        return if length == NULL_16 { Ok(None) } else { reader.take(length.into()).map(Some) };
    }
    let whole = reader.u64()?;
    if whole == NULL_64 {
        return Ok(None);
    }
    let mut value = Bytes::new();
    loop {
        let length = reader.u32()? as usize;
        if length == 0 {
            break;
        }
        let chunk = reader.take(length)?;
        value = if value.is_empty() {
            chunk
        } else {
            let mut both = BytesMut::from(value);
            both.extend_from_slice(&chunk);
            both.freeze()
        };
    }
    if whole != UNKNOWN && whole != value.len() as u64 {
        return Err(Malformed::new("a value that is not as long as it says"));
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let value = Value::decode(&mut reader)?;
        assert!(reader.is_empty());
        Ok(value)
    }

    #[test]
    fn integers_of_all_widths_are_read() {
        assert_eq!(decode(&[INT_N, 1, 1, 0xFF]), Ok(Value::Int(255)));
        assert_eq!(decode(&[INT_N, 2, 2, 0xFE, 0xFF]), Ok(Value::Int(-2)));
        assert_eq!(decode(&[INT_N, 4, 4, 1, 0, 0, 0x80]), Ok(Value::Int(i64::from(i32::MIN) + 1)));
        assert_eq!(decode(&[INT_N, 8, 0]), Ok(Value::Null));
        assert_eq!(decode(&[INT4, 7, 0, 0, 0]), Ok(Value::Int(7)));
        assert!(decode(&[INT_N, 3, 3, 1, 2, 3]).is_err());
    }

    #[test]
    fn chunks_make_one_value() {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&[VARBINARY, 0xFF, 0xFF]);
        bytes.put_u64_le(UNKNOWN);
        for chunk in [&b"ab"[..], b"c"] {
            bytes.put_u32_le(chunk.len() as u32);
            bytes.put_slice(chunk);
        }
        bytes.put_u32_le(0);
        assert_eq!(decode(&bytes), Ok(Value::Binary("abc".into())));
        // A total that is wrong.
        bytes[3..11].copy_from_slice(&9_u64.to_le_bytes());
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_length_that_lies_reserves_nothing() {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&[VARBINARY, 0xFF, 0xFF]);
        bytes.put_u64_le(UNKNOWN);
        bytes.put_u32_le(u32::MAX);
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn types_that_nobody_sends_are_named() {
        let error = decode(&[0x6F, 8, 8]).unwrap_err();
        assert!(error.to_string().contains("0x6f"), "{error}");
    }
}
