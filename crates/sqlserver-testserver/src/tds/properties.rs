//! Whatever arrives gives a value or an error.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

use super::{
    Assembler, Batch, Login, Message, PacketType, Parameter, PreLogin, Rpc, Target, Value, write_packets,
};

/// `ALL_HEADERS` as clients write it: of a transaction that there is not.
const HEADERS: [u8; 22] = [22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bit),
        any::<i64>().prop_map(Value::Int),
        ".{0,40}".prop_map(Value::Text),
        vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Binary(bytes.into())),
        any::<[u8; 16]>().prop_map(|bytes| Value::Guid(Uuid::from_bytes(bytes))),
    ]
}

fn rpc() -> impl Strategy<Value = Rpc> {
    let parameter = ("@[a-z]{0,20}", value()).prop_map(|(name, value)| Parameter { name, value });
    let target = prop_oneof![any::<u16>().prop_map(Target::Number), ".{0,40}".prop_map(Target::Name)];
    (target, vec(parameter, 0..8)).prop_map(|(target, parameters)| Rpc { target, parameters })
}

fn encode(rpc: &Rpc) -> Bytes {
    let mut out = BytesMut::from(&HEADERS[..]);
    match &rpc.target {
        Target::Number(number) => {
            out.put_u16_le(0xFFFF);
            out.put_u16_le(*number);
        }
        Target::Name(name) => {
            out.put_u16_le(name.encode_utf16().count() as u16);
            name.encode_utf16().for_each(|unit| out.put_u16_le(unit));
        }
    }
    out.put_u16_le(0);
    for parameter in &rpc.parameters {
        out.put_u8(parameter.name.encode_utf16().count() as u8);
        parameter.name.encode_utf16().for_each(|unit| out.put_u16_le(unit));
        out.put_u8(0);
        parameter.value.encode(&mut out);
    }
    out.freeze()
}

/// Everything that a client can send, decoded; only that it returns matters.
fn decode_all(bytes: &Bytes) {
    let _ = PreLogin::decode(bytes);
    let _ = Login::decode(bytes);
    let _ = Batch::decode(bytes.clone());
    let _ = Rpc::decode(bytes.clone());
    let mut assembler = Assembler::default();
    assembler.arrived.extend_from_slice(bytes);
    while let Ok(Some(message)) = assembler.next() {
        let _ = Rpc::decode(message.body);
    }
}

proptest! {
    #[test]
    fn calls_survive_the_wire(rpc in rpc(), packet_size in 9_usize..600) {
        let body = encode(&rpc);
        let packets = write_packets(PacketType::Rpc, &body, packet_size);
        let mut assembler = Assembler::default();
        assembler.arrived.extend_from_slice(&packets);
        prop_assert_eq!(assembler.next(), Ok(Some(Message { kind: PacketType::Rpc, body: body.clone() })));
        prop_assert_eq!(Rpc::decode(body), Ok(rpc));
    }

    #[test]
    fn batches_survive_the_wire(text in ".{0,200}") {
        let mut body = BytesMut::from(&HEADERS[..]);
        text.encode_utf16().for_each(|unit| body.put_u16_le(unit));
        prop_assert_eq!(Batch::decode(body.freeze()), Ok(Batch(text)));
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        decode_all(&bytes.into());
    }

    #[test]
    fn a_call_that_was_damaged_gives_a_value_or_an_error(
        rpc in rpc(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&rpc).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len() + 1));
        decode_all(&bytes.into());
    }

    #[test]
    fn a_login_that_was_damaged_gives_a_value_or_an_error(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = super::golden::bytes(super::golden::LOGIN);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_all(&bytes.into());
    }
}
