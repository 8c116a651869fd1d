//! The chat and the notifications in a real browser: pages on two processes, over a real Redis server.
//!
//! What the pages do is in `browser/chat.mjs` and `browser/notify.mjs`; pictures of them are kept in `target/screenshots`.
#![cfg(unix)]

use std::path::Path;

use scaleout_testkit::needs_redis;
use scaleout_tests::{Example, browser, stores::redis};

/// Runs one scenario, or ends a test that cannot run here.
async fn run(example: Example, scenario: &str, options: &[&str]) {
    needs_redis!();
    let Some(scripts) = browser::scripts(std::thread::current().name().unwrap_or("a test")) else { return };
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    browser::run(&scripts, example, &redis().await, &[scenario], options, pictures).await;
}

#[tokio::test]
async fn messages_cross_between_pages_of_two_nodes() {
    run(Example::Chat, "messages_cross", &[]).await;
}

#[tokio::test]
async fn a_page_whose_node_is_killed_goes_on_at_the_other_and_misses_nothing() {
    run(Example::Chat, "a_node_is_killed", &[]).await;
}

#[tokio::test]
async fn a_restart_of_redis_is_shown_and_what_was_written_meanwhile_comes_once_in_order() {
    run(Example::Chat, "the_store_restarts", &[]).await;
}

#[tokio::test]
async fn what_a_page_missed_is_told_in_a_line() {
    run(Example::Chat, "what_is_missing_is_told", &["--ring-bytes", "65536"]).await;
}

#[tokio::test]
async fn the_page_is_pictured_light_and_dark() {
    run(Example::Chat, "portraits", &[]).await;
}

#[tokio::test]
async fn toasts_come_up_on_every_page_and_what_was_missed_comes_later() {
    run(Example::Notify, "toasts", &[]).await;
}
