//! One rendering of the whole script, so that a review shows what changes for a database administrator.

use std::{env, fs, path::Path};

use super::{parts, target};

/// Set to write the files anew instead of comparing them.
const UPDATE: &str = "SCALEOUT_UPDATE_GOLDEN";

#[test]
fn the_script_is_as_it_was_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql/golden");
    for (name, text) in parts(&target("scaleout", "chat", 2), "somebody") {
        let path = folder.join(name).with_extension("sql");
        // The version of the crate is no change of the script.
        let text =
            text.replace(concat!("scaleout-sqlserver ", env!("CARGO_PKG_VERSION")), "scaleout-sqlserver");
        if env::var_os(UPDATE).is_some() {
            fs::write(&path, &text).unwrap();
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        let differs = reviewed.lines().zip(text.lines()).position(|(was, is)| was != is);
        assert!(
            reviewed == text,
            "{name} differs from line {} on; if that is meant, run this test with {UPDATE}=1 and commit the files",
            differs.unwrap_or_else(|| reviewed.lines().count().min(text.lines().count())) + 1,
        );
    }
}
