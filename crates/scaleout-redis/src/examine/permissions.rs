//! What the user may do.
//!
//! Each command is tried in a form that changes nothing, on a key of the app that is not there: the server checks the
//! rights first. `ACL DRYRUN` would tell the same, to users who have a right that no node needs.

use redis::Cmd;
use scaleout_core::{Error, Finding};

use crate::{
    config::RedisConfig,
    error::{OPTIONAL_COMMANDS, Right, from_redis, key_pattern, missing_right, needed_commands, set_user},
    group::Group,
    link::Link,
};

const SUBJECT: &str = "permissions";

/// Adds a finding for each right that is missing, or one that none is.
pub(super) async fn look(
    config: &RedisConfig,
    link: &Link,
    group: &Group,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let optional = OPTIONAL_COMMANDS.iter().map(|(command, _)| *command);
    let mut commands: Vec<&str> = needed_commands(config).chain(optional).collect();
    // A transaction that could not be ended would take in whatever follows.
    commands.sort_by_key(|command| matches!(*command, "multi" | "exec"));
    let mut trials = redis::pipe();
    for command in &commands {
        trials.add_command(trial(config, group, command));
    }
    let answers =
        link.run(&trials).await.map_err(|error| from_redis(error, "trying the user's rights", config))?;

    let (before, user) = (findings.len(), set_user(config));
    let mut lacks_keys = false;
    for (command, answer) in commands.iter().zip(answers) {
        let Err(error) = answer.extract_error() else { continue };
        match missing_right(&error) {
            Some(Right::Keys) => lacks_keys = true,
            Some(Right::Command) => findings.push(missing(command, &user)),
            // It was allowed, and came to nothing, as it should.
            None if !is_unknown(&error) => {}
            None => findings.push(Finding::problem(
                "version",
                format!("the server has no command {command:?}"),
                "run Redis 7.0 or later, or Valkey 7.2 or later, with no command renamed that a node needs",
            )),
        }
    }
    if lacks_keys {
        let keys = key_pattern(config);
        findings.push(Finding::problem(
            SUBJECT,
            "the user may not read and write the keys of the app",
            format!("{user} {keys}"),
        ));
    }
    if findings.len() == before {
        findings.push(Finding::ok(SUBJECT, "the user may do all that a node does"));
    }
    Ok(())
}

fn missing(command: &str, user: &str) -> Finding {
    let fix = format!("{user} +{command}");
    match OPTIONAL_COMMANDS.iter().find(|(optional, _)| *optional == command) {
        Some((_, consequence)) => {
            let what = format!("the user may not run {command:?}: {consequence}");
            Finding::warning(SUBJECT, what, fix)
        }
        None => Finding::problem(SUBJECT, format!("the user may not run {command:?}"), fix),
    }
}

fn is_unknown(error: &redis::RedisError) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.contains("unknown command") || text.contains("unknown subcommand")
}

/// The command in a form that changes nothing.
fn trial(config: &RedisConfig, group: &Group, command: &str) -> Cmd {
    let (key, name) = (group.keys.examined(), group.name());
    let database = config.database.to_string();
    let words: &[&str] = match command {
        "info" => &["INFO", "server"],
        "eval" => &["EVAL", "return 1", "1", &key],
        "time" => &["TIME"],
        "expire" => &["EXPIRE", &key, "60"],
        // Only if it is there.
        "set" => &["SET", &key, "1", "XX"],
        "xinfo|stream" => &["XINFO", "STREAM", &key],
        "hget" => &["HGET", &key, "f"],
        // A field without its value, which is found wrong once the rights are not.
        "hset" => &["HSET", &key, "f", "v", "f"],
        "xadd" => &["XADD", &key, "NOMKSTREAM", "*", "f", "v"],
        "xrange" => &["XRANGE", &key, "-", "+", "COUNT", "1"],
        "xread" => &["XREAD", "COUNT", "1", "STREAMS", &key, "0"],
        "xtrim" => &["XTRIM", &key, "MAXLEN", "1"],
        "select" => &["SELECT", &database],
        "asking" | "multi" | "exec" => &[command],
        "cluster|keyslot" => &["CLUSTER", "KEYSLOT", &key],
        "cluster|slots" => &["CLUSTER", "SLOTS"],
        "client|id" => &["CLIENT", "ID"],
        // Connections count from 1.
        "client|kill" => &["CLIENT", "KILL", "ID", "0"],
        "client|unblock" => &["CLIENT", "UNBLOCK", "0"],
        "client|setname" => &["CLIENT", "SETNAME", &name],
        // `exists`, `hgetall`, `unlink`, `getex`, `xlen`.
        _ => &[command, &key],
    };
    let mut trial = Cmd::new();
    for word in words {
        trial.arg(word);
    }
    trial
}
