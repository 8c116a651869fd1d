//! Microsoft's SDK of Service Bus for Python, which the emulator is checked by.
//!
//! It comes from Python's package index, each wheel by its digest, and is put into a virtual environment below `target/`.

use std::{env, path::PathBuf};

use crate::{
    steps::{Shell, Step},
    workspace::Workspace,
};

/// Tells the tests which interpreter has it. Where somebody has set it already, nothing is installed.
const PROGRAM: &str = "SCALEOUT_TEST_SERVICEBUS_PYTHON";

/// What is installed, and the script that says whether it is.
const SCRIPTS: &str = "crates/servicebus-emulator/tests/python";

/// What installs it where it is missing.
pub(crate) fn setup(workspace: &Workspace) -> Vec<Step> {
    let scripts = workspace.root().join(SCRIPTS);
    let script = |name: &str| scripts.join(name).to_string_lossy().into_owned();
    let python = program(workspace).to_string_lossy().into_owned();
    if env::var_os(PROGRAM).is_some() || Shell::new(&python, [script("installed.py")]).succeeds() {
        return Vec::new();
    }
    let folder = folder(workspace).to_string_lossy().into_owned();
    let environment = Shell::new("python3", ["-m", "venv", &folder]);
    let pip = Shell::new(&python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args([
        "--require-hashes",
        "--requirement",
        &script("requirements.txt"),
    ]);
    let without = "without it the emulator of Service Bus is not checked by Microsoft's SDK";
    vec![
        Step::attempt("virtual environment", environment, format!("needs python3 with venv; {without}")),
        Step::attempt(
            "SDK of Service Bus",
            pip,
            format!("needs python3, 3.10 or later, with pip and the package index; {without}"),
        ),
    ]
}

/// The same command, which finds the interpreter.
pub(crate) fn with_program(shell: Shell, workspace: &Workspace) -> Shell {
    if env::var_os(PROGRAM).is_some() {
        return shell;
    }
    shell.env(PROGRAM, program(workspace).to_string_lossy())
}

fn program(workspace: &Workspace) -> PathBuf {
    folder(workspace).join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("servicebus-python")
}
