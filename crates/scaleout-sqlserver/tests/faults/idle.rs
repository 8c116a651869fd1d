//! What nodes cost that have nothing to do.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use scaleout_sqlserver::{Notifications, SqlServerConfig};
use scaleout_testkit::load::Load;

use crate::{Scene, bus_config, eventually};

/// An idle node with default settings but for what `adapt` changes.
async fn idle(tables: u16, adapt: impl FnOnce(SqlServerConfig) -> SqlServerConfig) -> (Scene, Load) {
    let mut scene = Scene::woken().await;
    let config: SqlServerConfig = scene.server.url("app").parse().expect("its own URL");
    scene.config = adapt(config.with_table_count(NonZeroU16::new(tables).expect("not 0")));
    let mut load = Load::new();
    load.join(scene.node(), bus_config()).await;
    // Each stream is asked once what it holds of this node.
    eventually("all streams are asked", async || scene.server.requests_of("held") >= usize::from(tables))
        .await;
    (scene, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_doorbell_every_look_is_one_statement_whatever_the_number_of_tables() {
    const LOOKS: usize = 8;
    // By default: one look in 15 s, one wait in 30 s, and the janitor once in two minutes or so.
    for tables in [1, 64] {
        let beat = Duration::from_millis(250);
        let (scene, load) =
            idle(tables, |config| config.with_max_poll(beat).with_max_poll_with_broker(beat)).await;
        scene.all_are_armed(1).await;
        let began = Instant::now();
        let (requests, arms, waits) = counts(&scene);
        eventually("some looks", async || counts(&scene).1 >= arms + LOOKS).await;
        let (requests, arms, waits) = {
            let now = counts(&scene);
            (now.0 - requests, now.1 - arms, now.2 - waits)
        };
        // All else is waits, which take 30 s each; a look may come between the counts.
        assert!(requests <= arms + waits + 1, "{requests} requests, {arms} looks and {waits} waits");
        assert!(
            waits <= 1 + began.elapsed().as_secs() as usize / 30,
            "{waits} waits in {:?}",
            began.elapsed()
        );
        let most = began.elapsed().as_millis() / beat.as_millis() + 2;
        assert!(arms as u128 <= most, "{arms} looks in {:?}", began.elapsed());
        scene.settle(load).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_doorbell_every_poll_is_one_statement_whatever_the_number_of_tables() {
    const POLLS: usize = 8;
    for tables in [1, 64] {
        let beat = Duration::from_millis(250);
        let (scene, load) =
            idle(tables, |config| config.with_notifications(Notifications::PollOnly).with_max_poll(beat))
                .await;
        let reads = || scene.server.requests_of("read");
        eventually("polls have become slow", async || reads() >= 10).await;
        let began = Instant::now();
        let (requests_before, reads_before) = (scene.server.requests(), reads());
        eventually("some polls", async || reads() >= reads_before + POLLS).await;
        let (requests, polls) = (scene.server.requests() - requests_before, reads() - reads_before);
        assert!(requests <= polls + 1, "{requests} requests, {polls} polls");
        let most = began.elapsed().as_millis() / beat.as_millis() + 2;
        assert!(polls as u128 <= most, "{polls} polls in {:?}", began.elapsed());
        scene.settle(load).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more than two minutes: it counts what real time brings"]
async fn an_idle_node_sends_eight_statements_a_minute_at_most() {
    const MINUTES: u32 = 2;
    for (tables, is_polling) in [(1, false), (64, false), (4, true)] {
        let notifications = if is_polling { Notifications::PollOnly } else { Notifications::Auto };
        let (scene, load) = idle(tables, |config| config.with_notifications(notifications)).await;
        if is_polling {
            eventually("polls have become slow", async || scene.server.requests_of("read") >= 10).await;
        } else {
            scene.all_are_armed(1).await;
        }
        let before = scene.server.requests();
        tokio::time::sleep(MINUTES * Duration::from_secs(60)).await;
        let a_minute = (scene.server.requests() - before) as f64 / f64::from(MINUTES);
        println!("{tables} tables, polling {is_polling}: {a_minute} statements a minute");
        let most = if is_polling { 61.0 } else { 8.0 };
        assert!(a_minute <= most, "{a_minute} statements a minute");
        scene.settle(load).await;
    }
}

/// All requests, looks that arm, and waits.
fn counts(scene: &Scene) -> (usize, usize, usize) {
    (scene.server.requests(), scene.server.requests_of("arm"), scene.server.requests_of("wait"))
}
