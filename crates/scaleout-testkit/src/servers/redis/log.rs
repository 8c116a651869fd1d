//! An append-only file that forgets the last frames of each stream, as a server does that never got them.
//!
//! Redis keeps the file in parts; all commands since the start are in the one whose name ends in `.incr.aof`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::servers::resp::{self, Parsed};

/// Rewrites the files in `folder`; tells how many frames they lost.
///
/// # Errors
/// Where they cannot be read or written, or hold something else than commands.
pub(super) fn forget_last(folder: &Path, frames: usize) -> io::Result<usize> {
    let part = last_part(folder)?;
    let bytes = fs::read(&part)?;
    let log = Log::read(&bytes)?;
    let cuts = log.cuts(frames);
    fs::write(part, log.without(&cuts))?;
    Ok(cuts.values().map(|cut| cut.frames).sum())
}

fn last_part(folder: &Path) -> io::Result<PathBuf> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            parts.push(path);
        }
    }
    match (parts.pop(), parts.is_empty()) {
        (Some(part), true) => Ok(part),
        _ => Err(invalid("the append-only file must have exactly one incremental part")),
    }
}

type Request<'a> = Vec<&'a [u8]>;

/// Commands that were run as one: a transaction, without `MULTI` and `EXEC`, or a single one.
struct Log<'a>(Vec<Vec<Request<'a>>>);

/// From where on a stream is forgotten.
struct Cut {
    /// The index of the unit.
    unit: usize,
    /// How many frames that takes.
    frames: usize,
}

/// A stream by the tag of its keys and its index.
type Stream<'a> = (&'a [u8], &'a [u8]);

impl<'a> Log<'a> {
    /// Reads whole units; a server that is killed may leave half a one at the end.
    fn read(mut bytes: &'a [u8]) -> io::Result<Self> {
        let mut units = Vec::new();
        let mut transaction = None;
        loop {
            let request = match resp::parse(bytes) {
                Parsed::Request(request, length) => {
                    bytes = &bytes[length..];
                    request
                }
                Parsed::Incomplete => return Ok(Self(units)),
                Parsed::Foreign => {
                    return Err(invalid("the append-only file holds something else than commands"));
                }
            };
            match (name(&request).as_slice(), transaction.as_mut()) {
                (b"MULTI", _) => transaction = Some(Vec::new()),
                (b"EXEC", _) => units.extend(transaction.take()),
                (_, Some(unit)) => unit.push(request),
                (_, None) => units.push(vec![request]),
            }
        }
    }

    fn cuts(&self, frames: usize) -> BTreeMap<Stream<'a>, Cut> {
        let mut appended: BTreeMap<Stream<'a>, Vec<usize>> = BTreeMap::new();
        for (index, unit) in self.0.iter().enumerate() {
            for request in unit {
                match name(request).as_slice() {
                    b"FLUSHALL" | b"FLUSHDB" => appended.clear(),
                    b"DEL" | b"UNLINK" => {
                        // Of a stream's keys this one alone holds frames.
                        let streams = request[1..].iter().filter_map(|key| stream_of_log(key));
                        streams.for_each(|stream| drop(appended.remove(&stream)));
                    }
                    _ => {
                        let stream = resp::appended_frame(request).and_then(stream_of_log);
                        stream.into_iter().for_each(|stream| appended.entry(stream).or_default().push(index));
                    }
                }
            }
        }
        let cut = |(stream, units): (Stream<'a>, Vec<usize>)| {
            let frames = frames.min(units.len());
            let unit = *units.get(units.len() - frames)?;
            Some((stream, Cut { unit, frames }))
        };
        appended.into_iter().filter_map(cut).collect()
    }

    fn without(&self, cuts: &BTreeMap<Stream<'a>, Cut>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, unit) in self.0.iter().enumerate() {
            let is_lost = |stream: Stream<'_>| cuts.get(&stream).is_some_and(|cut| index >= cut.unit);
            let mut kept: Vec<_> = unit.iter().filter_map(|request| without(request, is_lost)).collect();
            let entries = |requests: &[Request<'_>]| requests.iter().filter(|r| name(r) == b"XADD").count();
            if entries(unit) > 0 && entries(&kept) == 0 {
                // What the rest of it says of the whole app is not so without those entries.
                kept.retain(|request| name(request) == b"SELECT");
            }
            let is_transaction = kept.len() > 1;
            if is_transaction {
                resp::write(&[b"MULTI"], &mut bytes);
            }
            kept.iter().for_each(|request| resp::write(request, &mut bytes));
            if is_transaction {
                resp::write(&[b"EXEC"], &mut bytes);
            }
        }
        bytes
    }
}

/// What is left of a request without what concerns lost streams; `None` where that is nothing.
fn without<'a>(request: &Request<'a>, is_lost: impl Fn(Stream<'_>) -> bool) -> Option<Request<'a>> {
    let is_lost_key = |key: &&[u8]| {
        let stream = stream_of_log(key).or_else(|| stream_of_numbers(key));
        stream.is_some_and(&is_lost)
    };
    let name = name(request);
    let Some(key) = request.get(1) else { return Some(request.clone()) };
    if let Some(tag) = key.strip_suffix(b":meta") {
        let step = match name.as_slice() {
            b"HSET" | b"HMSET" => 2,
            b"HDEL" => 1,
            _ => return Some(request.clone()),
        };
        let fields = request[2..].chunks(step).filter(|field| !is_lost((tag, field[0])));
        let kept: Request<'a> = request[..2].iter().chain(fields.flatten()).copied().collect();
        return (kept.len() > 2).then_some(kept);
    }
    match name.as_slice() {
        b"DEL" | b"UNLINK" => {
            let kept: BTreeSet<&[u8]> =
                request[1..].iter().filter(|key| !is_lost_key(key)).copied().collect();
            (!kept.is_empty()).then(|| request[..1].iter().copied().chain(kept).collect())
        }
        b"COPY" | b"RENAME" => (!request[1..].iter().take(2).any(is_lost_key)).then(|| request.clone()),
        _ => (!is_lost_key(key)).then(|| request.clone()),
    }
}

/// `<tag>:stream:<s>`
fn stream_of_log(key: &[u8]) -> Option<Stream<'_>> {
    let (rest, index) = split_last(key)?;
    Some((rest.strip_suffix(b":stream")?, index))
}

/// `<tag>:last:<s>:<epoch>`
fn stream_of_numbers(key: &[u8]) -> Option<Stream<'_>> {
    let (rest, _epoch) = split_last(key)?;
    let (rest, index) = split_last(rest)?;
    Some((rest.strip_suffix(b":last")?, index))
}

fn split_last(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = key.iter().rposition(|byte| *byte == b':')?;
    Some((&key[..at], &key[at + 1..]))
}

fn name(request: &[&[u8]]) -> Vec<u8> {
    request.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default()
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log `lines`, without the last `frames` frames.
    fn forget(lines: &[&str], frames: usize) -> Vec<String> {
        let mut bytes = Vec::new();
        for line in lines {
            let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            resp::write(&words, &mut bytes);
        }
        let log = Log::read(&bytes).unwrap();
        let bytes = log.without(&log.cuts(frames));
        let left = Log::read(&bytes).unwrap().0;
        left.iter().flatten().map(|request| String::from_utf8(request.join(&b' ')).unwrap()).collect()
    }

    const OPENING: [&str; 7] = [
        "MULTI",
        "SELECT 0",
        "XADD p:{a:0}:stream:0 NOMKSTREAM 5-0 o x",
        "XADD p:{a:0}:stream:1 NOMKSTREAM 5-0 o x",
        "HSET p:{a:0}:meta layout 2 0 run 1 run",
        "SET p:{a:0}:epoch 5",
        "EXEC",
    ];

    fn frame(stream: u32, id: &str, number: u32) -> Vec<String> {
        vec![
            "MULTI".into(),
            format!("XADD p:{{a:0}}:stream:{stream} NOMKSTREAM MINID = 4-0 {id} f x"),
            format!("HSET p:{{a:0}}:last:{stream}:5 node {number}"),
            "EXEC".into(),
        ]
    }

    fn lines(parts: &[Vec<String>]) -> Vec<String> {
        let opening = OPENING.iter().map(|line| (*line).to_owned());
        opening.chain(parts.iter().flatten().cloned()).collect()
    }

    fn forget_of(parts: &[Vec<String>], frames: usize) -> Vec<String> {
        let lines = lines(parts);
        forget(&lines.iter().map(String::as_str).collect::<Vec<_>>(), frames)
    }

    fn kept_of(parts: &[Vec<String>]) -> Vec<String> {
        lines(parts).into_iter().filter(|line| line != "MULTI" && line != "EXEC").collect()
    }

    #[test]
    fn each_stream_loses_its_last_frames_and_their_numbers() {
        let parts = [
            frame(0, "5-1", 1),
            frame(1, "5-1", 1),
            frame(0, "5-2", 2),
            frame(1, "5-2", 2),
            frame(0, "5-3", 3),
        ];
        assert_eq!(
            forget_of(&parts, 1),
            kept_of(&[frame(0, "5-1", 1), frame(1, "5-1", 1), frame(0, "5-2", 2)])
        );
        assert_eq!(forget_of(&parts, 0), kept_of(&parts));
    }

    #[test]
    fn a_stream_with_fewer_frames_loses_all_and_keeps_its_opening() {
        assert_eq!(forget_of(&[frame(0, "5-1", 1)], 2), kept_of(&[]));
        assert_eq!(forget_of(&[], 2), kept_of(&[]));
    }

    #[test]
    fn what_comes_after_a_lost_frame_is_lost_for_its_stream_alone() {
        let later = vec![
            "PEXPIREAT p:{a:0}:stream:0 9".to_owned(),
            "PEXPIREAT p:{a:0}:stream:1 9".to_owned(),
            "HDEL p:{a:0}:meta 0 1".to_owned(),
            "UNLINK p:{a:0}:last:0:5 p:{a:0}:last:1:5 other".to_owned(),
            "COPY p:{a:0}:last:0:5 p:{a:0}:last:0:6".to_owned(),
            "MULTI".to_owned(),
            "XADD p:{a:0}:stream:0 NOMKSTREAM 6-0 o x".to_owned(),
            "HSET p:{a:0}:meta 0 later".to_owned(),
            "SET p:{a:0}:epoch 6".to_owned(),
            "EXEC".to_owned(),
        ];
        let left = vec![
            "PEXPIREAT p:{a:0}:stream:1 9".to_owned(),
            "HDEL p:{a:0}:meta 1".to_owned(),
            "UNLINK other p:{a:0}:last:1:5".to_owned(),
        ];
        assert_eq!(forget_of(&[frame(0, "5-1", 1), later], 1), kept_of(&[left]));
    }

    #[test]
    fn frames_before_a_flush_are_gone_already() {
        let lines = ["XADD p:{a:0}:stream:0 5-1 f x", "FLUSHALL", "XADD p:{a:0}:stream:0 6-1 f x"];
        assert_eq!(forget(&lines, 2), lines[..2]);
    }

    #[test]
    fn a_torn_end_is_left_out() {
        let lines = ["SET a b", "MULTI", "XADD p:{a:0}:stream:0 6-1 f x"];
        assert_eq!(forget(&lines, 1), lines[..1]);
    }
}
