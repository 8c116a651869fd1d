//! Scripts that Node.js runs, for a client or a browser that they drive.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{scripts, skip::skip};

/// What scripts need beside Node.js.
#[derive(Debug, Clone, Copy)]
struct Need {
    /// How `SCALEOUT_TEST_REQUIRE` names it.
    name: &'static str,
    /// The environment variable that names a folder that has it installed; else that of the scripts is looked at.
    folder: &'static str,
}

const SOCKETIO: Need = Need { name: "socketio-client", folder: "SCALEOUT_TEST_SOCKETIO_CLIENT" };
const BROWSER: Need = Need { name: "browser", folder: "SCALEOUT_TEST_BROWSER" };

/// Scripts of one folder, and a folder in which Node.js finds what they need.
#[derive(Debug, Clone)]
pub struct JsScripts {
    folder: PathBuf,
    installed: PathBuf,
}

impl JsScripts {
    /// The scripts of `folder`, for the official client of Socket.IO: where Node.js and what `package.json` there pins are
    /// installed, by its `installed.mjs`; else `None`, and says aloud that `test` is skipped.
    ///
    /// # Panics
    /// Where they are not, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `socketio-client`
    /// (comma-separated).
    #[must_use]
    pub fn of_socketio(test: &str, folder: impl Into<PathBuf>) -> Option<Self> {
        Self::of(SOCKETIO, test, folder.into())
    }

    /// As [`of_socketio`](Self::of_socketio), for scripts that drive a browser, which must be there too.
    ///
    /// # Panics
    /// Where something is not, and the environment variable `SCALEOUT_TEST_REQUIRE` is `all` or names `browser`
    /// (comma-separated).
    #[must_use]
    pub fn of_browser(test: &str, folder: impl Into<PathBuf>) -> Option<Self> {
        Self::of(BROWSER, test, folder.into())
    }

    fn of(need: Need, test: &str, folder: PathBuf) -> Option<Self> {
        let installed = env::var_os(need.folder).map_or_else(|| folder.clone(), PathBuf::from);
        let scripts = Self { folder, installed };
        let Err(reason) = scripts.check() else {
            return Some(scripts);
        };
        skip(test, need.name, &format!("{reason}; `cargo xtask test` installs it"));
        None
    }

    /// A command that runs one of the scripts, without input.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(self.folder.join(script)).current_dir(&self.installed).stdin(Stdio::null());
        command
    }

    fn check(&self) -> Result<(), String> {
        // Else it would be Node.js that is said to be missing.
        if !self.installed.is_dir() {
            return Err(format!("there is no {}", self.installed.display()));
        }
        scripts::check(self.command("installed.mjs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let scripts = JsScripts { folder: "scripts".into(), installed: "no-such-folder".into() };
        assert_eq!(scripts.check().unwrap_err(), "there is no no-such-folder");
    }
}
