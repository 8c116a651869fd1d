//! As much of T-SQL's lexical structure as says where a name begins and ends.

/// A piece of T-SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `[…]`, without its quoting.
    Identifier(String),
    /// `'…'`, without its quoting.
    Text(String),
    /// Up to the end of the line.
    Comment(String),
    /// A word, a number or another character.
    Other(String),
}

/// # Panics
/// Where a text or an identifier does not end.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            let end = after.find(['\n', '\r']).unwrap_or(after.len());
            tokens.push(Token::Comment(after[..end].into()));
            rest = &after[end..];
        } else if first == '[' {
            let (name, after) = quoted(&rest[1..], ']');
            tokens.push(Token::Identifier(name));
            rest = after;
        } else if first == '\'' {
            let (text, after) = quoted(&rest[1..], '\'');
            tokens.push(Token::Text(text));
            rest = after;
        } else {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let word = rest.find(|c| !is_word(c)).filter(|end| *end > 0).unwrap_or(if is_word(first) {
                rest.len()
            } else {
                first.len_utf8()
            });
            if !first.is_whitespace() {
                tokens.push(Token::Other(rest[..word].into()));
            }
            rest = &rest[word..];
        }
    }
    tokens
}

/// What stands before the next `end` that is not doubled, and what follows it.
fn quoted(sql: &str, end: char) -> (String, &str) {
    let mut value = String::new();
    let mut chars = sql.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char != end {
            value.push(char);
        } else if chars.next_if(|(_, next)| *next == end).is_some() {
            value.push(end);
        } else {
            return (value, &sql[at + end.len_utf8()..]);
        }
    }
    panic!("no {end} ends {sql:?}");
}

#[test]
fn quoting_is_undone() {
    let expected = [
        Token::Other("EXEC".into()),
        Token::Other("N".into()),
        Token::Text("it's [a]".into()),
        Token::Identifier("b]c".into()),
        Token::Other(";".into()),
        Token::Comment(" it's".into()),
        Token::Other("x1".into()),
    ];
    assert_eq!(tokens("EXEC N'it''s [a]' [b]]c]; -- it's\nx1"), expected);
}
