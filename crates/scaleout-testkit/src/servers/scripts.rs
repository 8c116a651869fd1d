//! Whether scripts in other languages find what they need.

use std::{
    io::ErrorKind,
    process::{Command, Output},
};

/// Runs the script that says whether all is there.
///
/// # Errors
/// What it said, or that there is nothing to run it with.
pub(super) fn check(mut installed: Command) -> Result<(), String> {
    let program = installed.get_program().display().to_string();
    match installed.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program} {}", said(&output))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!("there is no {program}")),
        Err(error) => Err(format!("cannot start {program}: {error}")),
    }
}

/// What a script that ended printed, on both outputs.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_is_told() {
        assert_eq!(check(Command::new("no-such-program")).unwrap_err(), "there is no no-such-program");
    }

    #[test]
    fn what_is_not_installed_is_told() {
        assert!(check(Command::new("false")).unwrap_err().starts_with("false"));
        assert_eq!(check(Command::new("true")), Ok(()));
    }
}
