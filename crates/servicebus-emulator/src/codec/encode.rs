//! Values to bytes: [`Encoder`].

use bytes::{BufMut, BytesMut};

use super::Value;

/// Appends values, each in its shortest form.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut BytesMut,
    /// Values written at this level.
    count: u32,
}

impl<'a> Encoder<'a> {
    /// Appends to these bytes.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out, count: 0 }
    }

    /// Null.
    pub fn null(&mut self) {
        self.fixed(0x40, &[]);
    }

    /// A `boolean`.
    pub fn bool(&mut self, value: bool) {
        self.fixed(if value { 0x41 } else { 0x42 }, &[]);
    }

    /// A `uint`.
    pub fn uint(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.fixed(0x43, &[]),
            Ok(byte) => self.fixed(0x52, &[byte]),
            Err(_) => self.fixed(0x70, &value.to_be_bytes()),
        }
    }

    /// A `ulong`.
    pub fn ulong(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.fixed(0x44, &[]),
            Ok(byte) => self.fixed(0x53, &[byte]),
            Err(_) => self.fixed(0x80, &value.to_be_bytes()),
        }
    }

    /// An `int`.
    pub fn int(&mut self, value: i32) {
        match i8::try_from(value) {
            Ok(byte) => self.fixed(0x54, &byte.to_be_bytes()),
            Err(_) => self.fixed(0x71, &value.to_be_bytes()),
        }
    }

    /// A `long`.
    pub fn long(&mut self, value: i64) {
        match i8::try_from(value) {
            Ok(byte) => self.fixed(0x55, &byte.to_be_bytes()),
            Err(_) => self.fixed(0x81, &value.to_be_bytes()),
        }
    }

    /// A `timestamp`, in milliseconds since 1970.
    pub fn timestamp(&mut self, value: i64) {
        self.fixed(0x83, &value.to_be_bytes());
    }

    /// A `uuid`.
    pub fn uuid(&mut self, bytes: &[u8; 16]) {
        self.fixed(0x98, bytes);
    }

    /// A `binary`.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.variable(0xa0, bytes);
    }

    /// A `string`.
    pub fn string(&mut self, text: &str) {
        self.variable(0xa1, text.as_bytes());
    }

    /// A `symbol`.
    pub fn symbol(&mut self, text: &str) {
        self.variable(0xa3, text.as_bytes());
    }

    /// A descriptor; what it describes is to be written next.
    pub fn descriptor(&mut self, code: u64) {
        self.out.put_u8(0x00);
        self.ulong(code);
        self.count -= 1;
    }

    /// A `list` of what `write` writes.
    pub fn list(&mut self, write: impl FnOnce(&mut Encoder<'_>)) {
        self.compound(0xc0, write);
    }

    /// A `map` of what `write` writes: keys and values in turn.
    pub fn map(&mut self, write: impl FnOnce(&mut Encoder<'_>)) {
        self.compound(0xc1, write);
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Ubyte(value) => self.fixed(0x50, &[*value]),
            Value::Byte(value) => self.fixed(0x51, &value.to_be_bytes()),
            Value::Uint(value) => self.uint(*value),
            Value::Ulong(value) => self.ulong(*value),
            Value::Int(value) => self.int(*value),
            Value::Long(value) => self.long(*value),
            Value::Binary(bytes) => self.binary(bytes),
            Value::String(text) => self.string(text),
            Value::Symbol(symbol) => self.symbol(symbol.as_str()),
            Value::List(elements) => self.list(|list| list.values(elements)),
            Value::Map(entries) => self.map(|map| map.entries(entries)),
            Value::Array(elements) => match common_constructor(elements) {
                Some(constructor) => {
                    self.out.put_u8(0xf0);
                    put_array(self.out, &constructor, elements);
                    self.count += 1;
                }
                None => self.list(|list| list.values(elements)),
            },
            Value::Described(described) => {
                let (descriptor, value) = &**described;
                self.out.put_u8(0x00);
                self.value(descriptor);
                self.value(value);
                self.count -= 1;
            }
            Value::Ushort(_)
            | Value::Short(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Decimal32(_)
            | Value::Decimal64(_)
            | Value::Decimal128(_)
            | Value::Char(_)
            | Value::Timestamp(_)
            | Value::Uuid(_) => {
                self.out.put_u8(wide_constructor(value));
                put_wide(self.out, value);
                self.count += 1;
            }
        }
    }

    /// An `array` of symbols.
    pub fn symbols(&mut self, symbols: &[&'static str]) {
        let symbols: Vec<_> = symbols.iter().map(|symbol| Value::symbol(*symbol)).collect();
        self.value(&Value::Array(symbols));
    }

    fn values(&mut self, values: &[Value]) {
        values.iter().for_each(|value| self.value(value));
    }

    /// The entries of a map, within it.
    pub fn entries(&mut self, entries: &[(Value, Value)]) {
        for (key, value) in entries {
            self.value(key);
            self.value(value);
        }
    }

    /// Values that are encoded already, so many of them.
    pub fn encoded(&mut self, values: &[u8], count: u32) {
        self.out.put_slice(values);
        self.count += count;
    }

    fn fixed(&mut self, constructor: u8, content: &[u8]) {
        self.out.put_u8(constructor);
        self.out.put_slice(content);
        self.count += 1;
    }

    fn variable(&mut self, constructor: u8, content: &[u8]) {
        match u8::try_from(content.len()) {
            Ok(length) => self.out.put_slice(&[constructor, length]),
            Err(_) => {
                self.out.put_u8(constructor + 0x10);
                self.out.put_u32(length(content.len()));
            }
        }
        self.out.put_slice(content);
        self.count += 1;
    }

    fn compound(&mut self, constructor: u8, write: impl FnOnce(&mut Encoder<'_>)) {
        self.count += 1;
        let start = self.out.len();
        // Short, until it turns out to be long: most are.
        self.out.put_slice(&[constructor, 0, 0]);
        let mut inner = Encoder { out: self.out, count: 0 };
        write(&mut inner);
        let count = inner.count;
        let content = self.out.len() - start - 3;
        if content == 0 && constructor == 0xc0 {
            self.out.truncate(start);
            self.out.put_u8(0x45);
            return;
        }
        if let (Ok(size), Ok(count)) = (u8::try_from(content + 1), u8::try_from(count)) {
            self.out[start + 1] = size;
            self.out[start + 2] = count;
            return;
        }
        self.out.put_bytes(0, 6);
        self.out.copy_within(start + 3..start + 3 + content, start + 9);
        self.out[start] = constructor + 0x10;
        self.out[start + 1..start + 5].copy_from_slice(&length(content + 4).to_be_bytes());
        self.out[start + 5..start + 9].copy_from_slice(&count.to_be_bytes());
    }
}

/// The type that all elements of an array share.
struct Constructor<'a> {
    descriptors: Vec<&'a Value>,
    code: u8,
}

/// Nothing where elements differ.
fn common_constructor(elements: &[Value]) -> Option<Constructor<'_>> {
    // Without elements any type is as good; that of most arrays here is `symbol`.
    let Some(first) = elements.first() else {
        return Some(Constructor { descriptors: Vec::new(), code: 0xb3 });
    };
    let constructor = constructor_of(first)?;
    let same = |other: Constructor<'_>| {
        other.code == constructor.code && other.descriptors == constructor.descriptors
    };
    elements.iter().all(|element| constructor_of(element).is_some_and(same)).then_some(constructor)
}

fn constructor_of(mut element: &Value) -> Option<Constructor<'_>> {
    let mut descriptors = Vec::new();
    while let Value::Described(described) = element {
        if !matches!(described.0, Value::Ulong(_) | Value::Symbol(_)) {
            return None;
        }
        descriptors.push(&described.0);
        element = &described.1;
    }
    if let Value::Array(inner) = element {
        // An array whose elements differ is written as a list, which its neighbours may not be.
        common_constructor(inner)?;
    }
    Some(Constructor { descriptors, code: wide_constructor(element) })
}

fn put_array(out: &mut BytesMut, constructor: &Constructor<'_>, elements: &[Value]) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(length(elements.len()));
    for descriptor in &constructor.descriptors {
        out.put_u8(0x00);
        Encoder::new(out).value(descriptor);
    }
    out.put_u8(constructor.code);
    for element in elements {
        let mut element = element;
        while let Value::Described(described) = element {
            element = &described.1;
        }
        put_wide(out, element);
    }
    patch_length(out, start);
}

/// The type whose content [`put_wide`] writes: the one that fits every value of the type.
fn wide_constructor(value: &Value) -> u8 {
    match value {
        Value::Null => 0x40,
        Value::Bool(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xb0,
        Value::String(_) => 0xb1,
        Value::Symbol(_) => 0xb3,
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
        Value::Described(_) => 0x00,
    }
}

fn put_wide(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => (),
        Value::Bool(value) => out.put_u8((*value).into()),
        Value::Ubyte(value) => out.put_u8(*value),
        Value::Ushort(value) => out.put_u16(*value),
        Value::Uint(value) | Value::Float(value) => out.put_u32(*value),
        Value::Ulong(value) | Value::Double(value) => out.put_u64(*value),
        Value::Byte(value) => out.put_i8(*value),
        Value::Short(value) => out.put_i16(*value),
        Value::Int(value) => out.put_i32(*value),
        Value::Long(value) | Value::Timestamp(value) => out.put_i64(*value),
        Value::Decimal32(bits) => out.put_slice(bits),
        Value::Decimal64(bits) => out.put_slice(bits),
        Value::Decimal128(bits) => out.put_slice(bits),
        Value::Char(value) => out.put_u32((*value).into()),
        Value::Uuid(value) => out.put_slice(value.as_bytes()),
        Value::Binary(bytes) => put_variable(out, bytes),
        Value::String(text) => put_variable(out, text.as_bytes()),
        Value::Symbol(symbol) => put_variable(out, symbol.as_str().as_bytes()),
        Value::List(elements) => put_compound(out, elements.len(), |out| {
            Encoder::new(out).values(elements);
        }),
        Value::Map(entries) => put_compound(out, entries.len() * 2, |out| {
            Encoder::new(out).entries(entries);
        }),
        Value::Array(elements) => {
            let constructor = common_constructor(elements).expect("asked before");
            put_array(out, &constructor, elements);
        }
        Value::Described(_) => unreachable!("descriptors are written by the callers"),
    }
}

fn put_variable(out: &mut BytesMut, content: &[u8]) {
    out.put_u32(length(content.len()));
    out.put_slice(content);
}

fn put_compound(out: &mut BytesMut, count: usize, write: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(length(count));
    write(out);
    patch_length(out, start);
}

/// Writes at `start` how many bytes follow the length there.
fn patch_length(out: &mut BytesMut, start: usize) {
    let size = length(out.len() - start - 4).to_be_bytes();
    out[start..start + 4].copy_from_slice(&size);
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("messages are much shorter than 4 GiB")
}
