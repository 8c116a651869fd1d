//! The tests of the client library that the SQL Server provider is built on, against a server of canned answers.
//!
//! They are a workspace of their own, since that server needs OpenSSL; nothing else does.

use std::{env, path::Path};

use anyhow::{Result, bail};

use crate::{
    setup,
    steps::{Shell, Step},
    workspace::Workspace,
};

/// How `SCALEOUT_TEST_REQUIRE` names them.
const NAME: &str = "mock-tds";

const MANIFEST: &str = "tests/tds-client/Cargo.toml";

/// The tests, or word that they cannot run here.
///
/// # Errors
/// Where they cannot, and the environment demands them.
pub(crate) fn tests(workspace: &Workspace) -> Result<Step> {
    step(
        setup::openssl(&workspace.root()),
        &env::var("SCALEOUT_TEST_REQUIRE").unwrap_or_default(),
        &workspace.target(),
    )
}

fn step(openssl: Result<(), String>, required: &str, target: &Path) -> Result<Step> {
    let title = "tests of the TDS client";
    match openssl {
        Ok(()) => {
            let tests = Shell::cargo(["test", "--locked", "--manifest-path", MANIFEST]);
            Ok(Step::run(title, tests.args(["--target-dir".into(), target.to_string_lossy().into_owned()])))
        }
        Err(reason) if required.split(',').any(|entry| entry == "all" || entry == NAME) => {
            bail!("{title} were skipped, and SCALEOUT_TEST_REQUIRE demands {NAME}: {reason}")
        }
        Err(reason) => Ok(Step::skip(title, reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_skipped_unless_it_is_required() {
        let step = |required| step(Err("no OpenSSL".into()), required, Path::new("target"));
        assert!(step("").is_ok() && step("redis,scriptdom").is_ok());
        for required in ["all", "redis,mock-tds"] {
            let error = step(required).unwrap_err().to_string();
            assert!(error.contains("mock-tds") && error.contains("no OpenSSL"), "{error}");
        }
    }
}
