//! `cargo xtask check`.

use std::{fs, path::Path};

use anyhow::{Result, bail};

use crate::{
    docs, scriptdom, setup,
    steps::{Shell, Step, run_all},
    workspace::Workspace,
};

/// Examples that are built and not run, and why.
const EXAMPLES_NOT_RUN: [(&str, &str); 3] = [
    ("chat", "it serves until it is stopped; the tests drive it"),
    ("notify", "it serves until it is stopped; the tests drive it"),
    ("socketio_chat", "it serves until it is stopped; the tests drive it"),
];

/// Arguments with which examples end by themselves.
const EXAMPLES_WITH_ARGUMENTS: [(&str, &[&str]); 1] = [("metrics", &["--once"])];

/// Beginnings of the names of packages that `scaleout-core` and `scaleout-cluster` must never depend on.
const STORES_AND_FRAMEWORKS: [&str; 18] = [
    "actix",
    "async-nats",
    "axum",
    "azure",
    "fe2o3",
    "fred",
    "hyper",
    "lapin",
    "poem",
    "rdkafka",
    "redis",
    "reqwest",
    "rocket",
    "socketioxide",
    "sqlx",
    "tiberius",
    "tungstenite",
    "warp",
];

/// Features of this name need more than Rust and a C compiler to be built.
const KERBEROS: &str = "kerberos";

/// Seconds for which each fuzz target runs here; long runs are done by hand.
const FUZZ_SECONDS: u32 = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leaves out the fuzz smoke run, which builds everything again on a nightly toolchain.
    #[arg(long)]
    no_fuzz: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let root = workspace.root();
    let kerberos = setup::kerberos(&root);
    let all_features = match &kerberos {
        Ok(()) => vec!["--all-features".to_owned()],
        Err(_) => vec!["--features".to_owned(), workspace.features_but(KERBEROS)],
    };
    let mut steps = vec![
        Step::call("links in the docs", docs::check_links),
        Step::call("tests named in docs/guarantees.md", docs::check_guarantees),
        Step::call("dependencies of scaleout-core and scaleout-cluster", check_core_is_lean),
        Step::run("format", Shell::cargo(["fmt", "--all", "--check"])),
        Step::run(
            "lints",
            Shell::cargo(["clippy", "--locked", "--workspace", "--all-targets"])
                .args(all_features.clone())
                .args(["--", "-D", "warnings"]),
        ),
        Step::run(
            "docs",
            Shell::cargo(["doc", "--locked", "--workspace", "--no-deps"])
                .args(all_features)
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    ];
    steps.extend(every_feature_alone(workspace, kerberos.as_ref().err()));
    steps.extend(examples(workspace));
    steps.extend(scriptdom::setup(workspace));
    steps.push(scriptdom::check(workspace));
    steps.push(packages(workspace));
    steps.push(licences());
    if !options.no_fuzz {
        steps.extend(fuzz_smoke(&root)?);
    }
    run_all("check", &root, steps)
}

/// With `no_kerberos`, features of that name are left out for this reason.
fn every_feature_alone(workspace: &Workspace, no_kerberos: Option<&String>) -> Vec<Step> {
    let mut steps = Vec::new();
    for package in workspace.published() {
        let name = package.name.as_str();
        let alone = Shell::cargo(["clippy", "--locked", "--package", name, "--no-default-features"]);
        let deny = ["--", "-D", "warnings"];
        steps.push(Step::run(format!("{name} without features"), alone.clone().args(deny)));
        let mut features: Vec<_> = package.features.keys().filter(|feature| *feature != "default").collect();
        features.sort();
        for feature in features {
            let title = format!("{name} with feature {feature} alone");
            steps.push(match no_kerberos.filter(|_| feature == KERBEROS) {
                Some(reason) => Step::skip(title, reason),
                None => Step::run(title, alone.clone().args(["--features", feature]).args(deny)),
            });
        }
    }
    steps
}

fn examples(workspace: &Workspace) -> Vec<Step> {
    let step = |(package, example)| {
        let arguments = ["--locked", "--package", package, "--example", example];
        match EXAMPLES_NOT_RUN.iter().find(|(name, _)| *name == example) {
            Some((_, why)) => Step::run(
                format!("example {example} builds ({why})"),
                Shell::cargo(["build"]).args(arguments),
            ),
            None => {
                let own = EXAMPLES_WITH_ARGUMENTS.iter().find(|(name, _)| *name == example);
                let own = own.map_or(&[][..], |(_, arguments)| arguments);
                let run = Shell::cargo(["run"]).args(arguments).args(["--"]).args(own.iter().copied());
                Step::run(format!("example {example} runs"), run)
            }
        }
    };
    workspace.examples().map(step).collect()
}

/// Whether every crate that is published can be, as far as its manifest and its files go; nothing is built.
fn packages(workspace: &Workspace) -> Step {
    let names = workspace.published().flat_map(|package| ["--package", package.name.as_str()]);
    let package =
        Shell::cargo(["package", "--locked", "--offline", "--allow-dirty", "--no-verify", "--quiet"]);
    Step::run("packages for the registry", package.args(names))
}

/// Licences, sources and doubles of dependencies; not the advisories, whose database has to be fetched.
fn licences() -> Step {
    let name = "licences and sources of dependencies";
    if !Shell::cargo(["deny", "--version"]).succeeds() {
        return Step::skip(name, "cargo-deny is not installed; `cargo install cargo-deny --locked` does it");
    }
    Step::run(name, Shell::cargo(["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}

fn fuzz_smoke(root: &Path) -> Result<Vec<Step>> {
    let targets = root.join("fuzz/fuzz_targets");
    if !targets.is_dir() {
        return Ok(vec![Step::skip("fuzz smoke", "there is no fuzz target")]);
    }
    // By way of rustup: the cargo that runs this tool is bound to its own toolchain.
    let fuzz = Shell::new("rustup", ["run", "nightly", "cargo", "fuzz"]);
    if !fuzz.clone().args(["--version"]).succeeds() {
        let reason = "needs a nightly toolchain and cargo-fuzz; docs/contributing.md tells how to get them";
        return Ok(vec![Step::skip("fuzz smoke", reason)]);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(targets)? {
        let path = entry?.path();
        if let (Some("rs"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    let step = |name: String| {
        let run = fuzz.clone().args(["run", &name, "--", &format!("-max_total_time={FUZZ_SECONDS}")]);
        Step::run(format!("fuzz smoke of {name}"), run)
    };
    Ok(names.into_iter().map(step).collect())
}

/// Core and cluster hold the ideas, providers and adapters hold the clients: nothing in the tree of the first two may be
/// one of theirs.
fn check_core_is_lean(root: &Path) -> Result<()> {
    for package in ["scaleout-core", "scaleout-cluster"] {
        let tree = Shell::cargo(["tree", "--locked", "--package", package, "--all-features"])
            .args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
            .output(root)?;
        let found = stores_and_frameworks(&tree);
        if !found.is_empty() {
            bail!("{package} depends on {}", found.join(", "));
        }
    }
    Ok(())
}

fn stores_and_frameworks(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| STORES_AND_FRAMEWORKS.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_client_in_the_tree_is_found() {
        let tree =
            "scaleout-core v0.1.0 (/x)\nbytes v1.11.0\nredis v1.8.0\naxum-core v0.5.0\nredis v1.8.0 (*)\n";
        assert_eq!(stores_and_frameworks(tree), ["redis", "axum-core", "redis"]);
        assert!(stores_and_frameworks("bytes v1.11.0\ntokio v1.48.0\n").is_empty());
    }
}
