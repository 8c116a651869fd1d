//! Who opens an epoch, and what it is called.

use std::sync::Arc;

use redis::Value;
use scaleout_core::{BusConfig, StreamIndex};
use scaleout_redis::RedisBackplane;
use scaleout_testkit::{load::Load, servers::TcpProxy};

use crate::{Scene, channels, eventually, settings, traffic};

/// What every connection of a node runs.
const OPEN: &str = include_str!("../../src/open.lua");

impl Scene {
    /// Flushes, and opens the streams as a fresh node does, at once.
    ///
    /// It knows nothing of what was before, and whatever its clock says has no part in it.
    async fn flush_and_open(&self) {
        let streams = self.config.streams.get();
        let tag = "scaleout:{app:0}";
        let mut words = vec!["EVAL".to_owned(), format!("redis.call('FLUSHALL')\n{OPEN}")];
        words.push((streams + 2).to_string());
        words.extend([format!("{tag}:meta"), format!("{tag}:epoch")]);
        words.extend((0..streams).map(|stream| format!("{tag}:stream:{stream}")));
        let expiry = self.config.key_expiry.as_secs();
        words.extend([format!("v1 streams={streams} groups=1"), expiry.to_string(), format!("{tag}:last:")]);
        for stream in 0..streams {
            words.extend([stream.to_string(), "0".into(), "0".into(), "0".into(), "0".into()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer = self.command(&words).await;
        let Value::Array(values) = answer else { panic!("{answer:?}") };
        assert_eq!(values.len(), 4 * usize::from(streams));
    }

    async fn epoch(&self, stream: u16) -> u64 {
        self.log(StreamIndex(stream)).await.last().expect("an opening").epoch.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_a_node_opens_which_knows_nothing_is_greater_than_the_one_before_a_flush() {
    scaleout_testkit::needs_redis!();
    let scene = Scene::forgetful().await;
    let load = scene.load(3, 1_000).await;
    for _ in 0..2 {
        let before = scene.epoch(0).await;
        scene.flush_and_open().await;
        assert!(scene.epoch(0).await > before);
        load.flows().await;
    }
    scene.settle(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_reconnect_in_either_order_after_a_lossy_restart_and_no_id_means_two_things() {
    scaleout_testkit::needs_redis!();
    for lagging_first in [false, true] {
        let scene = Scene::durable().await;
        let mut proxies = Vec::new();
        let mut load = Load::new();
        for node in 0..2 {
            let proxy = TcpProxy::to_port(scene.server.port()).await.expect("a free port");
            let backplane = RedisBackplane::new(settings(proxy.port())).expect("settings that work");
            load.join(Arc::new(backplane), BusConfig::default()).await;
            load.listen(node, &channels());
            proxies.push(proxy);
        }
        for node in 0..2 {
            load.traffic(node, traffic(1_000));
        }
        for _ in 0..2 {
            load.flows().await;
            // From here on the second one lags: it neither gets nor sends anything.
            proxies[1].stall();
            let from = load.bus(0).counters().published;
            eventually("the first is ahead", async || load.bus(0).counters().published > from + 200).await;
            for proxy in &proxies {
                proxy.refuse().await;
                proxy.cut_all();
            }
            proxies[1].flow();
            let forgotten = scene.server.forget_last(4).await.expect("the server starts again");
            assert!(forgotten > 0);
            let order = if lagging_first { [1, 0] } else { [0, 1] };
            for node in order {
                proxies[node].accept().await.expect("its port is free");
                load.is_up(node).await;
                let published = load.bus(node).counters().published;
                eventually("it publishes again", async || {
                    load.bus(node).counters().published > published + 50
                })
                .await;
            }
        }
        load.flows().await;
        let verdict = scene.settle(load).await;
        let repaired: u64 = verdict.counters.iter().map(|counters| counters.repaired).sum();
        assert!(repaired > 0, "{:?}", verdict.counters);
    }
}
