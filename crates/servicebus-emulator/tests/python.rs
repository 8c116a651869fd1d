//! Microsoft's SDK for Python against the emulator, by the scripts in `tests/python`.

use std::{fs, path::Path, process::Command};

use scaleout_testkit::servers::PythonScripts;
use servicebus_emulator::Emulator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_content_over_plain_amqp() {
    let Some(scripts) = scripts("the_sdk_is_content_over_plain_amqp") else {
        return;
    };
    conforms(&scripts, |_, _| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_content_over_tls() {
    let Some(scripts) = scripts("the_sdk_is_content_over_tls") else {
        return;
    };
    conforms(&scripts, |emulator, ca| through("amqps", emulator.amqps_port(), emulator, ca)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_content_over_websocket() {
    let Some(scripts) = scripts("the_sdk_is_content_over_websocket") else {
        return;
    };
    conforms(&scripts, |emulator, ca| through("wss", emulator.websocket_port(), emulator, ca)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_is_content_over_plain_websocket() {
    let Some(scripts) = scripts("the_sdk_is_content_over_plain_websocket") else {
        return;
    };
    conforms(&scripts, |emulator, ca| through("ws", emulator.plain_websocket_port(), emulator, ca)).await;
}

fn scripts(test: &str) -> Option<PythonScripts> {
    PythonScripts::of_servicebus(test, Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python"))
}

/// Arguments for a way to speak AMQP, with all management under TLS.
fn through(scheme: &str, port: u16, emulator: &Emulator, ca: &Path) -> Vec<String> {
    let management = emulator.https_port();
    vec![
        "--through".to_owned(),
        format!("{scheme}://127.0.0.1:{port}"),
        "--management".to_owned(),
        format!("https://127.0.0.1:{management}"),
        "--ca".to_owned(),
        ca.to_string_lossy().into_owned(),
    ]
}

/// # Panics
/// Where a case fails, with all that the script printed.
async fn conforms(scripts: &PythonScripts, arguments: impl FnOnce(&Emulator, &Path) -> Vec<String>) {
    let emulator = Emulator::builder().start().await.expect("free ports");
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, emulator.ca_pem()).expect("a file in it");
    let mut command = scripts.command("conformance.py");
    command.arg(emulator.connection_string()).args(arguments(&emulator, &ca));
    let said = tokio::task::spawn_blocking(move || finished(&mut command)).await.expect("no panic");
    emulator.stop().await;
    if let Err(said) = said {
        panic!("{said}");
    }
}

/// What the command printed; `Err` where it failed.
fn finished(command: &mut Command) -> Result<String, String> {
    let output = command.output().expect("Python");
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{said}\n{}", output.status)) }
}
