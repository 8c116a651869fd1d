//! What a user of the server must be allowed.

use crate::config::{RedisConfig, Topology};

/// The line that grants what `config` needs, and nothing else. It keeps the passwords of the user.
///
/// `CLIENT SETINFO` is not part of it: Redis 7.0 does not know it, and its refusal is ignored.
pub(crate) fn minimal_acl(config: &RedisConfig) -> String {
    let mut line = format!("{} on resetkeys {} resetchannels -@all", set_user(config), key_pattern(config));
    let optional = OPTIONAL_COMMANDS.iter().map(|(command, _)| *command);
    for command in needed_commands(config).chain(optional) {
        line.push_str(" +");
        line.push_str(command);
    }
    line
}

/// `ACL SETUSER` and the user of `config`; rules follow.
pub(crate) fn set_user(config: &RedisConfig) -> String {
    let user = config.username.as_deref().unwrap_or("default");
    // A name with spaces cannot be written in a line.
    let user = if user.bytes().all(|byte| byte.is_ascii_graphic()) { user } else { "<user>" };
    format!("ACL SETUSER {user}")
}

/// The rule for the keys of the app.
pub(crate) fn key_pattern(config: &RedisConfig) -> String {
    format!("~{}:{{{}:*}}*", config.key_prefix, config.app)
}

/// The commands that a node cannot do without.
pub(crate) fn needed_commands(config: &RedisConfig) -> impl Iterator<Item = &'static str> {
    let select: &[&str] = if config.database != 0 { &["select"] } else { &[] };
    let cluster: &[&str] = match config.topology {
        Topology::Cluster { .. } => &["asking", "cluster|keyslot", "cluster|slots"],
        _ => &[],
    };
    [COMMANDS, select, cluster].into_iter().flatten().copied()
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

/// What works without these too, though less well, and what then follows.
pub(crate) const OPTIONAL_COMMANDS: &[(&str, &str)] = &[
    ("client|id", LATE_COPIES),
    ("client|kill", LATE_COPIES),
    ("client|unblock", "a new reception waits for up to half of liveness"),
    ("client|setname", "connections have no names in CLIENT LIST"),
    ("xtrim", "where nobody publishes, old entries stay until somebody does, or the key expires"),
];

const LATE_COPIES: &str =
    "a late copy of a frame whose answer was lost may reach nodes that have just started";
