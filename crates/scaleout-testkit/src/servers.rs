//! Real servers for the tests of providers: started on free ports of this machine, gone with the test (Unix only).
//!
//! A server lives in a folder of its own below the system's folder for temporary files, listens on the loopback
//! interface alone, and ends with the value that stands for it, also where a test panics or its process is killed.
//!
//! ```no_run
//! use scaleout_testkit::servers::{RedisServer, redis_is_there};
//!
//! # async fn example() -> std::io::Result<()> {
//! if !redis_is_there("a_restart_is_survived") {
//!     return Ok(());
//! }
//! let server = RedisServer::builder().appendonly().start().await?;
//! println!("connect to {}", server.url());
//! server.kill();
//! server.start().await?;
//! # Ok(())
//! # }
//! ```

mod ca;
mod javascript;
mod ports;
#[cfg(feature = "redis-server")]
mod process;
mod proxy;
mod python;
#[cfg(feature = "redis-server")]
mod redis;
mod resp;
mod scripts;
mod servicebus;
mod skip;
mod sqlserver;
mod tds;

use std::time::Duration;

#[cfg(feature = "redis-server")]
pub use self::redis::{
    FakeRedis, RedisCluster, RedisClusterBuilder, RedisSentinels, RedisSentinelsBuilder, RedisServer,
    RedisServerBuilder, SlotMove, redis_is_there,
};
pub use self::{
    ca::TestCa,
    javascript::JsScripts,
    proxy::{Fate, TcpProxy},
    python::PythonScripts,
    servicebus::servicebus_settings,
    sqlserver::sqlserver_settings,
};

/// How often an event is looked for that nothing tells of.
const POLL: Duration = Duration::from_millis(10);
