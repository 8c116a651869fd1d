//! A real browser, as a script drives it, against two nodes of an example.

use std::path::{Path, PathBuf};

use scaleout_testkit::servers::JsScripts;

use crate::{ChatProcess, Example, scenarios::Store, script};

/// The scripts; `None`, said aloud, where there is no browser, or nothing that drives it.
#[must_use]
pub fn scripts(test: &str) -> Option<JsScripts> {
    JsScripts::of_browser(test, Path::new(env!("CARGO_MANIFEST_DIR")).join("browser"))
}

/// Runs scenarios of the scripts against two processes on `store`, with these options; and a worker, where there are jobs to
/// be done. Pages of the first one know of the other. Pictures go into `pictures`.
///
/// # Panics
/// Where a scenario fails, or a node does not stop cleanly in the end.
pub async fn run(
    scripts: &JsScripts,
    example: Example,
    store: &impl Store,
    scenarios: &[&str],
    options: &[&str],
    pictures: PathBuf,
) {
    let backplane = store.backplane();
    let part: &[&str] = if example == Example::Notify { &["--part", "web"] } else { &[] };
    let fixed = ["--node", "127.0.0.1:0", "--log", "error", "--backplane", &backplane];
    let options = [&fixed, part, options].concat();
    let mut second = ChatProcess::start_of(example, &options);
    let second_at = second.address().await.to_string();
    let mut first = ChatProcess::start_of(example, &[&options[..], &["--peer", &second_at]].concat());
    let first_at = first.address().await;
    let mut processes = vec![first, second];

    let mut command = scripts.command("e2e.mjs");
    command.args([format!("http://{first_at}"), format!("http://{second_at}")]).args(scenarios);
    command.env("SCREENSHOTS", pictures);
    let worker = ["--part", "worker", "--stdin", "--log", "error", "--backplane", &backplane];
    let mut worker = (example == Example::Notify).then(|| ChatProcess::start_of(example, &worker));
    script::run(command, async |asked: &str| match (asked.strip_prefix("job "), &mut worker) {
        (Some(job), Some(worker)) => worker.write(job).await,
        _ => script::change(store, &mut processes, asked).await,
    })
    .await;
    script::stop(processes.into_iter().chain(worker)).await;
}
