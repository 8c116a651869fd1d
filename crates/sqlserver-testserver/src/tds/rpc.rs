//! Requests: SQL batches (2.2.6.7) and remote procedure calls (2.2.6.6).

use bytes::Bytes;

use super::{
    Malformed,
    reader::{Reader, utf16},
    types::Value,
};

/// Instead of the length of a name: a number follows.
const BY_NUMBER: u16 = 0xFFFF;

/// More parameters than SQL Server's procedures can have.
const MAX_PARAMETERS: usize = 2100;

/// A text to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) String);

impl Batch {
    pub(crate) fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        skip_headers(&mut reader)?;
        utf16(&reader.rest()).map(Self)
    }
}

/// A procedure to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rpc {
    pub(crate) target: Target,
    pub(crate) parameters: Vec<Parameter>,
}

/// Which procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// As the client wrote it, with or without brackets.
    Name(String),
    /// One of those that have a number, such as `sp_executesql`.
    Number(u16),
}

/// A parameter of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// With its `@`; empty where the parameter goes by its place.
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl Rpc {
    pub(crate) fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        skip_headers(&mut reader)?;
        let target = match reader.u16()? {
            BY_NUMBER => Target::Number(reader.u16()?),
            units => Target::Name(reader.utf16(units.into())?),
        };
        reader.u16()?; // options
        let mut parameters = Vec::new();
        while !reader.is_empty() {
            if parameters.len() == MAX_PARAMETERS {
                return Err(Malformed::new(format!("more than {MAX_PARAMETERS} parameters")));
            }
            let name = reader.b_varchar()?;
            reader.u8()?; // status: by reference, default
            parameters.push(Parameter { name, value: Value::decode(&mut reader)? });
        }
        Ok(Self { target, parameters })
    }
}

/// `ALL_HEADERS`: the transaction, of which this server knows by itself.
fn skip_headers(reader: &mut Reader) -> Result<(), Malformed> {
    let length = reader.u32()? as usize;
    let rest =
        length.checked_sub(4).ok_or_else(|| Malformed::new("headers that are shorter than their length"))?;
    reader.take(rest)?;
    Ok(())
}
