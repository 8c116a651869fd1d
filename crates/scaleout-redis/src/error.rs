//! From an error of the `redis` crate to ours.

use redis::RedisError;
use scaleout_core::{Error, ErrorKind};

pub(crate) fn from_redis(error: RedisError, doing: &str) -> Error {
    Error::new(ErrorKind::Unavailable, doing).with_source(error)
}
