//! Bytes as tiberius 0.13.0 sends them, taken from the wire.

use bytes::Bytes;

use super::{Encryption, Login, Parameter, PreLogin, Rpc, Target, Value};

/// Without encryption.
const PRELOGIN: &str = "\
    00001a0006 0100200001 0200210001 0300220004 0400260001 ff 00000d000000 02 00 00000000 00";

/// Of the user `sa` on the machine `vm`, to the database `test`.
pub(super) const LOGIN: &str = "\
    a6000000 04000074 00100000 00000000 00000000 00000000 60030008 00000000 00000000 5e000200 62000200 66000b00 \
    7c000800 8c000900 9e000000 9e000000 9e000000 9e000400 00000000 2a00a600 0000a600 0000a600 00000000 0000 \
    76006d00 73006100 90a593a5b3a563a5f3a577a551a5f2a5e2a577a5b6a5 74006900620065007200690075007300 \
    3100320037002e0030002e0030002e003100 7400650073007400";

/// Of `[scaleout].[publish_0]`, with a payload of one byte.
const PUBLISH: &str = "\
    16000000 12000000 0200 0000000000000000 01000000 1600 \
    5b007300630061006c0065006f00750074005d002e005b007000750062006c006900730068005f0030005d00 0000 \
    06 4000650070006f0063006800 00 260808 41016648ce600600 \
    05 40006e006f0064006500 00 a5401f 1000 01010101010101010101010101010101 \
    07 40006e0075006d00620065007200 00 260808 0500000000000000 \
    06 4000610066007400650072 0000 260808 0400000000000000 \
    08 40007000610079006c006f0061006400 00 a5401f 0100 01";

/// Of `[scaleout].[arm]`, with a map of streams.
const ARM: &str = "\
    16000000 12000000 0200 0000000000000000 01000000 1000 \
    5b007300630061006c0065006f00750074005d002e005b00610072006d005d00 0000 \
    09 40006c0069007300740065006e0065007200 00 2410 10 4b76d6a595967a4681c239d689e67bff \
    08 4000730074007200650061006d007300 00 a5401f 0100 02";

/// Bytes of hexadecimal digits.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn parameter(name: &str, value: impl Into<Value>) -> Parameter {
    Parameter { name: name.into(), value: value.into() }
}

#[test]
fn a_prelogin_is_understood() {
    let prelogin = PreLogin::decode(&bytes(PRELOGIN).into());
    assert_eq!(prelogin, Ok(PreLogin { encryption: Encryption::NotSupported, fed_auth: false }));
}

#[test]
fn a_login_is_understood() {
    let expected = Login {
        packet_size: 4096,
        host: "vm".into(),
        user: "sa".into(),
        password: "Scale-Out-1".into(),
        application: "tiberius".into(),
        database: "test".into(),
        token: None,
    };
    assert_eq!(Login::decode(&bytes(LOGIN).into()), Ok(expected));
    assert!(!format!("{:?}", Login::decode(&bytes(LOGIN).into())).contains("Scale"));
}

#[test]
fn a_publish_is_understood() {
    let expected = Rpc {
        target: Target::Name("[scaleout].[publish_0]".into()),
        parameters: vec![
            parameter("@epoch", 0x0006_60ce_4866_0141),
            parameter("@node", Bytes::from_static(&[1; 16])),
            parameter("@number", 5),
            parameter("@after", 4),
            parameter("@payload", Bytes::from_static(&[1])),
        ],
    };
    assert_eq!(Rpc::decode(bytes(PUBLISH).into()), Ok(expected));
}

#[test]
fn a_listener_is_understood() {
    let listener = uuid::Uuid::parse_str("a5d6764b-9695-467a-81c2-39d689e67bff").unwrap();
    let expected = Rpc {
        target: Target::Name("[scaleout].[arm]".into()),
        parameters: vec![
            parameter("@listener", Value::Guid(listener)),
            parameter("@streams", Bytes::from_static(&[2])),
        ],
    };
    assert_eq!(Rpc::decode(bytes(ARM).into()), Ok(expected));
}
