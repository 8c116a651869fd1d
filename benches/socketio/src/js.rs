//! The side in JavaScript: its packages, and how its nodes start.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::words::Spec;

const FILES: [(&str, &str); 3] = [
    ("node.mjs", include_str!("../js/node.mjs")),
    ("package.json", include_str!("../js/package.json")),
    (LOCK, include_str!("../js/package-lock.json")),
];

const LOCK: &str = "package-lock.json";

/// Says which packages are installed: it holds the lock file that they were installed by.
const INSTALLED: &str = "node_modules/.installed-by";

/// Beside what cargo builds.
pub fn folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("a program in a folder of cargo")?;
    let folder = target.join("socketio-js");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Installs the packages where they are not installed yet.
pub async fn install(folder: &Path) -> anyhow::Result<()> {
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    let lock = fs::read_to_string(folder.join(LOCK))?;
    if fs::read_to_string(folder.join(INSTALLED)).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let mut command = tokio::process::Command::new("npm");
    command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
    command.current_dir(folder).kill_on_drop(true);
    let output =
        command.output().await.context("npm, for the packages of socket.io (or `--skip socket.io`)")?;
    ensure!(output.status.success(), "npm: {}", String::from_utf8_lossy(&output.stderr));
    Ok(fs::write(folder.join(INSTALLED), lock)?)
}

/// Becomes a node in JavaScript; the folder of this process is the one that the packages are in.
pub fn become_node(spec: &Spec) -> anyhow::Result<()> {
    let error = Command::new("node").args(["node.mjs", &serde_json::to_string(spec)?]).exec();
    bail!("node does not start: {error}")
}
