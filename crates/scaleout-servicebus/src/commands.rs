//! Commands of the Azure CLI that mend what is found, with as much filled in as is known here.

use crate::{config::ServiceBusConfig, management::iso8601};

/// The name that commands know the namespace by.
pub(crate) fn namespace(config: &ServiceBusConfig) -> &str {
    match config.host.split_once('.') {
        Some((name, rest)) if rest.to_ascii_lowercase().starts_with("servicebus.") => name,
        _ => "<namespace>",
    }
}

/// The rights that a node needs, as the command takes them.
pub(crate) fn rights(config: &ServiceBusConfig) -> &'static str {
    if config.create_entities { "Manage Send Listen" } else { "Send Listen" }
}

/// Gives a policy the rights that a node needs.
pub(crate) fn give_rights(config: &ServiceBusConfig, policy: &str) -> String {
    format!(
        "az servicebus namespace authorization-rule update -n {policy} --namespace-name {} -g <group> --rights {}",
        namespace(config),
        rights(config),
    )
}

/// Shows the connection string of a policy, with its key.
pub(crate) fn show_key(config: &ServiceBusConfig, policy: &str) -> String {
    format!(
        "az servicebus namespace authorization-rule keys list -n {policy} --namespace-name {} -g <group> --query \
         primaryConnectionString -o tsv",
        namespace(config),
    )
}

/// Gives an identity a role.
pub(crate) fn give_role(config: &ServiceBusConfig, role: &str) -> String {
    format!(
        "az role assignment create --role \"Azure Service Bus Data {role}\" --assignee <object id> --scope <id of the \
         namespace {}>",
        namespace(config),
    )
}

/// Makes a topic as a node would.
pub(crate) fn create_topic(config: &ServiceBusConfig, name: &str) -> String {
    format!(
        "az servicebus topic create -n {name} --namespace-name {} -g <group> --enable-duplicate-detection true \
         --duplicate-detection-history-time-window {} --default-message-time-to-live {} --enable-partitioning false",
        namespace(config),
        iso8601(config.duplicate_window),
        iso8601(config.message_ttl),
    )
}

/// Changes a topic.
pub(crate) fn update_topic(config: &ServiceBusConfig, name: &str, change: &str) -> String {
    format!("az servicebus topic update -n {name} --namespace-name {} -g <group> {change}", namespace(config))
}

/// Deletes a topic.
pub(crate) fn delete_topic(config: &ServiceBusConfig, name: &str) -> String {
    format!("az servicebus topic delete -n {name} --namespace-name {} -g <group>", namespace(config))
}

/// Makes a subscription as a node without Manage needs it.
pub(crate) fn create_subscription(config: &ServiceBusConfig, topic: &str, name: &str) -> String {
    format!(
        "az servicebus topic subscription create -n {name} --topic-name {topic} --namespace-name {} -g <group> \
         --lock-duration {} --max-delivery-count {} --default-message-time-to-live {}",
        namespace(config),
        iso8601(config.lock_duration),
        config.max_delivery_count,
        iso8601(config.message_ttl),
    )
}

/// Changes a subscription.
pub(crate) fn update_subscription(
    config: &ServiceBusConfig,
    topic: &str,
    name: &str,
    change: &str,
) -> String {
    format!(
        "az servicebus topic subscription update -n {name} --topic-name {topic} --namespace-name {} -g <group> \
         {change}",
        namespace(config),
    )
}

/// Makes all that nodes without Manage need, by the template in the documentation.
pub(crate) fn deploy_entities(config: &ServiceBusConfig) -> String {
    format!(
        "az deployment group create -g <group> -f docs/providers/servicebus.bicep -p namespaceName={} -p app={} -p \
         topicPrefix={} -p topicCount={} -p nodes='[\"{}\"]'",
        namespace(config),
        config.app,
        config.topic_prefix,
        config.topic_count,
        config.subscription.as_deref().unwrap_or("<node>"),
    )
}
