//! The messages of presence, version 1.
//!
//! | Message | Fields |
//! | --- | --- |
//! | delta | 1, 1, `from` and `to` as numbers, changes |
//! | ask | 1, 2, `cursor` as a number |
//! | page | 1, 3, `version` as a number, `next` as a number (0: this is the last page), changes |
//!
//! Changes are, up to the end of the message: 0 and a text, the group of those that follow; 1, a text and bytes: this member
//! has this value; 2 and a text: this member is no longer there.

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};

const VERSION: u8 = 1;

const DELTA: u8 = 1;
const ASK: u8 = 2;
const PAGE: u8 = 3;

const GROUP: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// The changes of a node since its version `from`, or a later one below `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) changes: Changes,
}

/// Asks for a page of all entries of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// 0, or `next` of the page before.
    pub(super) cursor: u64,
}

/// Some of the entries of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The version that the node had when it made this page.
    pub(super) version: u64,
    /// Where the next page begins.
    pub(super) next: Option<u64>,
    pub(super) entries: Changes,
}

/// A row of changes that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Changes(Bytes);

/// A member of a group has a value, or (`None`) is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) group: &'a str,
    pub(super) member: &'a str,
    pub(super) value: Option<&'a [u8]>,
}

impl Delta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = head(DELTA, self.changes.0.len());
        writer.number(self.from);
        writer.number(self.to);
        writer.rest(&self.changes.0);
        writer.into_vec()
    }

    pub(super) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut reader = body(message, DELTA)?;
        let (from, to) = (reader.number()?, reader.number()?);
        Ok(Self { from, to, changes: Changes::decode(reader.rest())? })
    }
}

impl Ask {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut writer = head(ASK, 0);
        writer.number(self.cursor);
        writer.into_vec()
    }

    pub(super) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut reader = body(message, ASK)?;
        let cursor = reader.number()?;
        reader.end()?;
        Ok(Self { cursor })
    }
}

impl Page {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = head(PAGE, self.entries.0.len());
        writer.number(self.version);
        writer.number(self.next.unwrap_or(0));
        writer.rest(&self.entries.0);
        writer.into_vec()
    }

    pub(super) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut reader = body(message, PAGE)?;
        let (version, next) = (reader.number()?, reader.number()?);
        Ok(Self { version, next: (next != 0).then_some(next), entries: Changes::decode(reader.rest())? })
    }
}

impl Changes {
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let changes = Self(bytes);
        changes.read(|_| {})?;
        Ok(changes)
    }

    pub(super) fn for_each(&self, each: impl FnMut(Change<'_>)) {
        self.read(each).expect("it was read when it was made");
    }

    fn read(&self, mut each: impl FnMut(Change<'_>)) -> Result<(), DecodeError> {
        let mut reader = Reader::new(self.0.clone());
        let mut group = String::new();
        while reader.remaining() > 0 {
            match reader.byte()? {
                GROUP => {
                    group.clear();
                    group.push_str(reader.text()?);
                }
                PUT => {
                    let (member, value) = (reader.bytes()?, reader.bytes()?);
                    each(Change { group: &group, member: text(&member)?, value: Some(&value) });
                }
                REMOVE => each(Change { group: &group, member: reader.text()?, value: None }),
                value => return Err(DecodeError::Unknown { field: "presence change", value }),
            }
        }
        Ok(())
    }
}

/// Writes a row of changes.
#[derive(Debug, Default)]
pub(super) struct ChangesWriter {
    writer: Writer,
    group: Option<String>,
}

impl ChangesWriter {
    pub(super) fn write(&mut self, change: Change<'_>) {
        if self.group.as_deref() != Some(change.group) {
            let group = self.group.get_or_insert_default();
            group.clear();
            group.push_str(change.group);
            self.writer.byte(GROUP);
            self.writer.text(change.group);
        }
        match change.value {
            Some(value) => {
                self.writer.byte(PUT);
                self.writer.text(change.member);
                self.writer.bytes(value);
            }
            None => {
                self.writer.byte(REMOVE);
                self.writer.text(change.member);
            }
        }
    }

    /// Bytes written.
    pub(super) fn len(&self) -> usize {
        self.writer.len()
    }

    pub(super) fn finish(self) -> Changes {
        Changes(self.writer.into_vec().into())
    }
}

fn head(kind: u8, body: usize) -> Writer {
    let mut writer = Writer::with_capacity(body + 22);
    writer.byte(VERSION);
    writer.byte(kind);
    writer
}

fn body(message: Bytes, kind: u8) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(message);
    match reader.byte()? {
        VERSION => {}
        version => return Err(DecodeError::Version(version)),
    }
    match reader.byte()? {
        found if found == kind => Ok(reader),
        value => Err(DecodeError::Unknown { field: "kind of presence message", value }),
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, String, Option<Vec<u8>>);

    fn write(changes: &[Owned]) -> Changes {
        let mut writer = ChangesWriter::default();
        for (group, member, value) in changes {
            writer.write(Change { group, member, value: value.as_deref() });
        }
        writer.finish()
    }

    fn read(changes: &Changes) -> Vec<Owned> {
        let mut read = Vec::new();
        changes.for_each(|Change { group, member, value }| {
            read.push((group.to_owned(), member.to_owned(), value.map(<[u8]>::to_vec)));
        });
        read
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            changes in prop::collection::vec((".{0,3}", ".{0,9}", prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..20),
            from: u64, to: u64, next in prop::option::of(1_u64..),
        ) {
            let delta = Delta { from, to, changes: write(&changes) };
            let back = Delta::decode(delta.encode().into());
            prop_assert_eq!(back.as_ref(), Ok(&delta));
            prop_assert_eq!(read(&delta.changes), changes);
            let page = Page { version: from, next, entries: delta.changes };
            prop_assert_eq!(Page::decode(page.encode().into()), Ok(page));
            let ask = Ask { cursor: to };
            prop_assert_eq!(Ask::decode(ask.encode().into()), Ok(ask));
        }

        #[test]
        fn any_bytes_give_a_message_or_an_error(mut bytes: Vec<u8>, like_one: bool, kind in 0..5_u8) {
            if like_one {
                bytes.splice(0..0, [VERSION, kind]);
            }
            let bytes = Bytes::from(bytes);
            if let Ok(delta) = Delta::decode(bytes.clone()) {
                read(&delta.changes);
            }
            if let Ok(page) = Page::decode(bytes.clone()) {
                read(&page.entries);
            }
            let _ = Ask::decode(bytes);
        }

        #[test]
        fn a_message_that_is_cut_short_is_an_error_or_a_shorter_one(cut in 0..40_usize) {
            let changes = [("g".to_owned(), "m".to_owned(), Some(vec![1, 2])), ("h".to_owned(), "n".to_owned(), None)];
            let mut bytes = Delta { from: 300, to: 301, changes: write(&changes) }.encode();
            bytes.truncate(cut);
            if let Ok(delta) = Delta::decode(bytes.into()) {
                prop_assert!(changes.starts_with(&read(&delta.changes)));
            }
        }
    }

    #[test]
    fn bytes_of_version_1() {
        let changes = [
            ("room".to_owned(), "ann".to_owned(), Some(b"x".to_vec())),
            ("room".to_owned(), "bob".to_owned(), None),
            ("hall".to_owned(), "ann".to_owned(), Some(Vec::new())),
        ];
        let entries = write(&changes);
        let body = b"\x00\x04room\x01\x03ann\x01x\x02\x03bob\x00\x04hall\x01\x03ann\x00";
        let delta = Delta { from: 1, to: 300, changes: entries.clone() };
        assert_eq!(delta.encode(), [b"\x01\x01\x01\xAC\x02".as_slice(), body].concat());
        let page = Page { version: 300, next: Some(5), entries };
        assert_eq!(page.encode(), [b"\x01\x03\xAC\x02\x05".as_slice(), body].concat());
        assert_eq!(Ask { cursor: 5 }.encode(), b"\x01\x02\x05");
    }

    #[test]
    fn later_versions_and_other_kinds_are_told() {
        assert_eq!(Ask::decode(Bytes::from_static(&[2, ASK, 0])), Err(DecodeError::Version(2)));
        let error = DecodeError::Unknown { field: "kind of presence message", value: PAGE };
        assert_eq!(Delta::decode(Bytes::from_static(&[VERSION, PAGE, 0, 0])), Err(error));
        assert_eq!(Ask::decode(Bytes::from_static(&[VERSION, ASK, 0, 0])), Err(DecodeError::Long));
    }
}
