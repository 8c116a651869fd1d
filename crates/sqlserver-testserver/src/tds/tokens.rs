//! The tokens (2.2.7) that answers are made of: [`Tokens`].

use bytes::{BufMut, Bytes, BytesMut};

use super::types::{Column, Value};

const RETURN_STATUS: u8 = 0x79;
const COL_METADATA: u8 = 0x81;
const ERROR: u8 = 0xAA;
const LOGIN_ACK: u8 = 0xAD;
const FEATURE_EXT_ACK: u8 = 0xAE;
const ROW: u8 = 0xD1;
const ENV_CHANGE: u8 = 0xE3;

const FED_AUTH: u8 = 0x02;
const TERMINATOR: u8 = 0xFF;

const MORE: u16 = 0x01;
const FAILED: u16 = 0x02;
const COUNT: u16 = 0x10;
const ATTENTION: u16 = 0x20;

/// Flag of a column: it may be NULL.
const NULLABLE: u16 = 0x01;

/// In front of the name of a host that clients are sent to: TCP.
const TCP: u8 = 0;

/// Where what ended stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum DoneKind {
    /// In a batch.
    Done = 0xFD,
    /// It was the whole procedure.
    Proc = 0xFE,
    /// In a procedure.
    InProc = 0xFF,
}

/// What an ENVCHANGE tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Environment<'a> {
    Database(&'a str),
    PacketSize {
        old: u32,
        new: u32,
    },
    /// The server for this login is another one.
    Routing {
        host: &'a str,
        port: u16,
    },
}

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BytesMut);

impl Tokens {
    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }

    pub(crate) fn login_ack(&mut self) {
        let mut body = BytesMut::new();
        body.put_u8(1); // T-SQL
        body.put_u32(0x7400_0004); // TDS 7.4
        b_varchar(&mut body, "Microsoft SQL Server");
        body.put_slice(&[16, 0, 4, 0]);
        self.sized(LOGIN_ACK, &body);
    }

    /// That the access token was taken.
    pub(crate) fn feature_ack(&mut self) {
        self.0.put_slice(&[FEATURE_EXT_ACK, FED_AUTH, 0, 0, 0, 0, TERMINATOR]);
    }

    pub(crate) fn environment(&mut self, change: &Environment<'_>) {
        let mut body = BytesMut::new();
        match change {
            Environment::Database(name) => {
                body.put_u8(1);
                b_varchar(&mut body, name);
                b_varchar(&mut body, "master");
            }
            Environment::PacketSize { old, new } => {
                body.put_u8(4);
                b_varchar(&mut body, &new.to_string());
                b_varchar(&mut body, &old.to_string());
            }
            Environment::Routing { host, port } => {
                body.put_u8(20);
                let units: Vec<u16> = host.encode_utf16().take(256).collect();
                body.put_u16_le(5 + units.len() as u16 * 2);
                body.put_u8(TCP);
                body.put_u16_le(*port);
                body.put_u16_le(units.len() as u16);
                units.into_iter().for_each(|unit| body.put_u16_le(unit));
                body.put_u16_le(0); // no old value
            }
        }
        self.sized(ENV_CHANGE, &body);
    }

    pub(crate) fn error(&mut self, number: u32, class: u8, message: &str, procedure: &str) {
        let mut body = BytesMut::new();
        body.put_u32_le(number);
        body.put_u8(1); // state
        body.put_u8(class);
        let units: Vec<u16> = message.encode_utf16().take(2048).collect();
        body.put_u16_le(units.len() as u16);
        units.into_iter().for_each(|unit| body.put_u16_le(unit));
        b_varchar(&mut body, "testserver");
        b_varchar(&mut body, procedure);
        body.put_u32_le(1); // line
        self.sized(ERROR, &body);
    }

    pub(crate) fn columns(&mut self, columns: &[Column]) {
        self.0.put_u8(COL_METADATA);
        self.0.put_u16_le(columns.len() as u16);
        for column in columns {
            self.0.put_u32_le(0); // type of the user
            self.0.put_u16_le(NULLABLE);
            column.ty.write(&mut self.0);
            b_varchar(&mut self.0, column.name);
        }
    }

    pub(crate) fn row(&mut self, columns: &[Column], values: &[Value]) {
        self.0.put_u8(ROW);
        for (column, value) in columns.iter().zip(values) {
            column.ty.write_value(value, &mut self.0);
        }
    }

    pub(crate) fn return_status(&mut self, status: i32) {
        self.0.put_u8(RETURN_STATUS);
        self.0.put_i32_le(status);
    }

    /// The end of a result of so many rows, or of something without.
    pub(crate) fn done(&mut self, kind: DoneKind, rows: Option<usize>, more: bool) {
        let status = if more { MORE } else { 0 } | if rows.is_some() { COUNT } else { 0 };
        self.end(kind, status, rows.unwrap_or(0));
    }

    pub(crate) fn failed(&mut self, kind: DoneKind) {
        self.end(kind, FAILED, 0);
    }

    /// The client's Attention was seen, whatever was running has ended.
    pub(crate) fn attention(&mut self) {
        self.end(DoneKind::Done, ATTENTION, 0);
    }

    fn end(&mut self, kind: DoneKind, status: u16, rows: usize) {
        self.0.put_u8(kind as u8);
        self.0.put_u16_le(status);
        self.0.put_u16_le(0); // of which statement
        self.0.put_u64_le(rows as u64);
    }

    fn sized(&mut self, token: u8, body: &[u8]) {
        self.0.put_u8(token);
        self.0.put_u16_le(body.len() as u16);
        self.0.put_slice(body);
    }
}

/// `B_VARCHAR`; what is too long for it is cut off.
fn b_varchar(out: &mut BytesMut, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(255).collect();
    out.put_u8(units.len() as u8);
    units.into_iter().for_each(|unit| out.put_u16_le(unit));
}
