//! Runs the emulator until it is interrupted: `servicebus-emulator --help`.

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Parser;
use servicebus_emulator::{Emulator, Endpoint, Right};
use tracing_subscriber::filter::LevelFilter;

/// Stands in for Azure Service Bus topics and subscriptions in development and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where AMQP listens, in plain text.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5672")]
    amqp: SocketAddr,
    /// Where management and REST listen, in plain text.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5300")]
    http: SocketAddr,
    /// Where AMQP listens, under TLS.
    #[arg(long, value_name = "ADDRESS")]
    amqps: Option<SocketAddr>,
    /// Where management and REST listen, under TLS.
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Where AMQP inside of WebSocket listens, under TLS.
    #[arg(long, value_name = "ADDRESS")]
    websocket: Option<SocketAddr>,
    /// Where AMQP inside of WebSocket listens, in plain text.
    #[arg(long, value_name = "ADDRESS")]
    plain_websocket: Option<SocketAddr>,
    /// A shared access key, with what it may do: manage (and everything else), send, listen, or several with a `+`
    /// between. Without any there is RootManageSharedAccessKey=SAS_KEY_VALUE.
    #[arg(long = "key", value_name = "NAME=KEY[:RIGHTS]")]
    keys: Vec<Key>,
    /// One more name or address for the certificate of the TLS listeners.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Where the certificate is written that clients have to trust for TLS, as PEM. It is another one at every start.
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// The longest message, and the longest batch, in bytes.
    #[arg(long, value_name = "BYTES")]
    max_message_bytes: Option<usize>,
    /// Throttles as the Standard tier does, which has 1000 credits per second.
    #[arg(long, value_name = "CREDITS")]
    throttle_credits_per_second: Option<u64>,
    /// After so many seconds without a transfer a link is detached; the service says 600.
    #[arg(long, value_name = "SECONDS")]
    link_idle: Option<u64>,
    /// What is written to the standard error: off, error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

/// A key, as the command line names it.
#[derive(Debug, Clone)]
struct Key {
    policy: String,
    text: String,
    rights: Vec<Right>,
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (policy, rest) = text.split_once('=').ok_or("a key is written NAME=KEY or NAME=KEY:RIGHTS")?;
        let (text, rights) = rest.rsplit_once(':').unwrap_or((rest, "manage"));
        if policy.is_empty() || text.is_empty() {
            return Err("neither the name nor the key may be empty".to_owned());
        }
        let rights = rights.split('+').map(|right| match right.to_lowercase().as_str() {
            "manage" => Ok(Right::Manage),
            "send" => Ok(Right::Send),
            "listen" => Ok(Right::Listen),
            other => Err(format!("'{other}' is no right; there are manage, send and listen")),
        });
        Ok(Self {
            policy: policy.to_owned(),
            text: text.to_owned(),
            rights: rights.collect::<Result<_, _>>()?,
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt().with_max_level(options.log).with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let mut builder = Emulator::builder();
    for (endpoint, address) in [
        (Endpoint::Amqp, Some(options.amqp)),
        (Endpoint::Http, Some(options.http)),
        (Endpoint::Amqps, options.amqps),
        (Endpoint::Https, options.https),
        (Endpoint::SecureWebSocket, options.websocket),
        (Endpoint::WebSocket, options.plain_websocket),
    ] {
        builder = match address {
            Some(address) => builder.listen(endpoint, address),
            None => builder.without(endpoint),
        };
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            eprintln!(
                "warning: {address} can be reached by others. Whoever reaches HTTP can delete everything and cause faults \
                 without any key; this emulator is for development and tests alone."
            );
        }
    }
    for Key { policy, text, rights } in &options.keys {
        builder = builder.key(policy, text, rights);
    }
    for name in &options.names {
        builder = builder.name(name);
    }
    if let Some(bytes) = options.max_message_bytes {
        builder = builder.max_message_bytes(bytes);
    }
    if let Some(credits) = options.throttle_credits_per_second {
        builder = builder.throttle_credits_per_second(credits);
    }
    if let Some(seconds) = options.link_idle {
        builder = builder.link_idle(Duration::from_secs(seconds));
    }
    let emulator = builder.start().await?;
    if let Some(file) = &options.ca_out {
        fs::write(file, emulator.ca_pem())
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    // Whoever started it reads this to know that it listens, and where.
    writeln!(io::stdout(), "{}", emulator.connection_string())?;
    tokio::signal::ctrl_c().await?;
    emulator.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_may_do() {
        let key: Key = "app=c2VjcmV0PT0=:send+listen".parse().expect("a key");
        assert_eq!((key.policy.as_str(), key.text.as_str()), ("app", "c2VjcmV0PT0="));
        assert_eq!(key.rights, [Right::Send, Right::Listen]);
        assert_eq!("root=x".parse::<Key>().expect("a key").rights, [Right::Manage]);
        for wrong in ["", "root", "root=", "=x", "root=x:", "root=x:everything"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }
}
