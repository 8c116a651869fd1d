//! The procedures that this server knows, and how their arguments are bound: [`Procedure`], [`Arguments`].

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    error::SqlError,
    store::Declared,
    tds::{Parameter, Value},
};

/// A procedure of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Procedure {
    Positions,
    Read,
    ReadStream(usize),
    Publish(usize),
    Trim(usize),
    Held,
    Renew,
    OpenEpoch,
    Register,
    Unregister,
    Arm,
    Wait,
    Ring,
    Collect,
    Janitor,
    DoorbellHealth,
}

impl Procedure {
    /// The one of this name, `None` where this server has not been taught it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let numbered = |base: &str| name.strip_prefix(base)?.parse().ok();
        Some(match name {
            "positions" => Self::Positions,
            "read" => Self::Read,
            "held" => Self::Held,
            "renew" => Self::Renew,
            "open_epoch" => Self::OpenEpoch,
            "register" => Self::Register,
            "unregister" => Self::Unregister,
            "arm" => Self::Arm,
            "wait" => Self::Wait,
            "ring" => Self::Ring,
            "collect" => Self::Collect,
            "janitor" => Self::Janitor,
            "doorbell_health" => Self::DoorbellHealth,
            _ => numbered("publish_")
                .map(Self::Publish)
                .or_else(|| numbered("read_").map(Self::ReadStream))
                .or_else(|| numbered("trim_").map(Self::Trim))?,
        })
    }

    /// Its parameters, as `name type`, apart from those of `read` that depend on how many tables there are.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Positions | Self::DoorbellHealth => &[],
            Self::Read => &["epoch bigint", "max_rows int", "max_bytes bigint"],
            Self::ReadStream(_) => &["after bigint", "max_rows int", "max_bytes bigint"],
            Self::Publish(_) => &[
                "epoch bigint",
                "node binary(16)",
                "number bigint",
                "after bigint",
                "payload varbinary(max)",
            ],
            Self::Trim(_) => {
                &["keep_rows bigint", "keep_seconds int", "keep_bytes bigint", "batch int", "max_batches int"]
            }
            Self::Held => &["stream smallint", "node binary(16)"],
            Self::Renew => &["node binary(16)", "keep_seconds int"],
            Self::OpenEpoch => &["old bigint", "seen bigint", "after_known bit"],
            Self::Register => &["listener uniqueidentifier", "label nvarchar(128)", "lifetime_seconds int"],
            Self::Unregister => &["listener uniqueidentifier"],
            Self::Arm => &["listener uniqueidentifier", "streams varbinary(128)"],
            Self::Wait => &["listener uniqueidentifier", "timeout_ms int"],
            Self::Ring => &["stream smallint"],
            Self::Collect => &["wait_ms int"],
            Self::Janitor => &["lease_seconds int"],
        }
    }

    /// Whether what a statement creates under the name of this procedure is what this server does.
    pub(crate) fn has(self, declared: &[Declared]) -> bool {
        let mut wanted: Vec<String> =
            self.parameters().iter().map(|parameter| (*parameter).to_owned()).collect();
        if self == Self::Read {
            let streams = declared.len().saturating_sub(wanted.len());
            wanted.splice(1..1, (0..streams).map(|stream| format!("after_{stream} bigint")));
        }
        declared.iter().map(|parameter| format!("{} {}", parameter.name, parameter.ty)).eq(wanted)
    }
}

/// The values of a call by the names of its parameters, each of the type that was declared.
#[derive(Debug, Default)]
pub(crate) struct Arguments(BTreeMap<String, Value>);

impl Arguments {
    /// Binds what was sent to what was declared.
    pub(crate) fn bind(
        procedure: &str,
        declared: &[Declared],
        sent: Vec<Parameter>,
    ) -> Result<Self, SqlError> {
        let mut bound = BTreeMap::new();
        for (place, parameter) in sent.into_iter().enumerate() {
            let wanted = match parameter.name.strip_prefix('@') {
                Some(name) => declared.iter().find(|declared| declared.name.eq_ignore_ascii_case(name)),
                None => declared.get(place),
            };
            let Some(wanted) = wanted else {
                let message = format!("{} is not a parameter for procedure {procedure}.", parameter.name);
                return Err(SqlError::new(8145, message));
            };
            let value = convert(parameter.value, &wanted.ty)?;
            if bound.insert(wanted.name.clone(), value).is_some() {
                let message = format!(
                    "Procedure {procedure} has the parameter '@{}' supplied more than once.",
                    wanted.name
                );
                return Err(SqlError::new(8143, message));
            }
        }
        let is_missing = |declared: &&Declared| !declared.optional && !bound.contains_key(&declared.name);
        match declared.iter().find(is_missing) {
            Some(missing) => {
                let message = format!(
                    "Procedure or function '{procedure}' expects parameter '@{}', which was not supplied.",
                    missing.name
                );
                Err(SqlError::new(201, message))
            }
            None => Ok(Self(bound)),
        }
    }

    pub(crate) fn optional_int(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Int(value)) => Some(*value),
            Some(Value::Bit(value)) => Some((*value).into()),
            _ => None,
        }
    }

    pub(crate) fn int(&self, name: &str) -> Result<i64, SqlError> {
        self.optional_int(name).ok_or_else(|| is_null(name))
    }

    pub(crate) fn optional_binary(&self, name: &str) -> Option<Bytes> {
        match self.0.get(name) {
            Some(Value::Binary(value)) => Some(value.clone()),
            _ => None,
        }
    }

    pub(crate) fn binary(&self, name: &str) -> Result<Bytes, SqlError> {
        self.optional_binary(name).ok_or_else(|| is_null(name))
    }

    /// A `binary(16)`.
    pub(crate) fn node(&self, name: &str) -> Result<[u8; 16], SqlError> {
        self.binary(name)?[..].try_into().map_err(|_| is_null(name))
    }

    pub(crate) fn guid(&self, name: &str) -> Result<Uuid, SqlError> {
        match self.0.get(name) {
            Some(Value::Guid(value)) => Ok(*value),
            _ => Err(is_null(name)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, SqlError> {
        match self.0.get(name) {
            Some(Value::Text(value)) => Ok(value),
            _ => Err(is_null(name)),
        }
    }
}

/// Stricter than the procedures, whose statements do nothing, or fail in their own ways, where a value is NULL that
/// no client of ours leaves out.
fn is_null(name: &str) -> SqlError {
    SqlError::new(515, format!("Cannot insert the value NULL into column '{name}'."))
}

/// As the server converts a parameter to the declared type.
fn convert(value: Value, ty: &str) -> Result<Value, SqlError> {
    let out_of_range = || SqlError::new(8114, format!("Error converting data type to {ty}."));
    let (base, size) = match ty.split_once('(') {
        Some((base, size)) => (base, size.trim_end_matches(')').parse::<usize>().ok()),
        None => (ty, None),
    };
    let range = match base {
        "smallint" => Some(i64::from(i16::MIN)..=i64::from(i16::MAX)),
        "int" => Some(i64::from(i32::MIN)..=i64::from(i32::MAX)),
        "bigint" => Some(i64::MIN..=i64::MAX),
        _ => None,
    };
    match (value, base, range) {
        (Value::Null, ..) => Ok(Value::Null),
        (Value::Int(value), _, Some(range)) if range.contains(&value) => Ok(Value::Int(value)),
        (Value::Bit(value), _, Some(_)) => Ok(Value::Int(value.into())),
        (Value::Bit(value), "bit", _) => Ok(Value::Bit(value)),
        (Value::Int(value), "bit", _) => Ok(Value::Bit(value != 0)),
        (Value::Guid(value), "uniqueidentifier", _) => Ok(Value::Guid(value)),
        (Value::Binary(value), "uniqueidentifier", _) => {
            let bytes = value[..].try_into().map_err(|_| out_of_range())?;
            Ok(Value::Guid(Uuid::from_bytes_le(bytes)))
        }
        (Value::Text(value), "nvarchar", _) => {
            Ok(Value::Text(value.chars().take(size.unwrap_or(usize::MAX)).collect()))
        }
        (Value::Binary(value), "varbinary", _) => Ok(Value::Binary(value.slice(..cut(&value, size)))),
        (Value::Binary(value), "binary", _) => {
            let mut padded = value.slice(..cut(&value, size)).to_vec();
            padded.resize(size.unwrap_or(1), 0);
            Ok(Value::Binary(padded.into()))
        }
        _ => Err(out_of_range()),
    }
}

fn cut(value: &Bytes, size: Option<usize>) -> usize {
    value.len().min(size.unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(parameters: &[&str]) -> Vec<Declared> {
        let split = |parameter: &&str| {
            let (name, ty) = parameter.split_once(' ').unwrap();
            let optional = ty.ends_with('?');
            Declared { name: name.into(), ty: ty.trim_end_matches('?').into(), optional }
        };
        parameters.iter().map(split).collect()
    }

    fn bind(declares: &[&str], sent: &[(&str, Value)]) -> Result<Arguments, u32> {
        let sent = sent
            .iter()
            .map(|(name, value)| Parameter { name: (*name).into(), value: value.clone() })
            .collect();
        Arguments::bind("p", &declared(declares), sent).map_err(|error| error.number)
    }

    #[test]
    fn other_parameters_are_another_procedure() {
        assert!(Procedure::Held.has(&declared(&["stream smallint", "node binary(16)"])));
        assert!(!Procedure::Held.has(&declared(&["node binary(16)", "stream smallint"])));
        assert!(!Procedure::Held.has(&declared(&["stream smallint"])));
        let read = ["epoch bigint", "after_0 bigint?", "after_1 bigint?", "max_rows int", "max_bytes bigint"];
        assert!(Procedure::Read.has(&declared(&read)));
        assert!(!Procedure::Read.has(&declared(&read[1..])));
    }

    #[test]
    fn arguments_are_bound_by_name_and_checked() {
        let bound =
            bind(&["a int", "b binary(4)"], &[("@B", Value::Binary("x".into())), ("@a", Value::Int(7))]);
        let bound = bound.unwrap();
        assert_eq!(bound.int("a"), Ok(7));
        assert_eq!(bound.binary("b").unwrap(), &b"x\0\0\0"[..]);
        assert_eq!(bind(&["a int"], &[("@c", Value::Int(7))]).unwrap_err(), 8145);
        assert_eq!(bind(&["a int"], &[]).unwrap_err(), 201);
        assert_eq!(bind(&["a int"], &[("@a", Value::Int(1)), ("@a", Value::Int(1))]).unwrap_err(), 8143);
        assert_eq!(bind(&["a smallint"], &[("@a", Value::Int(40_000))]).unwrap_err(), 8114);
        assert_eq!(bind(&["a int?"], &[]).unwrap().optional_int("a"), None);
        assert_eq!(bind(&["a int"], &[("@a", Value::Null)]).unwrap().int("a").unwrap_err().number, 515);
    }
}
