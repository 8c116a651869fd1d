//! The scenarios on a real Redis server.
#![cfg(unix)]

#[macro_use]
mod scenarios;

use scaleout_core::{Bus, BusBuilder};
use scaleout_redis::{RedisBackplane, RedisConfig};
use scaleout_testkit::servers::{RedisServer, redis_is_there};

use self::scenarios::world::Store;

scenarios!(super::open);

async fn open(test: &str) -> Option<Redis> {
    if !redis_is_there(test) {
        return None;
    }
    Some(Redis(RedisServer::builder().appendonly().start().await.expect("it starts")))
}

struct Redis(RedisServer);

const MAX_PAYLOAD_BYTES: usize = 4 << 20;

impl Store for Redis {
    fn bus(&self) -> BusBuilder {
        let config: RedisConfig = format!("{}?app=socketio-test", self.0.url()).parse().expect("a URL");
        let config = config.with_max_payload_bytes(MAX_PAYLOAD_BYTES);
        Bus::builder(RedisBackplane::new(config).expect("settings that work"))
    }

    async fn set_away(&self, away: bool) {
        match away {
            true => self.0.kill(),
            false => self.0.start().await.expect("it starts again"),
        }
    }

    fn max_message_bytes(&self) -> usize {
        MAX_PAYLOAD_BYTES
    }
}
