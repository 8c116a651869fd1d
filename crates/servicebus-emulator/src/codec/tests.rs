use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn encode(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    Encoder::new(&mut out).value(value);
    out.freeze()
}

fn decode(bytes: impl Into<Bytes>) -> Result<Value, Malformed> {
    let mut decoder = Decoder::new(bytes.into());
    let value = decoder.value()?;
    assert!(decoder.is_empty(), "something is left");
    Ok(value)
}

#[test]
fn values_have_their_shortest_form() {
    for (value, bytes) in [
        (Value::Null, vec![0x40]),
        (Value::Bool(true), vec![0x41]),
        (Value::Uint(0), vec![0x43]),
        (Value::Uint(255), vec![0x52, 0xff]),
        (Value::Uint(256), vec![0x70, 0, 0, 1, 0]),
        (Value::Ulong(0x70), vec![0x53, 0x70]),
        (Value::Int(-1), vec![0x54, 0xff]),
        (Value::Long(1 << 40), vec![0x81, 0, 0, 1, 0, 0, 0, 0, 0]),
        (Value::Timestamp(1), vec![0x83, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("hi".into(), vec![0xa1, 2, b'h', b'i']),
        (Value::symbol("hi"), vec![0xa3, 2, b'h', b'i']),
        (Value::List(vec![]), vec![0x45]),
        (Value::List(vec![Value::Null, Value::Uint(1)]), vec![0xc0, 4, 2, 0x40, 0x52, 1]),
        (Value::Map(vec![("k".into(), Value::Null)]), vec![0xc1, 5, 2, 0xa1, 1, b'k', 0x40]),
        (Value::described(0x24, Value::List(vec![])), vec![0x00, 0x53, 0x24, 0x45]),
        (
            Value::Array(vec![Value::symbol("a"), Value::symbol("b")]),
            vec![0xf0, 0, 0, 0, 15, 0, 0, 0, 2, 0xb3, 0, 0, 0, 1, b'a', 0, 0, 0, 1, b'b'],
        ),
    ] {
        assert_eq!(encode(&value).as_ref(), bytes, "{value:?}");
        assert_eq!(decode(bytes), Ok(value));
    }
}

#[test]
fn other_forms_are_read_as_well() {
    for (bytes, value) in [
        (vec![0x56, 1], Value::Bool(true)),
        (vec![0x80, 0, 0, 0, 0, 0, 0, 0, 1], Value::Ulong(1)),
        (vec![0xb1, 0, 0, 0, 1, b'x'], "x".into()),
        (vec![0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x43], Value::List(vec![Value::Uint(0)])),
        (vec![0xe0, 4, 2, 0x50, 1, 2], Value::Array(vec![Value::Ubyte(1), Value::Ubyte(2)])),
        (
            vec![0xe0, 6, 1, 0x00, 0x53, 0x24, 0x50, 7],
            Value::Array(vec![Value::described(0x24, Value::Ubyte(7))]),
        ),
    ] {
        assert_eq!(decode(bytes.clone()), Ok(value.clone()), "{bytes:x?}");
        assert_eq!(decode(encode(&value)), Ok(value));
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    for bytes in [
        vec![],
        vec![0x70, 0, 0],
        vec![0xa1, 5, b'x'],
        vec![0xb0, 0xff, 0xff, 0xff, 0xff],
        vec![0xc0, 2, 5, 0x40],
        vec![0xc0, 3, 1, 0x40, 0x40],
        vec![0xc1, 2, 1, 0x40],
        vec![0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
        // Four thousand million nulls, which take no bytes.
        vec![0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40],
        vec![0xa1, 1, 0xff],
        vec![0x73, 0, 0, 0xd8, 0],
        vec![0x56, 2],
        vec![0x10],
    ] {
        assert!(decode(bytes.clone()).is_err(), "{bytes:x?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut value = Value::Null;
        for _ in 0..depth {
            value = Value::List(vec![value]);
        }
        value
    };
    assert!(decode(encode(&nested(30))).is_ok());
    assert!(decode(encode(&nested(40))).is_err());
    assert!(decode(vec![0x00; 100_000]).is_err());
    assert!(Decoder::new(vec![0x00; 100_000].into()).skip().is_err());
}

#[test]
fn arrays_of_different_things_are_written_as_lists() {
    let mixed = vec![Value::Uint(1), "x".into()];
    assert_eq!(decode(encode(&Value::Array(mixed.clone()))), Ok(Value::List(mixed)));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u8>().prop_map(Value::Ubyte),
        any::<u16>().prop_map(Value::Ushort),
        any::<u32>().prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Ulong),
        any::<i8>().prop_map(Value::Byte),
        any::<i16>().prop_map(Value::Short),
        any::<i32>().prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        any::<u32>().prop_map(Value::Float),
        any::<u64>().prop_map(Value::Double),
        any::<[u8; 16]>().prop_map(Value::Decimal128),
        any::<char>().prop_map(Value::Char),
        any::<i64>().prop_map(Value::Timestamp),
        any::<u128>().prop_map(|bits| Value::Uuid(Uuid::from_u128(bits))),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Binary(bytes.into())),
        ".{0,40}".prop_map(Value::String),
        "[a-z:]{0,300}".prop_map(Value::symbol),
    ];
    leaf.prop_recursive(4, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::List),
            prop::collection::vec((inner.clone(), inner.clone()), 0..6).prop_map(Value::Map),
            (any::<u64>(), inner.clone()).prop_map(|(code, value)| Value::described(code, value)),
            (inner, 0..5usize).prop_map(|(value, count)| Value::Array(vec![value; count])),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_read_as_they_were_written(value in any_value()) {
        let bytes = encode(&value);
        let mut skipped = Decoder::new(bytes.clone());
        skipped.skip().unwrap();
        prop_assert!(skipped.is_empty());
        prop_assert_eq!(decode(bytes).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::new(bytes.into());
        if let Ok(value) = decoder.value() {
            prop_assert_eq!(decode(encode(&value)).unwrap(), value);
        }
    }
}
