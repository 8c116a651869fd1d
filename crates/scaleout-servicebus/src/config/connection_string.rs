//! A connection string: `Endpoint=sb://host/;SharedAccessKeyName=…;SharedAccessKey=…`.
//!
//! Source: "ServiceBusConnectionStringProperties" in the documentation of Azure's SDK for .NET, and "Overview of the Azure
//! Service Bus emulator" for what belongs to the emulator. Values are not quoted there.

use scaleout_core::Error;

use crate::{
    config::{ServiceBusConfig, options::Options},
    token::Credential,
};

pub(super) fn parse(text: &str, given: Option<Credential>) -> Result<ServiceBusConfig, Error> {
    let mut options = Options::new(given);
    for item in text.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some((name, value)) => take(&mut options, name.trim(), value.trim()),
            None => options.reading.refuse(
                "a part of the text is not name=value (a connection string begins with Endpoint=sb://, a URL with \
                 servicebus://)",
            ),
        }
    }
    options.finish()
}

fn take(options: &mut Options, name: &str, value: &str) {
    match name.to_ascii_lowercase().as_str() {
        "endpoint" => take_endpoint(options, value),
        "usedevelopmentemulator" => {
            options.set("development_emulator", value);
        }
        "entitypath" => options.reading.refuse(
            "EntityPath is there: the policy is that of one topic or queue; take a connection string of the namespace \
             (az servicebus namespace authorization-rule keys list)",
        ),
        "transporttype" => {
            let protocol = match value.to_ascii_lowercase().as_str() {
                "amqp" | "amqptcp" => "amqp",
                "amqpwebsockets" | "amqpoverwebsocket" => "websocket",
                _ => {
                    options.reading.first("protocol");
                    return options.reading.refuse("TransportType is neither Amqp nor AmqpWebSockets");
                }
            };
            options.set("protocol", protocol);
        }
        "authentication" => options.reading.refuse(
            "Authentication is there: leave it out, and give a TokenProvider by ServiceBusConfig::parse_with",
        ),
        "runtimeport" | "managementport" | "stsendpoint" => options.reading.refuse(
            "RuntimePort, ManagementPort or StsEndpoint is there: this is a string of Service Bus for Windows Server",
        ),
        _ => match Options::canonical(name) {
            Some(name) => {
                options.set(name, value);
            }
            None => options.reading.refuse_unknown(name),
        },
    }
}

/// Reads `sb://host[:port][/]`, without telling a word of it.
fn take_endpoint(options: &mut Options, value: &str) {
    let begins = value.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let host = if begins { &value[SCHEME.len()..] } else { "" };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains('/') {
        options.reading.first("host");
        return options
            .reading
            .refuse("host cannot be read: Endpoint is not sb://<namespace>.servicebus.windows.net[:port]");
    }
    options.set_host(host);
}

const SCHEME: &str = "sb://";
