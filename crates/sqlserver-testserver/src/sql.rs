//! Texts to words: [`words`].

use std::fmt;

use crate::error::SqlError;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// A keyword or a name, as it was written.
    Plain(String),
    /// A name in brackets, without them.
    Bracketed(String),
    /// `@name` or `@@name`.
    Variable(String),
    /// `'...'` or `N'...'`, without quotes.
    Text(String),
    /// Digits, or `0x` and digits.
    Number(String),
    Symbol(char),
}

impl Word {
    pub(crate) fn is(&self, keyword: &str) -> bool {
        match self {
            Self::Plain(word) | Self::Variable(word) => word.eq_ignore_ascii_case(keyword),
            Self::Symbol(symbol) => keyword.chars().eq([*symbol]),
            _ => false,
        }
    }

    /// Of an object.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Plain(name) | Self::Bracketed(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(word) | Self::Variable(word) | Self::Number(word) => f.write_str(word),
            Self::Bracketed(name) => write!(f, "[{name}]"),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Symbol(symbol) => write!(f, "{symbol}"),
        }
    }
}

/// The words of a text, without what is only for people.
pub(crate) fn words(text: &str) -> Result<Vec<Word>, SqlError> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").ok_or_else(|| SqlError::not_t_sql("a comment without end"))?.1;
        } else if first == '[' {
            let (name, behind) = quoted(&rest[1..], ']')?;
            words.push(Word::Bracketed(name));
            rest = behind;
        } else if first == '\'' || rest.starts_with("N'") {
            let (text, behind) = quoted(&rest[rest.find('\'').map_or(1, |at| at + 1)..], '\'')?;
            words.push(Word::Text(text));
            rest = behind;
        } else if first.is_alphanumeric() || "_@#$".contains(first) {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "_@#$".contains(c))).unwrap_or(rest.len());
            let word = rest[..end].to_owned();
            words.push(match first {
                '@' => Word::Variable(word),
                _ if first.is_ascii_digit() => Word::Number(word),
                _ => Word::Plain(word),
            });
            rest = &rest[end..];
        } else {
            words.push(Word::Symbol(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(words)
}

/// `schema.name`, with or without brackets, and nothing else.
pub(crate) fn two_part_name(text: &str) -> Option<(String, String)> {
    let words = words(text).ok()?;
    let [schema, dot, name] = words.as_slice() else { return None };
    dot.is(".").then_some((schema.name()?.to_owned(), name.name()?.to_owned()))
}

/// What stands before the closing quote, and what comes behind it; a doubled quote is one of the text.
fn quoted(text: &str, close: char) -> Result<(String, &str), SqlError> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(close).ok_or_else(|| SqlError::not_t_sql("a quote without end"))?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(close) {
            Some(behind) => {
                value.push(close);
                rest = behind;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_texts_and_comments_are_told_apart() {
        let text = "-- no\nEXEC [a]]b].c @x = N'it''s -- this', 0x01; /* no */ IF @@TRANCOUNT>0";
        let words: Vec<String> = words(text).unwrap().iter().map(Word::to_string).collect();
        let expected = ["EXEC", "[a]b]", ".", "c", "@x", "=", "'it's -- this'", ",", "0x01", ";"];
        assert_eq!(words[..10], expected);
        assert_eq!(words[10..], ["IF", "@@TRANCOUNT", ">", "0"]);
    }

    #[test]
    fn a_procedure_has_a_schema() {
        assert_eq!(two_part_name("[a b].[c]"), Some(("a b".into(), "c".into())));
        assert_eq!(two_part_name("a.c"), Some(("a".into(), "c".into())));
        assert_eq!(two_part_name("c"), None);
        assert_eq!(two_part_name("a.b.c"), None);
        assert_eq!(two_part_name("[a"), None);
    }
}
