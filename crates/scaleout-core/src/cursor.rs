//! The cursor: the text that a client keeps, to go on from where it was on any node.
//!
//! The text is a version character and base64url of the bytes below, so that it may stand in a URL as it is. Numbers
//! are varints (LEB128: seven bits a byte, the lowest first).
//!
//! ```text
//! "1" base64url(stream count, item, item, …)      items in the order of their streams
//! item:  absent streams before it × 4 + kind, and by kind
//!   0    a position:            epoch, id, index
//!   1    a position and a stem: epoch, id, index, epoch of the stem, id of the stem
//!   2    streams not yet positioned: how many in a row, less 1
//!   3    the rest, all not yet positioned or absent: one bit a stream, the lowest bit of a byte first
//! ```
//!
//! The first epoch stands as it is, every later one as its zigzag difference from the first. An index is written plus
//! 2, modulo 2³², which makes [`Position::WHOLE`] 0 and [`Position::TOLD`] 1. A cursor has one text: any other way to
//! write it is refused. `docs/wire-format.md` has a worked example.

use std::{fmt, num::NonZeroU16, str::FromStr};

use base64::{Engine as _, display::Base64Display, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Epoch, Error, ErrorKind, PayloadId, Position, StreamIndex};

/// Where a client stands on each stream it follows, the same for every node.
///
/// [`Display`](fmt::Display) and [`FromStr`] are its text form, of `[A-Za-z0-9_-]` only. For ids below 2⁴⁸, epochs
/// within 2²⁰ of each other (milliseconds) and indexes below 2¹⁴, the text has at most 64 characters and 24 for each
/// stream, or 36 for one with a stem; whatever the values are, 64 for a stream, and
/// [`MAX_TEXT_BYTES`](Self::MAX_TEXT_BYTES) in all.
///
/// It grants nothing: a forged one re-reads at most what a node keeps of the channels that the host lets that client
/// have. Sign it where that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    stream_count: NonZeroU16,
    /// Sorted by stream, each stream once and below `stream_count`.
    entries: Vec<(StreamIndex, CursorEntry)>,
}

/// What a [`Cursor`] says of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorEntry {
    /// The client has seen everything up to a position.
    At {
        /// The position.
        position: Position,
        /// The last payload that the node held before `position.epoch` forked off an earlier one; while it is there,
        /// only a node that held that payload too can tell what the client has seen.
        stem: Option<(Epoch, PayloadId)>,
    },
    /// The client follows the stream, and has no position there yet.
    Unpositioned,
}

impl Cursor {
    /// Bytes of a cursor's text at most.
    ///
    /// Longer text is refused. A cursor that would be longer is printed with as many of its first streams as fit, the
    /// others as [`CursorEntry::Unpositioned`].
    pub const MAX_TEXT_BYTES: usize = 32 * 1024;

    /// A cursor of no stream, for a backplane of `stream_count` streams.
    #[must_use]
    pub fn new(stream_count: NonZeroU16) -> Self {
        Self { stream_count, entries: Vec::new() }
    }

    /// How many streams the backplane had.
    #[must_use]
    pub fn stream_count(&self) -> NonZeroU16 {
        self.stream_count
    }

    /// Says where the client is on `stream`, in place of what was said before.
    ///
    /// # Panics
    /// Where `stream` is none of the [`stream_count`](Self::stream_count) streams.
    pub fn set(&mut self, stream: StreamIndex, entry: CursorEntry) {
        assert!(stream.0 < self.stream_count.get(), "stream {stream} of {}", self.stream_count);
        match self.find(stream) {
            Ok(at) => self.entries[at].1 = entry,
            Err(at) => self.entries.insert(at, (stream, entry)),
        }
    }

    /// Where the client is on `stream`; `None` where it does not follow it.
    #[must_use]
    pub fn entry(&self, stream: StreamIndex) -> Option<&CursorEntry> {
        self.find(stream).ok().map(|at| &self.entries[at].1)
    }

    /// The streams that the client follows, in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (StreamIndex, &CursorEntry)> {
        self.entries.iter().map(|(stream, entry)| (*stream, entry))
    }

    fn find(&self, stream: StreamIndex) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&stream, |(stream, _)| *stream)
    }

    /// The bytes behind the text, with as many positions as fit.
    fn to_bytes(&self) -> Vec<u8> {
        let whole = encode(self.stream_count, &self.entries);
        if whole.len() <= MAX_BYTES {
            return whole;
        }
        let with_positions = |kept: usize| {
            let mut entries = self.entries.clone();
            entries[kept..].iter_mut().for_each(|(_, entry)| *entry = CursorEntry::Unpositioned);
            encode(self.stream_count, &entries)
        };
        // Without any position it always fits: a bit for each of 65,535 streams is 8 KiB.
        let (mut fits, mut too_many) = (0, self.entries.len());
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            if with_positions(middle).len() <= MAX_BYTES { fits = middle } else { too_many = middle }
        }
        with_positions(fits)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{}", Base64Display::new(&self.to_bytes(), &URL_SAFE_NO_PAD))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// Reads the text that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// [`InvalidCursor`](ErrorKind::InvalidCursor) for any other text. At most 65,535 entries are allocated.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|why| Error::new(ErrorKind::InvalidCursor, format!("not a cursor: {why}")))
    }
}

fn parse(text: &str) -> Result<Cursor, &'static str> {
    if text.len() > Cursor::MAX_TEXT_BYTES {
        return Err("it is longer than 32 KiB");
    }
    let base64 = text.strip_prefix(VERSION).ok_or("it is not of a version that this release knows")?;
    let bytes = URL_SAFE_NO_PAD.decode(base64).map_err(|_| "it is not base64url without padding")?;
    let cursor = decode(&bytes)?;
    // One check for every way to say the same in other words: long varints, split runs, bits for a run.
    if encode(cursor.stream_count, &cursor.entries) != bytes {
        return Err("it is not written in the one way there is");
    }
    Ok(cursor)
}

fn decode(bytes: &[u8]) -> Result<Cursor, &'static str> {
    let mut reader = Reader(bytes);
    let stream_count = u16::try_from(reader.varint()?).ok().and_then(NonZeroU16::new);
    let mut cursor = Cursor::new(stream_count.ok_or("its stream count is not 1 to 65,535")?);
    let mut first_epoch = None;
    // The first stream that nothing was said about.
    let mut next = 0;
    while !reader.0.is_empty() {
        let head = reader.varint()?;
        let stream = cursor.in_range(next, head >> KIND_BITS)?;
        next = match head & KIND_MASK {
            kind @ (AT | AT_WITH_STEM) => {
                let epoch = reader.epoch(&mut first_epoch)?;
                let id = PayloadId(reader.varint()?);
                let index = u32::try_from(reader.varint()?).map_err(|_| "an index is beyond 32 bits")?;
                let position = Position { epoch, id, index: index.wrapping_sub(INDEX_SHIFT) };
                let stem = match kind {
                    AT => None,
                    _ => Some((reader.epoch(&mut first_epoch)?, PayloadId(reader.varint()?))),
                };
                cursor.entries.push((StreamIndex(stream), CursorEntry::At { position, stem }));
                stream + 1
            }
            RUN => {
                let last = cursor.in_range(stream, reader.varint()?)?;
                let run = (stream..=last).map(|stream| (StreamIndex(stream), CursorEntry::Unpositioned));
                cursor.entries.extend(run);
                last + 1
            }
            _ => {
                let bits = std::mem::take(&mut reader.0);
                for bit in (0..bits.len() * 8).filter(|bit| bits[bit / 8] >> (bit % 8) & 1 == 1) {
                    let stream = cursor.in_range(stream, bit as u64)?;
                    cursor.entries.push((StreamIndex(stream), CursorEntry::Unpositioned));
                }
                stream
            }
        };
    }
    Ok(cursor)
}

impl Cursor {
    fn in_range(&self, from: u16, offset: u64) -> Result<u16, &'static str> {
        let stream = u64::from(from).saturating_add(offset);
        let known = u16::try_from(stream).ok().filter(|stream| *stream < self.stream_count.get());
        known.ok_or("it names a stream beyond its stream count")
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("it ends too early")?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is beyond 64 bits")
    }

    fn epoch(&mut self, first: &mut Option<Epoch>) -> Result<Epoch, &'static str> {
        let number = self.varint()?;
        Ok(match *first {
            None => *first.insert(Epoch(number)),
            Some(first) => Epoch(first.0.wrapping_add(unzigzag(number))),
        })
    }
}

fn encode(stream_count: NonZeroU16, entries: &[(StreamIndex, CursorEntry)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + entries.len().min(MAX_BYTES / 16) * 16);
    write_varint(&mut bytes, stream_count.get().into());
    let mut first_epoch = None;
    let mut next = 0;
    let is_unpositioned = |(_, entry): &(StreamIndex, CursorEntry)| *entry == CursorEntry::Unpositioned;
    let positioned = entries.iter().rposition(|entry| !is_unpositioned(entry)).map_or(0, |last| last + 1);
    let (head, tail) = entries.split_at(positioned);
    for chunk in head.chunk_by(|left, right| is_unpositioned(left) && is_unpositioned(right)) {
        match chunk[0] {
            (StreamIndex(stream), CursorEntry::At { position, stem }) => {
                let kind = if stem.is_some() { AT_WITH_STEM } else { AT };
                write_head(&mut bytes, stream - next, kind);
                write_epoch(&mut bytes, position.epoch, &mut first_epoch);
                write_varint(&mut bytes, position.id.0);
                write_varint(&mut bytes, position.index.wrapping_add(INDEX_SHIFT).into());
                if let Some((epoch, id)) = stem {
                    write_epoch(&mut bytes, epoch, &mut first_epoch);
                    write_varint(&mut bytes, id.0);
                }
                next = stream + 1;
            }
            (_, CursorEntry::Unpositioned) => next = write_runs(&mut bytes, next, chunk),
        }
    }

    let (mut runs, mut bits) = (Vec::new(), Vec::new());
    write_runs(&mut runs, next, tail);
    write_bits(&mut bits, next, tail);
    bytes.extend_from_slice(if bits.len() < runs.len() { &bits } else { &runs });
    bytes
}

/// Writes unpositioned `entries` run by run; answers with the stream behind the last of them.
fn write_runs(bytes: &mut Vec<u8>, mut next: u16, entries: &[(StreamIndex, CursorEntry)]) -> u16 {
    for run in entries.chunk_by(|(left, _), (right, _)| left.0 + 1 == right.0) {
        let first = run[0].0.0;
        write_head(bytes, first - next, RUN);
        write_varint(bytes, run.len() as u64 - 1);
        next = run[run.len() - 1].0.0 + 1;
    }
    next
}

/// Writes unpositioned `entries` as one bit a stream; nothing can follow.
fn write_bits(bytes: &mut Vec<u8>, next: u16, entries: &[(StreamIndex, CursorEntry)]) {
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return };
    write_head(bytes, first.0 - next, BITS);
    let start = bytes.len();
    bytes.resize(start + usize::from(last.0 - first.0) / 8 + 1, 0);
    for (stream, _) in entries {
        let bit = usize::from(stream.0 - first.0);
        bytes[start + bit / 8] |= 1 << (bit % 8);
    }
}

fn write_head(bytes: &mut Vec<u8>, absent: u16, kind: u64) {
    write_varint(bytes, (u64::from(absent) << KIND_BITS) | kind);
}

fn write_epoch(bytes: &mut Vec<u8>, epoch: Epoch, first: &mut Option<Epoch>) {
    match *first {
        None => write_varint(bytes, first.insert(epoch).0),
        Some(first) => write_varint(bytes, zigzag(epoch.0.wrapping_sub(first.0))),
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Puts the sign of a wrapped difference into its lowest bit, so that small ones of either sign are small numbers.
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

const VERSION: char = '1';
/// What base64 makes at most [`Cursor::MAX_TEXT_BYTES`] of, less the version: four characters for three bytes.
const MAX_BYTES: usize = (Cursor::MAX_TEXT_BYTES - 1) * 3 / 4;
const KIND_BITS: u32 = 2;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
const AT: u64 = 0;
const AT_WITH_STEM: u64 = 1;
const RUN: u64 = 2;
const BITS: u64 = 3;
const INDEX_SHIFT: u32 = 2;

#[cfg(test)]
mod tests;
