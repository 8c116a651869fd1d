//! ScriptDom, Microsoft's own parser of T-SQL, which reads every statement of the SQL Server provider.
//!
//! It comes as the program `maxdop`, in a wheel of Python's package index, and is put below `target/`.

use std::{env, path::PathBuf};

use crate::{
    steps::{Shell, Step},
    workspace::Workspace,
};

/// Young: pinned. Its version is in the folder's name, so that another one is installed beside it.
const VERSION: &str = "0.1.3";

/// Tells the tests where the program is. Where somebody has set it already, nothing is installed.
const PROGRAM: &str = "SCALEOUT_TEST_MAXDOP";

/// What installs the program where it is missing.
pub(crate) fn setup(workspace: &Workspace) -> Option<Step> {
    if env::var_os(PROGRAM).is_some() || program(workspace).is_file() {
        return None;
    }
    let folder = folder(workspace).to_string_lossy().into_owned();
    let pip = Shell::new("python3", ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--target", &folder, &format!("maxdop=={VERSION}")]);
    let reason = "needs python3 with pip and the package index; without it no statement of T-SQL is parsed";
    Some(Step::attempt("ScriptDom", pip, reason))
}

/// The same command, which finds the program.
pub(crate) fn with_program(shell: Shell, workspace: &Workspace) -> Shell {
    if env::var_os(PROGRAM).is_some() {
        return shell;
    }
    shell.env(PROGRAM, program(workspace).to_string_lossy())
}

/// What parses every statement.
pub(crate) fn check(workspace: &Workspace) -> Step {
    let tests = Shell::cargo(["test", "--locked", "--package", "scaleout-sqlserver", "--lib", "scriptdom"]);
    Step::run("T-SQL", with_program(tests, workspace))
}

fn program(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("bin/maxdop")
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join(format!("scriptdom-{VERSION}"))
}
