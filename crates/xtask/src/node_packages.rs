//! What scripts of the tests need of the package index of Node.js: each package by its digest, put below `target/`.

use std::{env, fs, io, path::PathBuf};

use crate::{
    steps::{Shell, Step},
    workspace::Workspace,
};

/// The packages of one folder of scripts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodePackages {
    /// What they are, for those who read the output.
    name: &'static str,
    /// The scripts; `package.json` there says which packages, `installed.mjs` whether they are there.
    scripts: &'static str,
    /// Where they are put, below `target/`.
    folder: &'static str,
    /// Tells the tests which folder has them. Where somebody has set it already, nothing is installed.
    variable: &'static str,
    /// What is missed without them.
    without: &'static str,
}

/// All of them.
pub(crate) const ALL: [NodePackages; 2] = [
    NodePackages {
        name: "client of Socket.IO",
        scripts: "tests/socketio-client",
        folder: "socketio-client",
        variable: "SCALEOUT_TEST_SOCKETIO_CLIENT",
        without: "without it the Socket.IO adapter is not tried by the official client",
    },
    NodePackages {
        name: "what drives a browser",
        scripts: "tests/browser",
        folder: "browser",
        variable: "SCALEOUT_TEST_BROWSER",
        without: "without it the pages of the examples are not tried in a browser",
    },
];

impl NodePackages {
    /// What installs them where they are missing.
    pub(crate) fn setup(self, workspace: &Workspace) -> Option<Step> {
        let Self { name, scripts, variable, without, .. } = self;
        if env::var_os(variable).is_some() {
            return None;
        }
        if let Err(error) = self.copy(workspace) {
            return Some(Step::skip(name, format!("cannot prepare a folder for it: {error}; {without}")));
        }
        let installed = workspace.root().join(scripts).join("installed.mjs").to_string_lossy().into_owned();
        let folder = self.folder(workspace).to_string_lossy().into_owned();
        if Shell::new("node", [&installed, &folder]).succeeds() {
            return None;
        }
        // Nothing of it has to run to be installed.
        let npm = Shell::new("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .args([folder]);
        let reason = format!("needs Node.js, 20 or later, with npm and its package index; {without}");
        Some(Step::attempt(name, npm, reason))
    }

    /// The same command, which finds them.
    pub(crate) fn with_folder(self, shell: Shell, workspace: &Workspace) -> Shell {
        if env::var_os(self.variable).is_some() {
            return shell;
        }
        shell.env(self.variable, self.folder(workspace).to_string_lossy())
    }

    /// What says which packages, so that nothing is installed into the sources.
    fn copy(self, workspace: &Workspace) -> io::Result<()> {
        let folder = self.folder(workspace);
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(workspace.root().join(self.scripts).join(file), folder.join(file))?;
        }
        Ok(())
    }

    fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace.target().join(self.folder)
    }
}
