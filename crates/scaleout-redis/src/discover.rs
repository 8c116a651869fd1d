//! Which server holds a group's keys at the moment.

use std::sync::{Mutex, MutexGuard};

use redis::{AsyncConnectionConfig, Cmd, RedisError, ServerErrorKind, Value};
use scaleout_core::{Error, ErrorKind};

use crate::{
    config::{Endpoint, RedisConfig, Topology},
    error::from_redis,
    group::lock,
};

/// A server to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// It does not own the slot of our keys yet.
    pub(crate) asking: bool,
}

/// What was learnt about where the keys are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    inner: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where the last `MOVED` or `ASK` pointed to.
    redirect: Option<Target>,
    /// Nodes of the cluster, or sentinels, that answered lately.
    nodes: Vec<Endpoint>,
}

impl Places {
    /// Takes note of an error that says where the keys are.
    pub(crate) fn note(&self, error: &RedisError) {
        let asking = match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::Moved) => false,
            redis::ErrorKind::Server(ServerErrorKind::Ask) => true,
            _ => return,
        };
        let Some((address, _)) = error.redirect_node() else { return };
        let Some((host, port)) = address.rsplit_once(':') else { return };
        let (false, Ok(port)) = (host.is_empty(), port.parse()) else { return };
        let endpoint = Endpoint::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port };
        self.lock().redirect = Some(Target { endpoint, asking });
    }

    /// The server to connect to now; `key` is one of the group's.
    pub(crate) async fn target(&self, config: &RedisConfig, key: &str) -> Result<Target, Error> {
        let given = match &config.topology {
            Topology::Standalone(endpoint) => {
                return Ok(Target { endpoint: endpoint.clone(), asking: false });
            }
            Topology::Sentinel { sentinels, .. } => sentinels,
            Topology::Cluster { seeds } => seeds,
        };
        if let Some(target) = self.lock().redirect.take() {
            return Ok(target);
        }
        let mut first_error = None;
        for node in self.nodes(given) {
            let found = match &config.topology {
                Topology::Sentinel { master, .. } => {
                    master_of(config, &node, master).await.map(|master| (master, vec![node]))
                }
                _ => owner_of(config, &node, key).await,
            };
            match found {
                Ok((endpoint, nodes)) => {
                    self.lock().nodes = nodes;
                    return Ok(Target { endpoint, asking: false });
                }
                // One that refuses says more than one that is down.
                Err(error) if error.is_fatal() => first_error = Some(error),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error
            .unwrap_or_else(|| Error::new(ErrorKind::Config, "no Redis server is named in the settings")))
    }

    /// The server that holds all keys, or in a Cluster all masters.
    pub(crate) async fn masters(&self, config: &RedisConfig, key: &str) -> Result<Vec<Target>, Error> {
        let target = self.target(config, key).await?;
        if !matches!(config.topology, Topology::Cluster { .. }) {
            return Ok(vec![target]);
        }
        let nodes = self.lock().nodes.clone();
        Ok(nodes.into_iter().map(|endpoint| Target { endpoint, asking: false }).collect())
    }

    /// Who may know, beginning with who answered lately.
    fn nodes(&self, given: &[Endpoint]) -> Vec<Endpoint> {
        let mut nodes = self.lock().nodes.clone();
        for node in given {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        nodes
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.inner)
    }
}

/// What a sentinel knows of the master.
async fn master_of(config: &RedisConfig, sentinel: &Endpoint, master: &str) -> Result<Endpoint, Error> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let doing = "asking a sentinel for the master";
    let answer = ask(config, sentinel, true, &command, doing).await?;
    let address: Option<(String, u16)> =
        redis::from_redis_value(answer).map_err(|error| from_redis(error.into(), doing, config))?;
    let Some((host, port)) = address else {
        let problem = format!("the sentinels know no master of the name {master:?}");
        return Err(Error::new(ErrorKind::Config, problem));
    };
    Ok(Endpoint::Tcp { host, port })
}

/// The master of the slot of `key`, and all masters.
async fn owner_of(
    config: &RedisConfig,
    node: &Endpoint,
    key: &str,
) -> Result<(Endpoint, Vec<Endpoint>), Error> {
    let doing = "asking a Redis Cluster for its slots";
    let slot = ask(config, node, false, redis::cmd("CLUSTER").arg("KEYSLOT").arg(key), doing).await?;
    let Value::Int(slot) = slot else { return Err(malformed(doing)) };
    let Value::Array(ranges) = ask(config, node, false, redis::cmd("CLUSTER").arg("SLOTS"), doing).await?
    else {
        return Err(malformed(doing));
    };
    let (mut owner, mut nodes) = (None, Vec::new());
    for range in ranges {
        let Value::Array(range) = range else { return Err(malformed(doing)) };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range.as_slice() else {
            return Err(malformed(doing));
        };
        let [host, Value::Int(port), ..] = master.as_slice() else { return Err(malformed(doing)) };
        let host: Option<String> =
            redis::from_redis_value_ref(host).map_err(|error| from_redis(error.into(), doing, config))?;
        let port = u16::try_from(*port).map_err(|_| malformed(doing))?;
        // A node that does not know its own address gives none: it is the one that was asked.
        let host = match (host.filter(|host| !host.is_empty() && host != "?"), node) {
            (Some(host), _) => host,
            (None, Endpoint::Tcp { host, .. }) => host.clone(),
            (None, Endpoint::Unix(_)) => return Err(malformed(doing)),
        };
        let endpoint = Endpoint::Tcp { host, port };
        if (*first..=*last).contains(&slot) {
            owner = Some(endpoint.clone());
        }
        if !nodes.contains(&endpoint) {
            nodes.push(endpoint);
        }
    }
    let owner = owner.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("nobody in the Redis Cluster owns slot {slot}"))
    })?;
    Ok((owner, nodes))
}

async fn ask(
    config: &RedisConfig,
    node: &Endpoint,
    is_sentinel: bool,
    command: &Cmd,
    doing: &str,
) -> Result<Value, Error> {
    let settings = AsyncConnectionConfig::new().set_response_timeout(Some(config.connect_timeout));
    let mut connection = config.connect(node, is_sentinel, settings).await?;
    let answer = connection.send_packed_command(command).await.and_then(Value::extract_error);
    answer.map_err(|error| from_redis(error, doing, config))
}

fn malformed(doing: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{doing}: the answer has an unknown form"))
}
