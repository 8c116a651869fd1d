//! From an error of the `redis` crate to ours.

use redis::RedisError;
use scaleout_core::{Error, ErrorKind};

use crate::RedisConfig;

pub(crate) fn from_redis(error: RedisError, doing: &str, _config: &RedisConfig) -> Error {
    Error::new(ErrorKind::Unavailable, doing).with_source(error)
}
pub(crate) fn server_version(_info: &str) -> Result<(), Error> {
    Ok(())
}
