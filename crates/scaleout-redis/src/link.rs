//! One connection to the server that holds a group's keys, made and checked.

use std::{fmt, sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use scaleout_core::{Error, ErrorKind};

use crate::{
    config::{RedisConfig, Topology},
    discover::Target,
    error::{from_redis, info_field, server_version},
};

/// A connection whose server is a master of a version that serves.
///
/// It never reconnects: whoever holds it makes a new one when it fails.
#[derive(Clone)]
pub(crate) struct Link {
    connection: MultiplexedConnection,
    /// The server imports the slot of our keys, and serves them only to who asks.
    asking: bool,
    /// The server's name for this connection; `None` where it does not tell.
    client: Option<i64>,
    /// The server process.
    run_id: Arc<str>,
}

/// A connection that another one replaces, and which must not append any more.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    run_id: Arc<str>,
    client: i64,
}

impl Link {
    pub(crate) async fn connect(
        config: &RedisConfig,
        target: &Target,
        name: &str,
        replaces: Option<&Replaced>,
    ) -> Result<Self, Error> {
        let mut link = Self::open(config, target).await?;
        link.greet(config, name, replaces).await?;
        Ok(link)
    }

    /// A connection that is logged in, to a server that may be any.
    pub(crate) async fn open(config: &RedisConfig, target: &Target) -> Result<Self, Error> {
        let settings =
            AsyncConnectionConfig::new().set_response_timeout(Some(response_timeout(config.liveness)));
        let connection = config.connect(&target.endpoint, false, settings).await?;
        Ok(Self { connection, asking: target.asking, client: None, run_id: "".into() })
    }

    /// Learns who the server is, and refuses one that cannot serve.
    async fn greet(
        &mut self,
        config: &RedisConfig,
        name: &str,
        replaces: Option<&Replaced>,
    ) -> Result<(), Error> {
        let mut greeting = redis::pipe();
        greeting.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        // These two make operations easier, and an account may lack them.
        greeting.cmd("CLIENT").arg("ID").cmd("CLIENT").arg("SETNAME").arg(name);
        if let Some(replaces) = replaces {
            // What that connection still has on its way must not land behind what this one is told.
            greeting.cmd("CLIENT").arg("KILL").arg("ID").arg(replaces.client);
        }
        let doing = "asking Redis for its version";
        let answers = self.run(&greeting).await.map_err(|error| from_redis(error, doing, config))?;
        let mut answers = answers.into_iter();
        let mut text = || -> Result<String, Error> {
            let answer = answers.next().unwrap_or(Value::Nil).extract_error();
            let answer = answer.map_err(|error| from_redis(error, doing, config))?;
            redis::from_redis_value(answer).map_err(|error| from_redis(error.into(), doing, config))
        };
        let (server, replication) = (text()?, text()?);
        self.client = match answers.next() {
            Some(Value::Int(client)) => Some(client),
            _ => None,
        };
        server_version(&server)?;
        check_mode(config, &server)?;
        check_role(&replication)?;
        let Some(run_id) = info_field(&server, "run_id") else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this Redis server tells no run_id (INFO server)",
            ));
        };
        self.run_id = run_id.into();
        if let Some(replaces) = replaces.filter(|replaces| replaces.run_id == self.run_id)
            && let Some(Value::ServerError(error)) = answers.nth(1)
            && error.code() == "NOPERM"
        {
            let client = replaces.client;
            tracing::debug!(client, "no permission to end the connection before (CLIENT KILL)");
        }
        Ok(())
    }

    /// Runs one command.
    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, RedisError> {
        if !self.asking {
            return self.connection.clone().send_packed_command(command).await?.extract_error();
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").add_command(command.clone());
        let mut answers = self.run(&pipeline).await?;
        answers.pop().unwrap_or(Value::Nil).extract_error()
    }

    /// Runs commands in one transaction, answering one value for `MULTI`, each command, and `EXEC`.
    pub(crate) async fn transaction(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let mut answers = self.run(commands).await?;
        if self.asking && !answers.is_empty() {
            answers.remove(0);
        }
        Ok(answers)
    }

    /// Begins a [`transaction`](Self::transaction), to be ended with `EXEC`.
    pub(crate) fn begin(&self) -> Pipeline {
        let mut commands = Pipeline::with_capacity(5);
        if self.asking {
            // It counts for all that is queued behind MULTI.
            commands.cmd("ASKING");
        }
        commands.cmd("MULTI");
        commands
    }

    /// Runs commands one behind the other; server errors are among the answers.
    pub(crate) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let count = commands.len();
        self.connection.clone().send_packed_commands(commands, 0, count).await
    }

    pub(crate) fn client(&self) -> Option<i64> {
        self.client
    }

    /// What a connection that takes this one's place has to end.
    pub(crate) fn replaced(&self) -> Option<Replaced> {
        let client = self.client?;
        Some(Replaced { run_id: Arc::clone(&self.run_id), client })
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("client", &self.client)
            .field("run_id", &self.run_id)
            .field("asking", &self.asking)
            .finish_non_exhaustive()
    }
}

/// How long a blocking read blocks, and a probe of an idle link follows the one before.
pub(crate) fn pulse(liveness: Duration) -> Duration {
    liveness / 2
}

/// How long an answer may take: a read that blocks gets its answer well within it.
fn response_timeout(liveness: Duration) -> Duration {
    liveness * 3 / 4
}

/// Whether the server is a member of a Cluster where the settings say so, by the reply of `INFO server`.
pub(crate) fn check_mode(config: &RedisConfig, server: &str) -> Result<(), Error> {
    let mode = info_field(server, "redis_mode");
    let problem = match (&config.topology, mode == Some("cluster")) {
        _ if mode == Some("sentinel") => {
            "this is a sentinel, which holds no keys; use redis+sentinel:// with the name of its master"
        }
        (Topology::Cluster { .. }, false) => {
            "the settings name a Redis Cluster, but cluster mode is off in this server; use redis:// for it"
        }
        (Topology::Standalone(_) | Topology::Sentinel { .. }, true) => {
            "this Redis server is a node of a cluster; use redis+cluster:// with it"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Config, problem))
}

/// Whether the server takes appends, by the reply of `INFO replication`.
pub(crate) fn check_role(replication: &str) -> Result<(), Error> {
    if info_field(replication, "role").is_some_and(|role| role != "master") {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "this Redis server is a read-only replica, not the master",
        ));
    }
    Ok(())
}
