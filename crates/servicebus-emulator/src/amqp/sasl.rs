//! The SASL layer (part 5.3 of the standard): who the peer says it is.
//!
//! Service Bus lets everybody in who says `MSSBCBS`, `ANONYMOUS` or `EXTERNAL`: what counts are the tokens that are put to
//! `$cbs` later. `PLAIN` gives the name and the text of a shared access key, which holds for the whole connection.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::{
    codec::{Decoder, Malformed, Value},
    message::Fields,
    namespace::Namespace,
    sas::{Claim, shared_access_token},
};

use super::frame::{SASL, write_performative};

const MECHANISMS: u64 = 0x40;
const INIT: u64 = 0x41;
const OUTCOME: u64 = 0x44;

const NAMES: &[(&str, u64)] = &[("amqp:sasl-init:list", INIT)];

/// How long a key that was given as a password holds.
const PLAIN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What came of a peer's first words.
#[derive(Debug)]
pub(super) enum Login {
    /// It is in, perhaps with a claim already.
    In(Option<Claim>),
    Refused,
}

/// Offers the mechanisms that there are.
pub(super) fn write_mechanisms(out: &mut BytesMut) {
    write_performative(out, SASL, 0, MECHANISMS, |fields| {
        fields.symbols(&["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"]);
    });
}

/// Says whether the peer is in.
pub(super) fn write_outcome(out: &mut BytesMut, login: &Login) {
    let code = match login {
        Login::In(_) => 0,
        Login::Refused => 1,
    };
    write_performative(out, SASL, 0, OUTCOME, |fields| fields.value(&Value::Ubyte(code)));
}

/// Reads which mechanism the peer has chosen, and what it says.
pub(super) fn login(body: Bytes, namespace: &Namespace) -> Result<Login, Malformed> {
    let mut decoder = Decoder::new(body);
    if decoder.descriptor(NAMES)? != Some(INIT) {
        return Err(Malformed("sasl-init is expected"));
    }
    let Value::List(fields) = decoder.value()? else { return Err(Malformed("sasl-init is a list")) };
    let mut fields = Fields::new(fields);
    let mechanism = fields.text()?.unwrap_or_default();
    let response = fields.binary()?.unwrap_or_default();
    Ok(match mechanism.as_str() {
        "MSSBCBS" | "ANONYMOUS" | "EXTERNAL" => Login::In(None),
        "PLAIN" => plain(&response, namespace),
        _ => Login::Refused,
    })
}

/// `authorization identity NUL name NUL password`, the last two of them being a policy and its key.
fn plain(response: &[u8], namespace: &Namespace) -> Login {
    let mut parts = response.split(|byte| *byte == 0).skip(1).map(str::from_utf8);
    let (Some(Ok(policy)), Some(Ok(key))) = (parts.next(), parts.next()) else { return Login::Refused };
    let token = shared_access_token("sb://localhost/", policy, key, SystemTime::now() + PLAIN_LIFETIME);
    match namespace.authorize(&token, "") {
        Ok(claim) => Login::In(Some(claim)),
        Err(_) => Login::Refused,
    }
}
