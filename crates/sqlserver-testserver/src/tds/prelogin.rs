//! PRELOGIN (2.2.6.5): what client and server agree on before the login.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Malformed, reader::Reader};

const VERSION: u8 = 0x00;
const ENCRYPTION: u8 = 0x01;
const INSTANCE: u8 = 0x02;
const MARS: u8 = 0x04;
const FED_AUTH_REQUIRED: u8 = 0x06;
const TERMINATOR: u8 = 0xFF;

/// One side's wish or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Encryption {
    /// Of the login alone.
    Off = 0,
    On = 1,
    NotSupported = 2,
    Required = 3,
}

/// What of a PRELOGIN matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreLogin {
    pub(crate) encryption: Encryption,
    /// The client has an access token to log in with.
    pub(crate) fed_auth: bool,
}

impl PreLogin {
    pub(crate) fn decode(body: &Bytes) -> Result<Self, Malformed> {
        let mut this = Self { encryption: Encryption::NotSupported, fed_auth: false };
        let mut options = Reader::new(body.clone());
        loop {
            let option = options.u8()?;
            if option == TERMINATOR {
                return Ok(this);
            }
            let (offset, length) = (usize::from(options.u16_be()?), usize::from(options.u16_be()?));
            let mut data = Reader::new(body.clone());
            data.take(offset)?;
            let mut data = Reader::new(data.take(length)?);
            match option {
                ENCRYPTION => {
                    this.encryption = match data.u8()? {
                        0 => Encryption::Off,
                        1 => Encryption::On,
                        2 => Encryption::NotSupported,
                        3 => Encryption::Required,
                        other => return Err(Malformed::new(format!("an encryption of {other}"))),
                    };
                }
                FED_AUTH_REQUIRED => this.fed_auth = data.u8()? != 0,
                _ => (),
            }
        }
    }

    /// The server's answer.
    pub(crate) fn encode(self) -> Bytes {
        let version = [16, 0, 4, 0, 0, 0]; // 16.0.1024, 2022
        let mut options: Vec<(u8, &[u8])> = vec![
            (VERSION, &version),
            (
                ENCRYPTION,
                std::slice::from_ref(match self.encryption {
                    Encryption::Off => &0,
                    Encryption::On => &1,
                    Encryption::NotSupported => &2,
                    Encryption::Required => &3,
                }),
            ),
            (INSTANCE, &[0]), // it is the one that the client asked for
            (MARS, &[0]),
        ];
        if self.fed_auth {
            options.push((FED_AUTH_REQUIRED, &[1]));
        }
        let mut bytes = BytesMut::new();
        let mut offset = options.len() * 5 + 1;
        for (option, data) in &options {
            bytes.put_u8(*option);
            bytes.put_u16(offset as u16);
            bytes.put_u16(data.len() as u16);
            offset += data.len();
        }
        bytes.put_u8(TERMINATOR);
        for (_, data) in options {
            bytes.put_slice(data);
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for encryption in [Encryption::Off, Encryption::On, Encryption::NotSupported, Encryption::Required] {
            for fed_auth in [false, true] {
                let this = PreLogin { encryption, fed_auth };
                assert_eq!(PreLogin::decode(&this.encode()), Ok(this));
            }
        }
    }
}
