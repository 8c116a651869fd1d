//! Scripts for Microsoft's SDK of Service Bus.

use std::{
    env,
    io::ErrorKind,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use super::skip::skip;

/// Names an interpreter that has the SDK; else the one on the path is looked at.
const PROGRAM: &str = "SCALEOUT_TEST_SERVICEBUS_PYTHON";

/// How `SCALEOUT_TEST_REQUIRE` names it.
const NAME: &str = "servicebus-python";

/// Scripts of one folder, and a Python interpreter that has what they need.
#[derive(Debug, Clone)]
pub struct PythonScripts {
    program: PathBuf,
    folder: PathBuf,
}

impl PythonScripts {
    /// The scripts of `folder`, where the interpreter has what the file `requirements.txt` there pins, by its
    /// `installed.py`; else `None`, and says aloud that `test` is skipped.
    ///
    /// # Panics
    /// Where it has not, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `servicebus-python`
    /// (comma-separated).
    #[must_use]
    pub fn of_servicebus(test: &str, folder: impl Into<PathBuf>) -> Option<Self> {
        let program = env::var_os(PROGRAM).unwrap_or_else(|| "python3".into());
        let scripts = Self { program: program.into(), folder: folder.into() };
        let Err(reason) = scripts.installed() else {
            return Some(scripts);
        };
        skip(test, NAME, &format!("{reason}; `cargo xtask test` installs it"));
        None
    }

    /// A command that runs one of the scripts, without input.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        // The folder belongs to the sources: nothing is compiled into it.
        command.arg("-B").arg(self.folder.join(script)).env("PYTHONUNBUFFERED", "1").stdin(Stdio::null());
        command
    }

    fn installed(&self) -> Result<(), String> {
        match self.command("installed.py").output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("{} {}", self.program.display(), said(&output))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(format!("there is no {}", self.program.display()))
            }
            Err(error) => Err(format!("cannot start {}: {error}", self.program.display())),
        }
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

    fn scripts(program: &str, script: &str) -> (tempfile::TempDir, PythonScripts) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("installed.py"), script).unwrap();
        let scripts = PythonScripts { program: program.into(), folder: folder.path().into() };
        (folder, scripts)
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_told() {
        let (_folder, scripts) = scripts("no-such-interpreter", "");
        assert_eq!(scripts.installed().unwrap_err(), "there is no no-such-interpreter");
    }

    #[test]
    fn what_is_not_installed_is_told() {
        // What stands in for the interpreter fails, whatever it is given.
        let (_folder, scripts) = scripts("false", "");
        assert!(scripts.installed().unwrap_err().starts_with("false"));
    }
}
