//! Where in the bytes of a client a frame begins and ends.

use crate::servers::{
    resp::{Parsed, appended_frame, parse},
    tds,
};

/// What a client sent and the proxy did not forward yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    buffer: Vec<u8>,
    /// How much of `buffer` are whole requests.
    whole: usize,
    is_in_transaction: bool,
    /// Whether `buffer` begins with a transaction or a request that must be seen as one.
    holds: bool,
    has_frame: bool,
    /// What the client talks, once it has said something.
    language: Option<Language>,
    /// Requests that were seen since this was asked for last.
    count: u64,
}

/// What a client talks to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    /// Redis, in plain text.
    Resp,
    /// SQL Server, in plain text.
    Tds,
    /// Something else, or encrypted: all is forwarded as it comes.
    Foreign,
}

/// What to do with bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Forward(Vec<u8>),
    /// A frame with its transaction.
    Frame(Vec<u8>),
    /// More have to come first.
    Wait,
}

impl Requests {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// All that is left, whole or not.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.whole = 0;
        std::mem::take(&mut self.buffer)
    }

    /// Requests that were seen since this was asked for last.
    pub(super) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// The next bytes that go together; frames are looked for only where it `is_armed`.
    pub(super) fn next(&mut self, is_armed: bool) -> Next {
        if self.language.is_none() {
            let Some(&first) = self.buffer.first() else { return Next::Wait };
            self.language = Some(if tds::begins_with(first) { Language::Tds } else { Language::Resp });
        }
        match self.language {
            Some(Language::Resp) => self.next_resp(is_armed),
            Some(Language::Tds) => self.next_tds(is_armed),
            Some(Language::Foreign) | None => self.next_foreign(),
        }
    }

    fn next_foreign(&mut self) -> Next {
        self.language = Some(Language::Foreign);
        let rest = self.rest();
        if rest.is_empty() { Next::Wait } else { Next::Forward(rest) }
    }

    fn next_tds(&mut self, is_armed: bool) -> Next {
        match tds::message(&self.buffer) {
            tds::Parsed::Incomplete => Next::Wait,
            tds::Parsed::Foreign => self.next_foreign(),
            tds::Parsed::Message(length) => {
                let message: Vec<u8> = self.buffer.drain(..length).collect();
                self.count += u64::from(tds::is_statement(&message));
                if is_armed && tds::appends_to_stream_0(&message) {
                    Next::Frame(message)
                } else {
                    Next::Forward(message)
                }
            }
        }
    }

    fn next_resp(&mut self, is_armed: bool) -> Next {
        loop {
            let unread = self.buffer.get(self.whole..).unwrap_or_default();
            let (request, length) = match parse(unread) {
                Parsed::Request(request, length) => (request, length),
                Parsed::Incomplete => return self.forward_unless_held(),
                _ => return self.next_foreign(),
            };
            let is = |name: &[u8]| request.first().is_some_and(|first| first.eq_ignore_ascii_case(name));
            let (begins, ends, is_dropped) = (is(b"MULTI"), is(b"EXEC"), is(b"DISCARD"));
            let is_frame = appended_frame(&request).is_some_and(|key| key.ends_with(b":stream:0"));
            if is_armed && (begins || is_frame) && !self.holds {
                if self.whole > 0 {
                    // What comes before is no part of it; this request is looked at again.
                    return self.forward_unless_held();
                }
                self.holds = true;
            }
            self.whole += length;
            self.count += 1;
            self.is_in_transaction = (self.is_in_transaction || begins) && !ends && !is_dropped;
            self.has_frame = (self.has_frame || (is_frame && self.holds)) && !is_dropped;
            if self.holds && !self.is_in_transaction {
                self.holds = false;
                let unit = self.take_whole();
                return if std::mem::take(&mut self.has_frame) {
                    Next::Frame(unit)
                } else {
                    Next::Forward(unit)
                };
            }
        }
    }

    fn forward_unless_held(&mut self) -> Next {
        if self.holds || self.whole == 0 { Next::Wait } else { Next::Forward(self.take_whole()) }
    }

    fn take_whole(&mut self) -> Vec<u8> {
        self.buffer.drain(..std::mem::take(&mut self.whole)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::resp::write;

    fn bytes(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            write(&line.split_whitespace().map(str::as_bytes).collect::<Vec<_>>(), &mut bytes);
        }
        bytes
    }

    const FRAME: [&str; 4] = ["MULTI", "XADD a:stream:0 5-* f x", "HSET last n 1", "EXEC"];
    const OTHER: [&str; 4] = ["MULTI", "XADD a:stream:1 5-* f x", "HSET last n 1", "EXEC"];

    /// What comes out where the bytes come in pieces of `size`.
    fn parts(lines: &[&[&str]], size: usize, is_armed: bool) -> Vec<Next> {
        let bytes = bytes(&lines.concat());
        let mut requests = Requests::default();
        let mut parts: Vec<Next> = Vec::new();
        for piece in bytes.chunks(size) {
            requests.push(piece);
            loop {
                match (requests.next(is_armed), parts.last_mut()) {
                    (Next::Wait, _) => break,
                    (Next::Forward(more), Some(Next::Forward(before))) => before.extend(more),
                    (next, _) => parts.push(next),
                }
            }
        }
        parts
    }

    #[test]
    fn a_frame_is_found_with_its_transaction_wherever_reads_end() {
        for size in [1, 7, 30, 1000] {
            let found = parts(&[&["PING"], &OTHER, &FRAME, &["PING"]], size, true);
            let before = bytes(&[&["PING"], &OTHER[..]].concat());
            let expected =
                [Next::Forward(before), Next::Frame(bytes(&FRAME)), Next::Forward(bytes(&["PING"]))];
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn nothing_is_a_frame_unless_armed() {
        assert_eq!(
            parts(&[&FRAME, &["PING"]], 9, false),
            [Next::Forward(bytes(&[&FRAME[..], &["PING"]].concat()))]
        );
    }

    #[test]
    fn a_lone_entry_is_a_frame() {
        let lone = ["XADD a:stream:0 5-* f x"];
        assert_eq!(parts(&[&lone, &["PING"]], 1000, true)[0], Next::Frame(bytes(&lone)));
    }

    #[test]
    fn an_opening_and_a_discarded_transaction_are_no_frames() {
        let opening = ["XADD a:stream:0 5-* o x"];
        assert_eq!(parts(&[&opening], 1000, true), [Next::Forward(bytes(&opening))]);
        let discarded = ["MULTI", "XADD a:stream:0 5-* f x", "DISCARD"];
        assert_eq!(parts(&[&discarded], 5, true), [Next::Forward(bytes(&discarded))]);
    }

    #[test]
    fn each_request_is_counted_once() {
        let mut requests = Requests::default();
        for piece in bytes(&[&["PING"], &OTHER[..], &FRAME, &["PING"]].concat()).chunks(7) {
            requests.push(piece);
            while requests.next(true) != Next::Wait {}
        }
        assert_eq!((requests.take_count(), requests.take_count()), (10, 0));
    }

    #[test]
    fn what_is_not_redis_passes() {
        let mut requests = Requests::default();
        for bytes in [&b"\x16\x03\x01"[..], b"*1\r\n$4\r\nPING\r\n"] {
            requests.push(bytes);
            assert_eq!(requests.next(true), Next::Forward(bytes.to_vec()));
            assert_eq!(requests.next(true), Next::Wait);
        }
    }
}
