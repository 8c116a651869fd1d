//! Faults by HTTP, and what the emulator holds: `/$emulator/faults` and `/$emulator/state`.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::spawn;

use super::{Call, answer::Answer};
use crate::{
    context::Context,
    namespace::{Refusal, SubscriptionInfo, TopicInfo},
};

/// The longest schedule that can be asked for.
const MAX_RUN: Duration = Duration::from_secs(24 * 3600);

/// What `/$emulator/faults` takes; see [`Faults`](crate::Faults) for what each does.
#[derive(Debug, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
enum Wish {
    KillConnections {},
    KillConnection {},
    Freeze {},
    Thaw {},
    /// Without an entity: everything.
    Detach {
        entity: Option<String>,
    },
    /// Without a count: until `clear`, or a count of 0.
    ServerBusy {
        count: Option<usize>,
    },
    Delay {
        millis: u64,
    },
    LoseOutcomes {
        count: usize,
    },
    CutDeliveries {
        count: usize,
    },
    DuplicateDeliveries {
        count: usize,
    },
    RefuseConnections {
        refuse: bool,
    },
    ExpireTokens {},
    DeleteEntity {
        entity: String,
    },
    Clock {
        seconds_ahead: i64,
    },
    Throttle {
        credits_per_second: Option<u64>,
    },
    Run {
        seed: u64,
        millis: u64,
    },
    Clear {},
}

/// Does what a request asks for. It needs no token, so that it can be asked for when no token is good.
pub(crate) async fn answer(call: &Call, context: &Context) -> Answer {
    let what = call.path.get(1).map(|part| part.to_lowercase());
    match (&call.method, what.as_deref()) {
        (&Method::GET, Some("state")) => json_answer(StatusCode::OK, &state(context)),
        (&Method::POST, Some("faults")) => match serde_json::from_slice(&call.body) {
            Ok(wish) => match grant(wish, context) {
                Ok(status) => Answer::new(status),
                Err(why) => Answer::refused(&why),
            },
            Err(error) => Answer::refused(&Refusal::Invalid(error.to_string())),
        },
        (_, Some("state" | "faults")) => Answer::error(405, 40500, "The method is not allowed here."),
        _ => Answer::refused(&Refusal::NotFound { entity: call.path.join("/") }),
    }
}

fn grant(wish: Wish, context: &Context) -> Result<StatusCode, Refusal> {
    let faults = &context.faults;
    match wish {
        Wish::KillConnections {} => {
            faults.kill_connections();
        }
        Wish::KillConnection {} => {
            faults.kill_connection();
        }
        Wish::Freeze {} => faults.freeze(),
        Wish::Thaw {} => faults.thaw(),
        Wish::Detach { entity: None } => faults.detach_all(),
        Wish::Detach { entity: Some(entity) } => faults.detach(&entity),
        Wish::ServerBusy { count: None } => faults.server_busy_until_told(true),
        Wish::ServerBusy { count: Some(count) } => faults.server_busy(count),
        Wish::Delay { millis } => faults.delay(Duration::from_millis(millis)),
        Wish::LoseOutcomes { count } => faults.lose_outcomes(count),
        Wish::CutDeliveries { count } => faults.cut_deliveries(count),
        Wish::DuplicateDeliveries { count } => faults.duplicate_deliveries(count),
        Wish::RefuseConnections { refuse } => faults.refuse_connections(refuse),
        Wish::ExpireTokens {} => faults.expire_tokens(),
        Wish::DeleteEntity { entity } => faults.delete_entity(&entity)?,
        Wish::Clock { seconds_ahead } => context.namespace.set_clock(seconds_ahead),
        Wish::Throttle { credits_per_second } => context.namespace.set_throttle(credits_per_second),
        Wish::Run { seed, millis } => {
            let (faults, duration) = (faults.clone(), Duration::from_millis(millis).min(MAX_RUN));
            spawn(async move { faults.run(seed, duration).await });
            return Ok(StatusCode::ACCEPTED);
        }
        Wish::Clear {} => faults.clear(),
    }
    Ok(StatusCode::OK)
}

fn state(context: &Context) -> Value {
    let topics = context.namespace.topics(0, usize::MAX);
    let topics: Vec<Value> = topics.iter().map(|topic| describe_topic(context, topic)).collect();
    json!({ "figures": context.faults.figures(), "topics": topics })
}

fn describe_topic(context: &Context, topic: &TopicInfo) -> Value {
    // One that was deleted a moment ago has none.
    let subscriptions = context.namespace.subscriptions(&topic.name, 0, usize::MAX).unwrap_or_default();
    let subscriptions: Vec<Value> = subscriptions.iter().map(describe_subscription).collect();
    json!({
        "name": topic.name,
        "created_at": humantime::format_rfc3339_micros(topic.times.created_at).to_string(),
        "size_bytes": topic.size_bytes,
        "subscriptions": subscriptions,
    })
}

fn describe_subscription(subscription: &SubscriptionInfo) -> Value {
    let counts = subscription.counts;
    json!({
        "name": subscription.name,
        "active": counts.active,
        "locked": counts.locked,
        "deferred": counts.deferred,
        "dead_letter": counts.dead_letter,
        "receivers": subscription.receivers,
    })
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    Answer::new(status).with_body("application/json; charset=utf-8", value.to_string())
}
