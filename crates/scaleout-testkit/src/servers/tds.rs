//! As much of SQL Server's protocol as it takes to find a frame in it (MS-TDS, 2.2.3 "Packet data streams").

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A whole message of so many bytes, with the headers of its packets.
    Message(usize),
    /// More have to come.
    Incomplete,
    /// No message, or one that is encrypted.
    Foreign,
}

/// Whether `first`, the first byte of all, is that of a client that greets SQL Server.
pub(super) fn begins_with(first: u8) -> bool {
    first == PRELOGIN
}

/// Looks for the message that `bytes` begin with.
pub(super) fn message(bytes: &[u8]) -> Parsed {
    let mut length = 0;
    loop {
        let Some(&[kind, status, high, low]) = bytes[length..].first_chunk() else {
            // A client that goes on in TLS shows by its first byte.
            return match bytes[length..].first() {
                Some(kind) if !KINDS.contains(kind) => Parsed::Foreign,
                _ => Parsed::Incomplete,
            };
        };
        let packet = usize::from(u16::from_be_bytes([high, low]));
        if !KINDS.contains(&kind) || packet < HEADER_BYTES {
            return Parsed::Foreign;
        }
        length += packet;
        if length > bytes.len() {
            return Parsed::Incomplete;
        }
        if status & END_OF_MESSAGE != 0 {
            return Parsed::Message(length);
        }
    }
}

/// Whether a message has the server execute something.
pub(super) fn is_statement(message: &[u8]) -> bool {
    message.first().is_some_and(|kind| STATEMENTS.contains(kind))
}

/// Whether a message calls the procedure that appends to stream 0.
pub(super) fn appends_to_stream_0(message: &[u8]) -> bool {
    let name: Vec<u8> = "[publish_0]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // The name comes first, far within the first packet.
    message.first() == Some(&RPC)
        && message.windows(name.len()).take(MAX_NAME_AT).any(|window| window == name)
}

const HEADER_BYTES: usize = 8;
const END_OF_MESSAGE: u8 = 1;
const RPC: u8 = 0x03;
const PRELOGIN: u8 = 0x12;
/// Batch, RPC, bulk load, transaction manager.
const STATEMENTS: [u8; 4] = [0x01, RPC, 0x07, 0x0e];
/// Those, Attention, token of federated authentication, login, SSPI, prelogin.
const KINDS: [u8; 9] = [0x01, RPC, 0x06, 0x07, 0x08, 0x0e, 0x10, 0x11, PRELOGIN];
const MAX_NAME_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, is_last: bool, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER_BYTES + body.len()).expect("a small one").to_be_bytes();
        [&[kind, u8::from(is_last), length[0], length[1], 0, 0, 1, 0], body].concat()
    }

    #[test]
    fn a_message_ends_with_its_last_packet() {
        let message = [packet(RPC, false, b"abc"), packet(RPC, true, b"de")].concat();
        for missing in 1..message.len() {
            assert_eq!(super::message(&message[..message.len() - missing]), Parsed::Incomplete);
        }
        let more = [message.clone(), packet(0x01, true, b"")].concat();
        assert_eq!(super::message(&more), Parsed::Message(message.len()));
    }

    #[test]
    fn what_is_encrypted_is_foreign() {
        assert_eq!(super::message(&[0x17, 3, 3, 0, 40]), Parsed::Foreign);
        assert_eq!(super::message(&[0x17]), Parsed::Foreign);
        assert_eq!(super::message(&[RPC, 1, 0, 7]), Parsed::Foreign);
    }

    #[test]
    fn greetings_and_logins_are_no_statements() {
        let statements = KINDS.into_iter().filter(|&kind| is_statement(&packet(kind, true, b"")));
        assert_eq!(statements.collect::<Vec<_>>(), STATEMENTS);
    }

    #[test]
    fn an_append_is_found_by_the_name_of_its_procedure() {
        let call = |name: &str| {
            let body: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            packet(RPC, true, &[&[21, 0], body.as_slice(), &[0; 40]].concat())
        };
        assert!(appends_to_stream_0(&call("[scaleout].[publish_0]")));
        assert!(!appends_to_stream_0(&call("[scaleout].[publish_1]")));
        assert!(!appends_to_stream_0(&call("[scaleout].[read]")));
    }
}
