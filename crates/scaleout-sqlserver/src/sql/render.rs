//! Placeholders and what stands for them.
//!
//! - `$(name)` is an identifier: `[name]`, with `]` doubled;
//! - `$(name_text)` stands inside `N'…'`: the bare name, with `'` doubled;
//! - `$(name_in_text)` is an identifier inside `N'…'`: `[name]`, with `]` and then `'` doubled;
//! - numbers are rendered from integers alone;
//! - the lines between `-- $(each stream)` and `-- $(end)` are repeated for every stream, without the two.
//!
//! It is one pass, so that a name that looks like a placeholder stays a name.

use std::time::Duration;

use super::{COMPATIBLE_FROM, SCHEMA_VERSION, Target};

const EACH_STREAM: &str = "-- $(each stream)";
const END: &str = "-- $(end)";

/// What stands for the placeholders of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    target: &'a Target,
    stream: Option<u16>,
    lock_wait: Duration,
    principal: Option<&'a str>,
}

impl<'a> Values<'a> {
    pub(super) fn of(target: &'a Target) -> Self {
        Self { target, stream: None, lock_wait: Duration::ZERO, principal: None }
    }

    pub(super) fn with_stream(self, stream: u16) -> Self {
        Self { stream: Some(stream), ..self }
    }

    pub(super) fn with_lock_wait(self, lock_wait: Duration) -> Self {
        Self { lock_wait, ..self }
    }

    /// A user or role of the database that the file is about.
    pub(super) fn with_principal(self, principal: &'a str) -> Self {
        Self { principal: Some(principal), ..self }
    }

    /// The text of a file for these values.
    ///
    /// What it does not know stays as it is; a test sees to it that no file has such a thing.
    pub(super) fn render(&self, file: &str) -> String {
        let mut text = String::with_capacity(file.len());
        let mut lines = file.lines();
        while let Some(line) = lines.next() {
            if line.trim() != EACH_STREAM {
                self.render_line(line, &mut text);
                continue;
            }
            let block: Vec<_> = lines.by_ref().take_while(|line| line.trim() != END).collect();
            for stream in 0..self.target.table_count {
                block.iter().for_each(|line| self.with_stream(stream).render_line(line, &mut text));
            }
        }
        text
    }

    fn render_line(&self, line: &str, text: &mut String) {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("$(") {
            text.push_str(before);
            let known = after.split_once(')').and_then(|(name, after)| Some((self.value(name)?, after)));
            match known {
                Some((value, after)) => {
                    text.push_str(&value);
                    rest = after;
                }
                None => {
                    text.push_str("$(");
                    rest = after;
                }
            }
        }
        text.push_str(rest);
        text.push('\n');
    }

    fn value(&self, placeholder: &str) -> Option<String> {
        let number = match placeholder {
            "stream" => self.stream.map(u128::from),
            "table_count" => Some(self.target.table_count.into()),
            "schema_version" => Some(SCHEMA_VERSION.into()),
            "compatible_from" => Some(COMPATIBLE_FROM.into()),
            "lock_wait_ms" => Some(self.lock_wait.as_millis()),
            _ => None,
        };
        if let Some(number) = number {
            return Some(number.to_string());
        }
        if let Some(name) = placeholder.strip_suffix("_in_text") {
            return Some(text(&identifier(&self.name(name)?)));
        }
        if let Some(name) = placeholder.strip_suffix("_text") {
            return Some(text(&self.name(name)?));
        }
        Some(identifier(&self.name(placeholder)?))
    }

    fn name(&self, name: &str) -> Option<String> {
        let schema = &self.target.schema;
        match name {
            "schema" => Some(schema.clone()),
            "app" => Some(self.target.app.clone()),
            // Services are of the database, not of the schema: their names carry it.
            "ear_service" => Some(format!("scaleout/{schema}/ear")),
            "bell_service" => Some(format!("scaleout/{schema}/bell")),
            "owner" | "user" => self.principal.map(str::to_owned),
            _ => None,
        }
    }
}

/// A name as an identifier, whatever is in it.
pub(crate) fn identifier(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A value inside `N'…'`.
fn text(value: &str) -> String {
    value.replace('\'', "''")
}
