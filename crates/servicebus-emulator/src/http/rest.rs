//! The data operations of the REST API: send, receive, and what is done with a lock.

mod properties;

use std::{future::pending, time::Duration};

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::timeout;
use uuid::Uuid;

use self::properties::{BrokerProperties, received, user_header, user_value};
use super::{Call, Cut, answer::Answer};
use crate::{
    codec::Value as AmqpValue,
    context::Context,
    faults::SendFate,
    message::{Body, Message},
    namespace::{Delivery, Incoming, Mode, Queue, Refusal, Settlement},
    sas::Right,
};

/// Says that a body is several messages.
const BATCH: &str = "application/vnd.microsoft.servicebus.json";

/// The longest that a receiver waits for a message, and how long it waits where nothing is said.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Headers that are no properties of a message; nor is what begins with `x-ms-` or `sec-`.
const STANDARD_HEADERS: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_CHARSET,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::HOST,
    header::ORIGIN,
    header::PRAGMA,
    header::REFERER,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    header::VIA,
];

/// What a request is about.
#[derive(Debug)]
pub(crate) enum Operation {
    /// `POST /{topic}/messages`
    Send { topic: String },
    /// `POST` (peek-lock) or `DELETE` `/{topic}/subscriptions/{subscription}/messages/head`
    Receive { from: Source, mode: Mode },
    /// `DELETE` (complete), `PUT` (unlock) or `POST` (renew) `…/messages/{id}/{lock}`
    Settle { from: Source, lock: String },
}

/// A subscription, as a path names it.
#[derive(Debug)]
pub(crate) struct Source {
    topic: String,
    subscription: String,
    queue: Queue,
}

impl Operation {
    /// `None`: it is no data operation.
    pub(crate) fn of(call: &Call) -> Option<Self> {
        let is = |part: &String, name: &str| part.eq_ignore_ascii_case(name);
        let place = call.path.iter().skip(1).position(|part| is(part, "messages"))? + 1;
        let (entity, rest) = (&call.path[..place], &call.path[place + 1..]);
        match (entity, rest) {
            ([topic], []) if call.method == Method::POST => Some(Self::Send { topic: topic.clone() }),
            (_, [head]) if is(head, "head") => {
                let mode = match call.method {
                    Method::POST => Mode::PeekLock,
                    Method::DELETE => Mode::ReceiveAndDelete,
                    _ => return None,
                };
                Some(Self::Receive { from: Source::of(entity)?, mode })
            }
            (_, [_, lock]) => Some(Self::Settle { from: Source::of(entity)?, lock: lock.clone() }),
            _ => None,
        }
    }
}

impl Source {
    fn of(path: &[String]) -> Option<Self> {
        let is = |part: &String, name: &str| part.eq_ignore_ascii_case(name);
        let (topic, subscription, queue) = match path {
            [topic, word, name] if is(word, "subscriptions") => (topic, name, Queue::Active),
            [topic, word, name, dead] if is(word, "subscriptions") && is(dead, "$deadletterqueue") => {
                (topic, name, Queue::DeadLetter)
            }
            _ => return None,
        };
        Some(Self { topic: topic.clone(), subscription: subscription.clone(), queue })
    }

    fn path(&self) -> String {
        format!("{}/subscriptions/{}", self.topic, self.subscription)
    }
}

/// Does what a request asks for.
pub(crate) async fn answer(operation: Operation, call: &Call, context: &Context) -> Result<Answer, Cut> {
    let outcome = match operation {
        Operation::Send { topic } => send(&topic, call, context).await,
        Operation::Receive { from, mode } => match receive(&from, mode, call, context).await {
            Ok(Some(_)) if context.faults.cuts_delivery() => return Err(Cut),
            Ok(Some(delivery)) => Ok(delivered(&delivery, &from, call)),
            Ok(None) => Ok(Answer::new(StatusCode::NO_CONTENT)),
            Err(why) => Err(why),
        },
        Operation::Settle { from, lock } => settle(&from, &lock, call, context),
    };
    Ok(outcome.unwrap_or_else(|why| match why {
        // What the reference of these operations says of an entity that is missing, and of a lock.
        Refusal::NotFound { .. } => Answer::error(410, 41000, &why.description()),
        Refusal::LockLost => Answer::error(404, 40400, &why.description()),
        why => Answer::refused(&why),
    }))
}

async fn send(topic: &str, call: &Call, context: &Context) -> Result<Answer, Refusal> {
    call.authorize(context, Right::Send, topic)?;
    let is_batch = call.header("content-type").is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(BATCH))
    });
    let messages = if is_batch { batch(call)? } else { vec![single(call)?] };
    let count = messages.len();
    let fate = context.faults.next_send();
    match fate {
        SendFate::Busy => return Err(Refusal::ServerBusy),
        SendFate::Normal | SendFate::LoseOutcome => context.namespace.publish(topic, messages)?,
        SendFate::Lose => {}
        SendFate::Hold => context.faults.hold(topic, messages),
    }
    context.faults.counters().sent(count);
    if fate != SendFate::Normal {
        // Until the client or a fault ends the connection.
        pending::<()>().await;
    }
    Ok(Answer::new(StatusCode::CREATED))
}

async fn receive(
    from: &Source,
    mode: Mode,
    call: &Call,
    context: &Context,
) -> Result<Option<Delivery>, Refusal> {
    call.authorize(context, Right::Listen, &from.path())?;
    let wait = match call.query("timeout") {
        None => MAX_WAIT,
        Some(text) => {
            let seconds = text.parse().map_err(|_| Refusal::Invalid(format!("'{text}' is no time-out.")))?;
            Duration::from_secs(seconds).min(MAX_WAIT)
        }
    };
    let receiver = context.namespace.open_receiver(&from.topic, &from.subscription, from.queue, mode)?;
    let arrival = async {
        loop {
            if let Some(delivery) = receiver.take(1).pop() {
                return Ok(delivery);
            }
            if let Some(why) = receiver.ended() {
                return Err(why);
            }
            receiver.changed().await;
        }
    };
    match timeout(wait, arrival).await {
        Ok(outcome) => {
            let delivery = outcome?;
            context.faults.counters().delivered(1);
            Ok(Some(delivery))
        }
        Err(_) => Ok(None),
    }
}

fn settle(from: &Source, lock: &str, call: &Call, context: &Context) -> Result<Answer, Refusal> {
    call.authorize(context, Right::Listen, &from.path())?;
    let namespace = &context.namespace;
    if namespace.subscription(&from.topic, &from.subscription).is_none() {
        return Err(Refusal::NotFound { entity: from.path() });
    }
    let lock = Uuid::parse_str(lock).map_err(|_| Refusal::Invalid(format!("'{lock}' is no lock token.")))?;
    match call.method {
        Method::DELETE => namespace.settle(lock, Settlement::Complete)?,
        Method::PUT => namespace.settle(lock, Settlement::Abandon)?,
        Method::POST => {
            namespace.renew(lock)?;
            return Ok(Answer::new(StatusCode::OK));
        }
        _ => return Ok(Answer::error(405, 40500, "The method is not allowed here.")),
    }
    context.faults.counters().settled();
    Ok(Answer::new(StatusCode::OK))
}

fn single(call: &Call) -> Result<Incoming, Refusal> {
    let mut properties = match call.header("brokerproperties") {
        Some(json) => serde_json::from_str(json).map_err(|error| {
            Refusal::Invalid(format!("The header BrokerProperties is not understood: {error}."))
        })?,
        None => BrokerProperties::default(),
    };
    if let Some(kind) = call.header("content-type") {
        properties.content_type = Some(kind.to_owned());
    }
    let user = user_properties(&call.headers);
    properties.into_message(user, Body::Data(vec![call.body.clone()]))
}

/// A message of a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    body: String,
    #[serde(default)]
    broker_properties: BrokerProperties,
    #[serde(default)]
    user_properties: Map<String, Value>,
}

fn batch(call: &Call) -> Result<Vec<Incoming>, Refusal> {
    let items: Vec<Item> = serde_json::from_slice(&call.body)
        .map_err(|error| Refusal::Invalid(format!("The batch is not understood: {error}.")))?;
    items
        .into_iter()
        .map(|item| {
            let user =
                item.user_properties.into_iter().map(|(name, value)| (name, user_value(value))).collect();
            item.broker_properties.into_message(user, Body::Data(vec![item.body.into()]))
        })
        .collect()
}

/// The headers that are properties of the message. Their names are in lower case by now.
fn user_properties(headers: &HeaderMap) -> Vec<(String, AmqpValue)> {
    headers
        .iter()
        .filter(|(name, _)| {
            let text = name.as_str();
            !STANDARD_HEADERS.contains(name)
                && text != "brokerproperties"
                && !text.starts_with("x-ms-")
                && !text.starts_with("sec-")
        })
        .filter_map(|(name, value)| {
            let text = value.to_str().ok()?;
            // Strings are in quotes, numbers are not; whatever is neither is a string without quotes.
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
            Some((name.as_str().to_owned(), user_value(value)))
        })
        .collect()
}

fn delivered(delivery: &Delivery, from: &Source, call: &Call) -> Answer {
    // It was read when it came; over AMQP only as far as the namespace needs it.
    let message = Message::decode(delivery.message.bare.clone()).unwrap_or_default();
    let status = if delivery.locked_until.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let kind = message.properties.content_type.as_deref().unwrap_or("application/octet-stream");
    let mut answer = Answer::new(status)
        .with_body(kind, message.body.bytes().unwrap_or_default())
        .with_header("brokerproperties", &received(delivery, &message));
    for (name, value) in &message.application_properties {
        if let (Some(name), Some(value)) = (name.as_str(), user_header(value)) {
            answer = answer.with_header(name, &value);
        }
    }
    if let Some(dead) = &delivery.dead_letter {
        for (name, text) in
            [("DeadLetterReason", &dead.reason), ("DeadLetterErrorDescription", &dead.description)]
        {
            if let Some(value) = text.clone().and_then(|text| user_header(&AmqpValue::String(text))) {
                answer = answer.with_header(name, &value);
            }
        }
    }
    if delivery.locked_until.is_some() {
        let dead = if from.queue == Queue::DeadLetter { "/$DeadLetterQueue" } else { "" };
        let (number, lock) = (delivery.sequence_number, delivery.lock_token);
        let location = format!("{}/{}{dead}/messages/{number}/{lock}", call.origin, from.path());
        answer = answer.with_header(header::LOCATION.as_str(), &location);
    }
    answer
}
