//! What a text form of settings said, and what is wrong with it: [`Reading`].

use super::shown;
use crate::{Error, ErrorKind};

/// What a text form has said so far, and what is wrong with it, each problem in words that begin with an option's name.
///
/// A provider keeps one beside the settings it fills, so that all problems are told at once.
#[derive(Debug, Default)]
pub struct Reading {
    seen: Vec<&'static str>,
    problems: Vec<String>,
}

impl Reading {
    /// Notes what is wrong.
    pub fn refuse(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Notes that there is no option `name`.
    pub fn refuse_unknown(&mut self, name: &str) {
        self.refuse(format!("there is no option {}", shown(name)));
    }

    /// Notes that the option `name` was given, and refuses it the second time.
    pub fn first(&mut self, name: &'static str) -> bool {
        if self.said(name) {
            self.refuse(format!("{name} is given twice"));
            return false;
        }
        self.seen.push(name);
        true
    }

    /// Notes what came of reading the option `name`.
    pub fn took(&mut self, name: &str, outcome: Result<(), String>) {
        if let Err(problem) = outcome {
            self.refuse(format!("{name} {problem}"));
        }
    }

    /// Whether the option `name` was given.
    #[must_use]
    pub fn said(&self, name: &str) -> bool {
        self.seen.contains(&name)
    }

    /// Whether the option `name` was given, and something is wrong with it.
    #[must_use]
    pub fn is_wrong(&self, name: &str) -> bool {
        self.said(name) && self.problems.iter().any(|problem| is_about(problem, name))
    }

    /// Notes that `app` was not given, if so.
    pub fn require_app(&mut self) {
        if !self.said("app") {
            self.refuse("app is missing: add app=<name>, of a-z, 0-9 and '-'");
        }
    }

    /// Adds `problems`, but those of the options that are `told`: what could not be read is not missing as well.
    pub fn refuse_more(&mut self, problems: Vec<String>, told: &[&str]) {
        self.problems
            .extend(problems.into_iter().filter(|problem| !told.iter().any(|name| is_about(problem, name))));
    }

    /// Refuses the settings of `store` if anything is wrong.
    ///
    /// # Errors
    /// As [`refuse_if_any`].
    pub fn finish(self, store: &str) -> Result<(), Error> {
        refuse_if_any(store, self.problems)
    }
}

/// Refuses the settings of `store` if there are `problems`.
///
/// # Errors
/// [`Config`](ErrorKind::Config), with every problem in one line.
pub fn refuse_if_any(store: &str, problems: Vec<String>) -> Result<(), Error> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("{store} settings: {}", problems.join("; "))))
}

/// Which of the options is written as `name`, in any case and without its underscores if need be.
pub fn canonical(options: impl IntoIterator<Item = &'static str>, name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let wanted = plain(name);
    options.into_iter().find(|option| plain(option) == wanted)
}

/// Sets a field to what was read, if it could be.
///
/// # Errors
/// What is wrong, in words that follow the option's name.
pub fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

/// Whether `problem` begins with the name of the option `name`.
fn is_about(problem: &str, name: &str) -> bool {
    problem.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '))
}
