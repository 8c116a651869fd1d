//! The official client of Socket.IO, which the adapter is tried by.
//!
//! It comes from the package index of Node.js, each package by its digest, and is put below `target/`.

use std::{env, fs, io, path::PathBuf};

use crate::{
    steps::{Shell, Step},
    workspace::Workspace,
};

/// Tells the tests which folder has it. Where somebody has set it already, nothing is installed.
const FOLDER: &str = "SCALEOUT_TEST_SOCKETIO_CLIENT";

/// What is installed, and the script that says whether it is.
const SCRIPTS: &str = "tests/socketio-client";

/// What installs it where it is missing.
pub(crate) fn setup(workspace: &Workspace) -> Option<Step> {
    let name = "client of Socket.IO";
    let without = "without it the Socket.IO adapter is not tried by the official client";
    if env::var_os(FOLDER).is_some() {
        return None;
    }
    if let Err(error) = copy_packages(workspace) {
        return Some(Step::skip(name, format!("cannot prepare a folder for it: {error}; {without}")));
    }
    let installed = workspace.root().join(SCRIPTS).join("installed.mjs").to_string_lossy().into_owned();
    let folder = folder(workspace).to_string_lossy().into_owned();
    if Shell::new("node", [&installed, &folder]).succeeds() {
        return None;
    }
    // Nothing of it has to run to be installed.
    let npm =
        Shell::new("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).args([folder]);
    Some(Step::attempt(
        name,
        npm,
        format!("needs Node.js, 20 or later, with npm and its package index; {without}"),
    ))
}

/// The same command, which finds the client.
pub(crate) fn with_folder(shell: Shell, workspace: &Workspace) -> Shell {
    if env::var_os(FOLDER).is_some() {
        return shell;
    }
    shell.env(FOLDER, folder(workspace).to_string_lossy())
}

/// What says which packages, so that nothing is installed into the sources.
fn copy_packages(workspace: &Workspace) -> io::Result<()> {
    let folder = folder(workspace);
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(workspace.root().join(SCRIPTS).join(file), folder.join(file))?;
    }
    Ok(())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("socketio-client")
}
