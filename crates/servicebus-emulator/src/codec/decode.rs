//! Values from bytes: [`Decoder`].

use bytes::{Buf, Bytes};
use uuid::Uuid;

use super::{Malformed, Value};

/// Values within values. Service Bus' own messages need five.
const MAX_DEPTH: usize = 32;

/// Elements without content, of all arrays of some bytes together.
const MAX_EMPTY_ELEMENTS: usize = 4096;

/// Bytes of a symbol that describes the elements of an array, each of which gets a copy.
const MAX_DESCRIPTOR: usize = 64;

const SHORT: Malformed = Malformed("it ends too early");

/// Takes values from the front of some bytes, whose memory binary values share.
#[derive(Debug, Clone)]
pub struct Decoder {
    bytes: Bytes,
    /// Elements without content that arrays may still have: they take no bytes, and an array of them could else be as long
    /// as it says.
    empty_elements: usize,
}

impl Decoder {
    /// Begins at the front of these bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, empty_elements: MAX_EMPTY_ELEMENTS }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left.
    pub fn rest(self) -> Bytes {
        self.bytes
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next value.
    ///
    /// # Errors
    ///
    /// The bytes end within it, name a type that there is not, hold text that is not UTF-8, or nest values too deeply.
    pub fn value(&mut self) -> Result<Value, Malformed> {
        self.nested(0)
    }

    /// The descriptor of the next value, which must be described; the value itself comes next.
    ///
    /// The second is [`None`] where the descriptor is a symbol that is not one of `names`.
    ///
    /// # Errors
    ///
    /// The next value is not described, or the descriptor is malformed.
    pub fn descriptor(&mut self, names: &[(&str, u64)]) -> Result<Option<u64>, Malformed> {
        if self.u8()? != 0x00 {
            return Err(Malformed("a described value is expected"));
        }
        match self.nested(1)? {
            Value::Ulong(code) => Ok(Some(code)),
            Value::Symbol(name) => {
                Ok(names.iter().find(|(known, _)| *known == name.as_str()).map(|(_, code)| *code))
            }
            _ => Err(Malformed("a descriptor is a number or a symbol")),
        }
    }

    /// Leaves the next value out, looking only at its outermost length.
    ///
    /// # Errors
    ///
    /// The bytes end within it, or it is of a type that there is not.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let mut constructor = self.u8()?;
        let mut depth = 0;
        while constructor == 0x00 {
            depth += 1;
            if depth > MAX_DEPTH {
                return Err(Malformed("values are nested too deeply"));
            }
            // The descriptor; what it describes is next.
            self.nested(depth)?;
            constructor = self.u8()?;
        }
        let length = match constructor >> 4 {
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => self.u8()?.into(),
            0xb | 0xd | 0xf => self.length()?,
            _ => return Err(Malformed("there is no such type")),
        };
        self.take(length)?;
        Ok(())
    }

    /// The entries of the next value, which must be a map, as they are encoded, and how many values they are.
    ///
    /// # Errors
    ///
    /// The next value is not a map, or is malformed.
    pub fn map_entries(&mut self) -> Result<(Bytes, u32), Malformed> {
        let (bytes, count) = match self.u8()? {
            0xc1 => {
                let mut bytes = self.short()?;
                let count = bytes.try_get_u8().map_err(|_| SHORT)?;
                (bytes, count.into())
            }
            0xd1 => {
                let mut bytes = self.long()?;
                let count = bytes.try_get_u32().map_err(|_| SHORT)?;
                (bytes, count)
            }
            _ => return Err(Malformed("a map is expected")),
        };
        let mut entries = Self::new(bytes.clone());
        for _ in 0..count {
            entries.value()?;
        }
        if !entries.is_empty() || !count.is_multiple_of(2) {
            return Err(Malformed("a map is not as long as it says"));
        }
        Ok((bytes, count))
    }

    fn nested(&mut self, depth: usize) -> Result<Value, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed("values are nested too deeply"));
        }
        match self.u8()? {
            0x00 => {
                let descriptor = self.nested(depth + 1)?;
                let value = self.nested(depth + 1)?;
                Ok(Value::Described(Box::new((descriptor, value))))
            }
            constructor => self.content(constructor, depth),
        }
    }

    fn content(&mut self, constructor: u8, depth: usize) -> Result<Value, Malformed> {
        Ok(match constructor {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x45 => Value::List(Vec::new()),
            0x50 => Value::Ubyte(self.u8()?),
            0x51 => Value::Byte(self.i8()?),
            0x52 => Value::Uint(self.u8()?.into()),
            0x53 => Value::Ulong(self.u8()?.into()),
            0x54 => Value::Int(self.i8()?.into()),
            0x55 => Value::Long(self.i8()?.into()),
            0x56 => match self.u8()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Malformed("a boolean is 0 or 1")),
            },
            0x60 => Value::Ushort(u16::from_be_bytes(self.fixed()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.fixed()?)),
            0x70 => Value::Uint(u32::from_be_bytes(self.fixed()?)),
            0x71 => Value::Int(i32::from_be_bytes(self.fixed()?)),
            0x72 => Value::Float(u32::from_be_bytes(self.fixed()?)),
            0x73 => {
                let code = u32::from_be_bytes(self.fixed()?);
                Value::Char(char::from_u32(code).ok_or(Malformed("a character is a Unicode code point"))?)
            }
            0x74 => Value::Decimal32(self.fixed()?),
            0x80 => Value::Ulong(u64::from_be_bytes(self.fixed()?)),
            0x81 => Value::Long(i64::from_be_bytes(self.fixed()?)),
            0x82 => Value::Double(u64::from_be_bytes(self.fixed()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.fixed()?)),
            0x84 => Value::Decimal64(self.fixed()?),
            0x94 => Value::Decimal128(self.fixed()?),
            0x98 => Value::Uuid(Uuid::from_bytes(self.fixed()?)),
            0xa0 => Value::Binary(self.short()?),
            0xb0 => Value::Binary(self.long()?),
            0xa1 => Value::String(text(self.short()?)?),
            0xb1 => Value::String(text(self.long()?)?),
            0xa3 => Value::Symbol(text(self.short()?)?.into()),
            0xb3 => Value::Symbol(text(self.long()?)?.into()),
            0xc0 | 0xd0 => self.compound(constructor == 0xd0, |inner, count| inner.list(count, depth))?,
            0xc1 | 0xd1 => self.compound(constructor == 0xd1, |inner, count| inner.map(count, depth))?,
            0xe0 | 0xf0 => self.compound(constructor == 0xf0, |inner, count| inner.array(count, depth))?,
            _ => return Err(Malformed("there is no such type")),
        })
    }

    /// What is inside a value that gives its length and the number of its elements, which must fill it.
    fn compound(
        &mut self,
        wide: bool,
        read: impl FnOnce(&mut Self, usize) -> Result<Value, Malformed>,
    ) -> Result<Value, Malformed> {
        let bytes = if wide { self.long()? } else { self.short()? };
        let mut inner = Self { bytes, empty_elements: self.empty_elements };
        let count = if wide { inner.length()? } else { inner.u8()?.into() };
        let value = read(&mut inner, count)?;
        if !inner.is_empty() {
            return Err(Malformed("a list, map or array is shorter than it says"));
        }
        self.empty_elements = inner.empty_elements;
        Ok(value)
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Value, Malformed> {
        if count > self.bytes.len() {
            return Err(SHORT);
        }
        (0..count).map(|_| self.nested(depth + 1)).collect::<Result<_, _>>().map(Value::List)
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, Malformed> {
        if count > self.bytes.len() {
            return Err(SHORT);
        }
        if !count.is_multiple_of(2) {
            return Err(Malformed("a map has a key without a value"));
        }
        (0..count / 2)
            .map(|_| Ok((self.nested(depth + 1)?, self.nested(depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Value::Map)
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, Malformed> {
        if depth >= MAX_DEPTH {
            return Err(Malformed("values are nested too deeply"));
        }
        let mut descriptors = Vec::new();
        let mut constructor = self.u8()?;
        while constructor == 0x00 {
            if depth + descriptors.len() >= MAX_DEPTH {
                return Err(Malformed("values are nested too deeply"));
            }
            let descriptor = self.nested(depth + 1)?;
            match &descriptor {
                Value::Ulong(_) => (),
                Value::Symbol(name) if name.as_str().len() <= MAX_DESCRIPTOR => (),
                _ => return Err(Malformed("a descriptor is a number or a short symbol")),
            }
            descriptors.push(descriptor);
            constructor = self.u8()?;
        }
        if constructor >> 4 == 0x4 {
            let left = self.empty_elements.checked_sub(count);
            self.empty_elements = left.ok_or(Malformed("an array has too many elements"))?;
        } else if count > self.bytes.len() {
            return Err(SHORT);
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            let mut element = self.content(constructor, depth + 1 + descriptors.len())?;
            for descriptor in descriptors.iter().rev() {
                element = Value::Described(Box::new((descriptor.clone(), element)));
            }
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.bytes.try_get_u8().map_err(|_| SHORT)
    }

    fn i8(&mut self) -> Result<i8, Malformed> {
        self.bytes.try_get_i8().map_err(|_| SHORT)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut bytes = [0; N];
        self.bytes.try_copy_to_slice(&mut bytes).map_err(|_| SHORT)?;
        Ok(bytes)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_be_bytes(self.fixed()?)).map_err(|_| SHORT)
    }

    fn short(&mut self) -> Result<Bytes, Malformed> {
        let length = self.u8()?.into();
        self.take(length)
    }

    fn long(&mut self) -> Result<Bytes, Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.bytes.len() {
            return Err(SHORT);
        }
        Ok(self.bytes.split_to(length))
    }
}

fn text(bytes: Bytes) -> Result<String, Malformed> {
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Malformed("a text is not UTF-8")),
    }
}
