//! Checks of the pages: links lead somewhere, promises name tests that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 5] = [".git", "target", "corpus", "artifacts", "node_modules"];

/// How the names of the cases of the conformance suite begin.
const CASES: [&str; 3] = ["rule_0", "rule_1", "promise_"];

/// Follows every relative link of every page to its file, and to its heading where it names one.
///
/// # Errors
/// With all links that lead nowhere.
pub(crate) fn check_links(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    for page in files(root, "md")? {
        let text = read(&page)?;
        for link in links(&text).into_iter().filter(|link| is_relative(link)) {
            if let Err(error) = follow(&page, link) {
                broken.push(format!("{}: {link}: {error}", shown(&page, root)));
            }
        }
    }
    fail_with("links that lead nowhere", &broken)
}

/// Holds `docs/guarantees.md` to the tests that there are.
///
/// A word in backticks with an underscore is the name of a test. In the tables, every cell right of the first column
/// names one, or says `planned` or `–`. Every case of the conformance suite is on the page.
///
/// # Errors
/// With all names of tests that are no function, all cells without one, all cases that are not there.
pub(crate) fn check_guarantees(root: &Path) -> Result<()> {
    let mut functions = BTreeSet::new();
    // The tests of this file speak of tests that do not exist.
    let is_other = |source: &PathBuf| !source.ends_with(file!());
    for source in files(root, "rs")?.into_iter().filter(is_other) {
        functions.extend(functions_of(&read(&source)?).map(str::to_owned));
    }
    let page = read(&root.join("docs/guarantees.md"))?;
    fail_with("in docs/guarantees.md", &unkept(&page, &functions))
}

fn unkept(page: &str, functions: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut lines = without_code_blocks(page).peekable();
    let mut named = BTreeSet::new();
    while let Some(line) = lines.next() {
        named.extend(test_names(line));
        let is_head = lines.peek().is_some_and(|next| is_rule(next));
        if !line.starts_with('|') || is_rule(line) || is_head {
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        for cell in &cells[1..] {
            if test_names(cell).next().is_none() && !cell.starts_with("planned") && !cell.starts_with('–') {
                problems.push(format!("no test is named for `{}`: {cell}", cells[0]));
            }
        }
    }
    let missing = named.iter().filter(|name| !functions.contains(**name));
    problems.extend(missing.map(|name| format!("there is no test `{name}`")));
    let is_case = |name: &&String| CASES.iter().any(|prefix| name.starts_with(prefix));
    let untold = functions.iter().filter(is_case).filter(|name| !named.contains(name.as_str()));
    problems.extend(untold.map(|name| format!("the case `{name}` is not on the page")));
    problems
}

fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let is_name =
        |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    text.split('`').skip(1).step_by(2).filter(is_name)
}

fn is_rule(row: &str) -> bool {
    row.starts_with('|') && row.chars().all(|c| "|-: ".contains(c))
}

fn functions_of(source: &str) -> impl Iterator<Item = &str> {
    source.split("fn ").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// The targets of inline links and of link definitions, outside of code.
fn links(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in without_code_blocks(page) {
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push(target.trim());
            continue;
        }
        // Every second piece is code: `](` inside of it is no link.
        let mut link_is_open = false;
        for (index, piece) in line.split('`').enumerate() {
            let is_code = index % 2 == 1;
            if is_code {
                continue;
            }
            for (position, part) in piece.split("](").enumerate() {
                if position > 0 || link_is_open {
                    found.extend(part.split_once(')').map(|(target, _)| target));
                }
                link_is_open = false;
            }
        }
    }
    found
}

fn without_code_blocks(page: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence && !line.starts_with("    ")
    })
}

/// Not a link to the web, and not one that rustdoc resolves and checks by itself.
fn is_relative(link: &str) -> bool {
    !link.contains("://") && !link.contains("::") && !link.starts_with("mailto:")
}

fn follow(page: &Path, link: &str) -> Result<()> {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        _ => page.parent().unwrap_or(page).join(file),
    };
    if !target.exists() {
        bail!("there is no such file");
    }
    if heading.is_empty() || target.extension().is_none_or(|extension| extension != "md") {
        return Ok(());
    }
    let text = read(&target)?;
    let headings = without_code_blocks(&text).filter(|line| line.starts_with('#'));
    if headings.map(|line| anchor(line.trim_start_matches('#'))).all(|anchor| anchor != heading) {
        bail!("there is no such heading");
    }
    Ok(())
}

/// The anchor of a heading, as code forges make them.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                found.extend(files(&path, extension)?);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn fail_with(what: &str, problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{what}:\n    {}", problems.join("\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code_only() {
        let page = "see [a](b.md) and [`c`](d.md#e), not `[f](g.md)`\n\n```\n[h](i.md)\n```\n    [j](k.md)\n[l]: m.md\n";
        assert_eq!(links(page), ["b.md", "d.md#e", "m.md"]);
        assert!(
            !is_relative("https://example.org/x")
                && !is_relative("crate::Bus")
                && is_relative("../README.md")
        );
    }

    #[test]
    fn headings_have_the_anchors_of_code_forges() {
        assert_eq!(anchor(" What is it, and why?"), "what-is-it-and-why");
        assert_eq!(anchor("`cargo xtask check`"), "cargo-xtask-check");
    }

    #[test]
    fn a_promise_without_an_existing_test_is_found() {
        let source = "async fn one_order() {}\nfn kept<T>() {}\nfn promise_of_more() {}";
        let functions: BTreeSet<_> = functions_of(source).map(str::to_owned).collect();
        let page = "\
            | Promise | memory | Redis |\n\
            | --- | --- | --- |\n\
            | order | yes: `one_order` | planned |\n\
            | repair | `no_such_test` | – |\n\
            | gaps | yes | planned |\n";
        assert_eq!(
            unkept(page, &functions),
            [
                "no test is named for `gaps`: yes",
                "there is no test `no_such_test`",
                "the case `promise_of_more` is not on the page"
            ]
        );
    }
}
