//! LOGIN7 (2.2.6.4): who comes in, and to which database.

use std::fmt;

use bytes::{Buf, Bytes};

use super::{
    Malformed,
    reader::{Reader, utf16},
};

/// Bytes before the table of offsets: six numbers of four bytes, four of flags, time zone and language.
const FIXED: usize = 36;

const FED_AUTH: u8 = 0x02;
const TERMINATOR: u8 = 0xFF;

/// Flag of `OptionFlags3`: there is a list of features.
const EXTENSION: u8 = 0x10;

/// What of a LOGIN7 matters here.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Login {
    pub(crate) packet_size: u32,
    pub(crate) host: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) application: String,
    pub(crate) database: String,
    /// Of an access token.
    pub(crate) token: Option<String>,
}

impl Login {
    pub(crate) fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut fixed = Reader::new(body.clone());
        let length = fixed.u32()?;
        if length as usize != body.len() {
            return Err(Malformed::new("a LOGIN7 that is not as long as it says"));
        }
        fixed.take(4)?; // TDS version: it is answered with ours, which clients may refuse
        let packet_size = fixed.u32()?;
        fixed.take(15)?; // client's version, process, connection; OptionFlags1, OptionFlags2, TypeFlags
        let flags3 = fixed.u8()?;
        fixed.take(8)?; // time zone and language

        let text = |index: usize| {
            let (offset, units) = at(body, index)?;
            utf16(&slice(body, offset, units * 2)?)
        };
        let mut login = Self {
            packet_size,
            host: text(0)?,
            user: text(1)?,
            password: password(body)?,
            application: text(3)?,
            database: text(8)?,
            token: None,
        };
        if flags3 & EXTENSION != 0 {
            let (offset, length) = at(body, 5)?;
            let offset = slice(body, offset, length)?.try_get_u32_le();
            let offset = offset.map_err(|_| Malformed::new("a list of features without an offset"))?;
            let mut features = Reader::new(slice(body, offset as usize, body.len())?);
            login.token = token(&mut features)?;
        }
        Ok(login)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("packet_size", &self.packet_size)
            .field("host", &self.host)
            .field("user", &self.user)
            .field("application", &self.application)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// The pair of a field, counted from 0, from the table of offsets: an offset in bytes and a length.
fn at(body: &Bytes, index: usize) -> Result<(usize, usize), Malformed> {
    // Before the database stand eight fields of four bytes; nothing that is read here comes behind it.
    let mut pair = Reader::new(slice(body, FIXED + index * 4, 4)?);
    Ok((pair.u16()?.into(), pair.u16()?.into()))
}

/// At most `length` bytes for the rest of the message, exactly so many else.
fn slice(body: &Bytes, offset: usize, length: usize) -> Result<Bytes, Malformed> {
    let mut reader = Reader::new(body.clone());
    // An empty field may point behind the end.
    if length == 0 {
        return Ok(Bytes::new());
    }
    reader.take(offset)?;
    if length == body.len() { Ok(reader.rest()) } else { reader.take(length) }
}

/// The password hides behind swapped halves of bytes and a mask, from nobody.
fn password(body: &Bytes) -> Result<String, Malformed> {
    let (offset, units) = at(body, 2)?;
    let plain: Vec<u8> =
        slice(body, offset, units * 2)?.iter().map(|byte| (byte ^ 0xA5).rotate_right(4)).collect();
    utf16(&plain)
}

fn token(features: &mut Reader) -> Result<Option<String>, Malformed> {
    loop {
        let feature = features.u8()?;
        if feature == TERMINATOR {
            return Ok(None);
        }
        let length = features.u32()? as usize;
        let mut data = Reader::new(features.take(length)?);
        if feature == FED_AUTH {
            data.u8()?; // which library, and the echo of PRELOGIN
            let length = data.u32()? as usize;
            return utf16(&data.take(length)?).map(Some);
        }
    }
}
