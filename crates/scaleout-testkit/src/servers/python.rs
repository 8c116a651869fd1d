//! Scripts for Microsoft's SDK of Service Bus.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{scripts, skip::skip};

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
        let Err(reason) = scripts::check(scripts.command("installed.py")) else {
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
}
