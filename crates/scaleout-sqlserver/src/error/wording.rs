//! What a server's text names.
//!
//! A server answers in the language of the login. Names are in quotes in all of them; what else is looked for is found in
//! English alone, and does without elsewhere.

/// A server's text, taken apart.
#[derive(Debug)]
pub(super) struct Wording<'a> {
    text: &'a str,
    names: Vec<&'a str>,
}

impl<'a> Wording<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut names = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['\'', '"']) {
            let quote = &rest[start..=start];
            let begun = &rest[start + 1..];
            let Some(length) = begun.find(quote) else { break };
            names.push(&begun[..length]);
            rest = &begun[length + 1..];
        }
        Self { text, names }
    }

    /// The name at this place among all that are in quotes, if it can be one.
    pub(super) fn name(&self, index: usize) -> Option<&'a str> {
        self.names.get(index).copied().filter(|name| {
            // What is longer than an identifier, with its schema and database, or holds a line break is none.
            (1..=400).contains(&name.len()) && !name.chars().any(char::is_control)
        })
    }

    /// The permission: `EXECUTE` of "The EXECUTE permission was denied on …", `CREATE TABLE` of "CREATE TABLE permission
    /// denied in …".
    pub(super) fn permission(&self) -> Option<&'a str> {
        let (before, _) = self.text.split_once(" permission ")?;
        let permission = before.strip_prefix("The ").unwrap_or(before);
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte == b' ';
        ((1..=64).contains(&permission.len()) && permission.bytes().all(fits)).then_some(permission)
    }

    /// What cannot be found: `schema` of "Cannot find the schema 'x', because …".
    pub(super) fn missing(&self) -> Option<&'a str> {
        let (what, _) = self.text.strip_prefix("Cannot find the ")?.split_once(" '")?;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b' ';
        ((1..=32).contains(&what.len()) && what.bytes().all(fits)).then_some(what)
    }
}

/// `name` as it is written in a statement: `[name]`.
pub(super) fn identifier(name: &str) -> String {
    // A control character would break the line.
    let plain: String = name.chars().filter(|char| !char.is_control()).collect();
    format!("[{}]", plain.replace(']', "]]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_quotes() {
        let wording = Wording::of(
            "The EXECUTE permission was denied on the object 'publish_0', database 'app', schema \"scaleout\".",
        );
        assert_eq!(wording.permission(), Some("EXECUTE"));
        assert_eq!(
            [0, 1, 2, 3].map(|index| wording.name(index)),
            [Some("publish_0"), Some("app"), Some("scaleout"), None]
        );
        assert_eq!(
            Wording::of("CREATE TABLE permission denied in database 'app'.").permission(),
            Some("CREATE TABLE")
        );
        assert_eq!(Wording::of("Cannot find the schema 's', because it …").missing(), Some("schema"));
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        for text in ["", "'", "''", "'a\nb'", "\"a", "no permission at all"] {
            let wording = Wording::of(text);
            assert_eq!(
                (wording.name(0), wording.permission(), wording.missing()),
                (None, None, None),
                "{text}"
            );
        }
        assert_eq!(identifier("a]b\nc"), "[a]]bc]");
    }
}
