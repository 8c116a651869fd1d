//! Reading the answers of `XREAD` and `XRANGE`.

use bytes::Bytes;
use redis::Value;
use scaleout_core::{
    Error, ErrorKind,
    provider::{Body, Entry},
};

use crate::entry_id::place_of;

/// The field of an entry that holds a frame.
const FRAME: &[u8] = b"f";
/// The fields of an opening: the server that it was made for, and what the epoch continues.
const OPENING: &[u8] = b"o";
const AFTER: &[u8] = b"a";

/// What one stream had in an answer of `XREAD`.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) key: String,
    pub(crate) entries: Vec<Entry>,
}

/// The streams of an answer of `XREAD`; none where it timed out.
pub(crate) fn entries_of(answer: Value) -> Result<Vec<Read>, Error> {
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => streams.into_iter().map(stream).collect(),
        _ => Err(malformed()),
    }
}

/// The entries of an answer of `XRANGE`.
pub(crate) fn range(answer: Value) -> Result<Vec<Entry>, Error> {
    let Value::Array(entries) = answer else { return Err(malformed()) };
    entries.into_iter().map(entry).collect()
}

fn stream(value: Value) -> Result<Read, Error> {
    let [key, entries] = array(value)?;
    Ok(Read { key: text(key)?, entries: range(entries)? })
}

fn entry(value: Value) -> Result<Entry, Error> {
    let [id, fields] = array(value)?;
    let place = place_of(&text(id)?).ok_or_else(malformed)?;
    // An entry that was deleted while it was read has no fields.
    let fields = match fields {
        Value::Array(fields) => fields,
        Value::Nil => Vec::new(),
        _ => return Err(malformed()),
    };
    let mut body = Body::Other;
    let mut fields = fields.into_iter();
    while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) = (fields.next(), fields.next())
    {
        match (name.as_slice(), &mut body) {
            // The vector becomes the buffer: nothing is copied.
            (FRAME, Body::Other) => body = Body::Frame(Bytes::from(value)),
            (OPENING, Body::Other) => body = Body::Opening { after: None },
            (AFTER, Body::Opening { after }) => {
                *after = std::str::from_utf8(&value).ok().and_then(place_of);
            }
            _ => {}
        }
    }
    Ok(Entry { place, body })
}

fn array(value: Value) -> Result<[Value; 2], Error> {
    let Value::Array(values) = value else { return Err(malformed()) };
    values.try_into().map_err(|_| malformed())
}

fn text(value: Value) -> Result<String, Error> {
    let Value::BulkString(bytes) = value else { return Err(malformed()) };
    String::from_utf8(bytes).map_err(|_| malformed())
}

fn malformed() -> Error {
    Error::new(ErrorKind::Unsupported, "reading from Redis: the answer has an unknown form")
}

#[cfg(test)]
mod tests {
    use scaleout_core::provider::Place;

    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry_of(fields: &[&str]) -> Entry {
        let fields = Value::Array(fields.iter().map(|field| bulk(field)).collect());
        entry(Value::Array(vec![bulk("7-1"), fields])).expect("an entry")
    }

    #[test]
    fn entries_are_frames_openings_or_somebody_elses() {
        assert!(matches!(entry_of(&["f", "frame"]).body, Body::Frame(bytes) if bytes == "frame"));
        let opening = entry_of(&["o", "server", "a", "6-9"]);
        assert_eq!(opening.place, Place { epoch: 7, id: 1 });
        assert!(matches!(opening.body, Body::Opening { after: Some(Place { epoch: 6, id: 9 }) }));
        assert!(matches!(entry_of(&["o", "server", "a", "-"]).body, Body::Opening { after: None }));
        assert!(matches!(entry_of(&["x", "y"]).body, Body::Other));
        assert!(matches!(entry_of(&[]).body, Body::Other));
    }

    #[test]
    fn an_answer_of_another_form_is_an_error() {
        for wrong in
            [Value::Int(1), Value::Array(vec![Value::Int(1)]), Value::Array(vec![Value::Array(vec![])])]
        {
            assert!(entries_of(wrong).is_err());
        }
        assert!(entries_of(Value::Nil).expect("a time-out").is_empty());
    }
}
