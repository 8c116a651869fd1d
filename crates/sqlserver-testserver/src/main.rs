//! Runs the test server until it is interrupted: `sqlserver-testserver [--port N] [--no-broker]`.

use std::{env, error::Error, process::ExitCode};

use sqlserver_testserver::TestServer;

const USAGE: &str = "usage: sqlserver-testserver [--port N] [--no-broker]";

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let mut builder = TestServer::builder();
    while let Some(argument) = arguments.next() {
        builder = match argument.as_str() {
            "--port" => builder.port(arguments.next().ok_or(USAGE)?.parse()?),
            "--no-broker" => builder.broker(false),
            _ => return Err(USAGE.into()),
        };
    }
    let server = builder.start().await?;
    println!("{}", server.url("app"));
    tokio::signal::ctrl_c().await?;
    Ok(())
}
