//! What a user of the server must be allowed.

use crate::config::{RedisConfig, Topology};

/// The line that grants what `config` needs, and nothing else. It keeps the passwords of the user.
///
/// `CLIENT SETINFO` is not part of it: Redis 7.0 does not know it, and its refusal is ignored.
pub(crate) fn minimal_acl(config: &RedisConfig) -> String {
    let user = config.username.as_deref().unwrap_or("default");
    // A name with spaces cannot be written in a line.
    let user = if user.bytes().all(|byte| byte.is_ascii_graphic()) { user } else { "<user>" };
    let mut line = format!(
        "ACL SETUSER {user} on resetkeys ~{}:{{{}:*}}* resetchannels -@all",
        config.key_prefix, config.app
    );
    let mut grant = |commands: &[&str]| {
        for command in commands {
            line.push_str(" +");
            line.push_str(command);
        }
    };
    grant(COMMANDS);
    if config.database != 0 {
        grant(&["select"]);
    }
    if matches!(config.topology, Topology::Cluster { .. }) {
        grant(&["asking", "cluster|keyslot", "cluster|slots"]);
    }
    grant(OPTIONAL_COMMANDS);
    line
}

const COMMANDS: &[&str] = &[
    "info",
    // Opening, whose script needs a permission for each command it runs.
    "eval",
    "time",
    "exists",
    "expire",
    "hgetall",
    "set",
    "unlink",
    "xinfo|stream",
    // Sending.
    "multi",
    "exec",
    "hget",
    "hset",
    "xadd",
    // Receiving.
    "getex",
    "xlen",
    "xrange",
    "xread",
];

/// Without these, things work less well: a late copy of a frame may reach fresh nodes (`client|id`, `client|kill`), a new
/// reception waits for half of `liveness` at most (`client|unblock`), connections have no names, and where nobody
/// publishes, old entries stay until somebody does, or the key expires (`xtrim`).
const OPTIONAL_COMMANDS: &[&str] = &["client|id", "client|kill", "client|unblock", "client|setname", "xtrim"];
