//! Requests as clients of Redis send them, and as its append-only file holds them: arrays of bulk strings.

/// What begins a slice of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A whole request and its length in bytes.
    Request(Vec<&'a [u8]>, usize),
    /// The beginning of a request.
    Incomplete,
    /// Something else.
    Foreign,
}

/// Reads the request at the beginning of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut at = 0;
    let Some(count) = number(bytes, &mut at, b'*') else { return Parsed::Foreign };
    let Some(count) = count else { return Parsed::Incomplete };
    let mut arguments = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let Some(length) = number(bytes, &mut at, b'$') else { return Parsed::Foreign };
        let Some(length) = length else { return Parsed::Incomplete };
        let Some(argument) = bytes.get(at..at + length + 2) else { return Parsed::Incomplete };
        arguments.push(&argument[..length]);
        at += length + 2;
    }
    Parsed::Request(arguments, at)
}

/// Appends a request.
#[cfg(any(test, feature = "redis-server"))]
pub(super) fn write(arguments: &[&[u8]], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        into.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        into.extend_from_slice(argument);
        into.extend_from_slice(b"\r\n");
    }
}

/// The key to which a request appends a frame: an `XADD` whose first field is `f`.
///
/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] id field value …`
pub(super) fn appended_frame<'a>(request: &[&'a [u8]]) -> Option<&'a [u8]> {
    let [name, key, options @ ..] = request else { return None };
    if !name.eq_ignore_ascii_case(b"XADD") {
        return None;
    }
    let mut rest = options.iter().peekable();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"NOMKSTREAM") {
            continue;
        }
        if option.eq_ignore_ascii_case(b"MAXLEN") || option.eq_ignore_ascii_case(b"MINID") {
            rest.next_if(|sign| matches!(**sign, b"=" | b"~"));
            rest.next();
            continue;
        }
        if option.eq_ignore_ascii_case(b"LIMIT") {
            rest.next();
            continue;
        }
        // `option` is the id.
        return (rest.next() == Some(&&b"f"[..])).then_some(*key);
    }
    None
}

/// The number of a header line such as `$12`: outer `None` for anything else, inner `None` where it is not all there.
fn number(bytes: &[u8], at: &mut usize, sign: u8) -> Option<Option<usize>> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some((first, digits)) = rest.split_first() else { return Some(None) };
    if *first != sign {
        return None;
    }
    let Some(end) = digits.iter().position(|byte| !byte.is_ascii_digit()) else {
        return (digits.len() < 10).then_some(None);
    };
    let number = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    match &digits[end..] {
        [b'\r', b'\n', ..] => {
            *at += end + 3;
            Some(Some(number))
        }
        [b'\r'] => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &str) -> Vec<&[u8]> {
        words.split_whitespace().map(str::as_bytes).collect()
    }

    #[test]
    fn a_request_is_read_only_when_it_is_whole() {
        let mut bytes = Vec::new();
        write(&[b"SET", b"key", b"a\r\nb", b""], &mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::Incomplete, "{end}");
        }
        let length = bytes.len();
        bytes.extend_from_slice(b"*1");
        let expected: Vec<&[u8]> = vec![b"SET", b"key", b"a\r\nb", b""];
        assert_eq!(parse(&bytes), Parsed::Request(expected, length));
    }

    #[test]
    fn anything_else_is_foreign() {
        for bytes in
            [&b"PING\r\n"[..], b"\x16\x03\x01", b"*x\r\n", b"*1\r\n:1\r\n", b"*1\rx", b"*11111111111"]
        {
            assert_eq!(parse(bytes), Parsed::Foreign, "{bytes:?}");
        }
    }

    #[test]
    fn a_frame_is_an_entry_whose_first_field_is_f() {
        let lines = [
            ("XADD k 5-* f v", true),
            ("xadd k NOMKSTREAM MINID ~ 4-0 LIMIT 100 5-* f v", true),
            ("XADD k NOMKSTREAM MAXLEN 100 5-* f v", true),
            ("XADD k f o v", false),
            ("XADD k NOMKSTREAM 5-0 o f", false),
            ("HSET k f v", false),
            ("XADD k", false),
        ];
        for (line, is_frame) in lines {
            assert_eq!(appended_frame(&request(line)), is_frame.then_some(&b"k"[..]), "{line}");
        }
    }
}
