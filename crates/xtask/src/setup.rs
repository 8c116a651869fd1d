//! What the tests need beside Rust.
//!
//! A provider whose tests start a real server adds a step here that installs that server on a fresh machine, for
//! instance from the packages of the distribution. The tests themselves start and stop it.

use std::path::Path;

use crate::{
    scriptdom,
    steps::{Shell, Step},
    workspace::Workspace,
};

/// The steps that make a fresh machine ready for the tests.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let mut steps = redis_server();
    steps.extend(scriptdom::setup(workspace));
    steps
}

fn redis_server() -> Vec<Step> {
    if Shell::new("redis-server", ["--version"]).succeeds() {
        return Vec::new();
    }
    match Installer::of_this_machine() {
        Ok(installer) => {
            let [lists, package] = installer.install("redis-server");
            vec![Step::run("lists of packages", lists), Step::run("redis-server", package)]
        }
        Err(reason) => vec![Step::skip("redis-server", reason)],
    }
}

/// Who may install packages of the distribution.
#[derive(Debug, Clone, Copy)]
enum Installer {
    Root,
    Sudo,
}

impl Installer {
    /// # Errors
    /// With what somebody has to do by hand.
    fn of_this_machine() -> Result<Self, &'static str> {
        if !Shell::new("apt-get", ["--version"]).succeeds() {
            return Err(
                "there is no apt-get here; install Redis or Valkey, 7.0 or later, so that `redis-server` runs",
            );
        }
        let id = Shell::new("id", ["-u"]).output(Path::new("."));
        if id.is_ok_and(|id| id.trim() == "0") {
            return Ok(Self::Root);
        }
        if Shell::new("sudo", ["--version"]).succeeds() {
            return Ok(Self::Sudo);
        }
        Err("only root may install it; run `apt-get install redis-server` as root")
    }

    /// The commands that install `package`; a fresh machine knows of no package before the first one.
    fn install(self, package: &str) -> [Shell; 2] {
        let apt = match self {
            Self::Root => Shell::new("env", ["DEBIAN_FRONTEND=noninteractive", "apt-get"]),
            Self::Sudo => Shell::new("sudo", ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]),
        };
        [apt.clone().args(["update"]), apt.args(["install", "--yes", "--no-install-recommends", package])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_does_without_sudo() {
        let install = |installer: Installer| installer.install("x").map(|shell| shell.to_string());
        let [update, add] = install(Installer::Root);
        assert_eq!(update, "env DEBIAN_FRONTEND=noninteractive apt-get update");
        assert_eq!(add, "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends x");
        assert!(install(Installer::Sudo).iter().all(|line| line.starts_with("sudo env ")));
    }
}
