//! What the tests and the checks need beside Rust.
//!
//! A provider whose tests start a real server adds a step here that installs that server on a fresh machine, for
//! instance from the packages of the distribution. The tests themselves start and stop it.

use std::{env, path::Path};

use crate::{
    node_packages, scriptdom, servicebus_sdk,
    steps::{Shell, Step},
    workspace::Workspace,
};

/// The steps that make a fresh machine ready for the tests.
pub(crate) fn steps(workspace: &Workspace) -> Vec<Step> {
    let mut steps = redis_server();
    steps.extend(scriptdom::setup(workspace));
    steps.extend(servicebus_sdk::setup(workspace));
    // It takes the most, and is asked for by what comes then.
    steps.extend(chromium());
    steps.extend(node_packages::ALL.iter().filter_map(|packages| packages.setup(workspace)));
    steps
}

fn redis_server() -> Vec<Step> {
    if Shell::new("redis-server", ["--version"]).succeeds() {
        return Vec::new();
    }
    of_the_distribution("redis-server", "install Redis or Valkey, 7.0 or later, so that `redis-server` runs")
}

/// The browser that the pages of the examples are tried in. Any that is there will do.
fn chromium() -> Vec<Step> {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let is_there = |name: &&str| Shell::new(name, ["--version"]).succeeds();
    if env::var_os("SCALEOUT_TEST_CHROMIUM").is_some() || NAMES.iter().any(is_there) {
        return Vec::new();
    }
    // Nothing else of the tests needs it, so that they run where it cannot be installed.
    match Installer::of_this_machine() {
        Ok(installer) => {
            let reason = "the package chromium of Debian; without it the pages of the examples are not tried in a browser";
            let [lists, package] = installer.install(&["chromium"]);
            let attempt = |name, shell| Step::attempt(name, shell, format!("needs {reason}"));
            vec![attempt("lists of packages, for chromium", lists), attempt("chromium", package)]
        }
        Err(_) => of_the_distribution("chromium", "install Chromium or Chrome, so that it is on the path"),
    }
}

/// Installs a package where that may be done, and says `by_hand` where it may not.
fn of_the_distribution(package: &'static str, by_hand: &str) -> Vec<Step> {
    match Installer::of_this_machine() {
        Ok(installer) => {
            let [lists, install] = installer.install(&[package]);
            vec![Step::run("lists of packages", lists), Step::run(package, install)]
        }
        Err(Refusal::NoApt) => vec![Step::skip(package, format!("there is no apt-get here; {by_hand}"))],
        Err(Refusal::NotRoot) => {
            let reason = format!("only root may install it; run `apt-get install {package}` as root");
            vec![Step::skip(package, reason)]
        }
    }
}

/// Sees to what features named `kerberos` need to be built: the headers of GSSAPI, and libclang to read them.
///
/// # Errors
/// With why they cannot be built here. Few need them, so that nothing else fails for it.
pub(crate) fn kerberos(root: &Path) -> Result<(), String> {
    packages(root, "features named kerberos", &["libclang-dev", "libkrb5-dev"])
}

/// Sees to what the server of the tests of the TDS client needs to be built: the headers of OpenSSL.
///
/// # Errors
/// With why it cannot be built here.
pub(crate) fn openssl(root: &Path) -> Result<(), String> {
    // Other systems have it in other packages; what is there is enough.
    if Shell::new("pkg-config", ["--exists", "openssl"]).succeeds() {
        return Ok(());
    }
    packages(root, "tests of the TDS client", &["libssl-dev", "pkg-config"])
}

/// Installs what is not there of these packages of Debian, for the sake of `what`.
fn packages(root: &Path, what: &str, names: &[&str]) -> Result<(), String> {
    let by_hand = || format!("needs the packages {} of Debian", names.join(" and "));
    // It fails where a package is not installed, or where this is no relative of Debian.
    if Shell::new("dpkg-query", ["--show"]).args(names.iter().copied()).succeeds() {
        return Ok(());
    }
    let installer = Installer::of_this_machine().map_err(|_| by_hand())?;
    for shell in installer.install(names) {
        println!("==> for {what}: {shell}");
        shell.run(root).map_err(|error| format!("{}, and `{shell}` fails: {error:#}", by_hand()))?;
    }
    Ok(())
}

/// Who may install packages of the distribution.
#[derive(Debug, Clone, Copy)]
enum Installer {
    Root,
    Sudo,
}

/// Why packages cannot be installed.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    NoApt,
    NotRoot,
}

impl Installer {
    fn of_this_machine() -> Result<Self, Refusal> {
        if !Shell::new("apt-get", ["--version"]).succeeds() {
            return Err(Refusal::NoApt);
        }
        let id = Shell::new("id", ["-u"]).output(Path::new("."));
        if id.is_ok_and(|id| id.trim() == "0") {
            return Ok(Self::Root);
        }
        if Shell::new("sudo", ["--version"]).succeeds() {
            return Ok(Self::Sudo);
        }
        Err(Refusal::NotRoot)
    }

    /// The commands that install `packages`; a fresh machine knows of no package before the first one.
    fn install(self, packages: &[&str]) -> [Shell; 2] {
        let apt = match self {
            Self::Root => Shell::new("env", ["DEBIAN_FRONTEND=noninteractive", "apt-get"]),
            Self::Sudo => Shell::new("sudo", ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]),
        };
        let install = apt.clone().args(["install", "--yes", "--no-install-recommends"]);
        [apt.args(["update"]), install.args(packages.iter().copied())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_does_without_sudo() {
        let install = |installer: Installer| installer.install(&["x", "y"]).map(|shell| shell.to_string());
        let [update, add] = install(Installer::Root);
        assert_eq!(update, "env DEBIAN_FRONTEND=noninteractive apt-get update");
        assert_eq!(
            add,
            "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends x y"
        );
        assert!(install(Installer::Sudo).iter().all(|line| line.starts_with("sudo env ")));
    }
}
