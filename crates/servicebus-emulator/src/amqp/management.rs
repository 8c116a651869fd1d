//! What is asked on `$management` links of a subscription (Microsoft's "request/response-based operations").

use uuid::Uuid;

use crate::{
    codec::Value,
    message::{Body, Message, Properties},
    namespace::{Address, DeadLetter, Delivery, Mode, Namespace, Queue, Refusal, Settlement},
};

use super::{
    delivery::{timestamp, whole},
    link::Node,
};

/// Messages that are looked at at once.
const MAX_PEEKED: usize = 250;

/// Bytes of messages in one answer, about. There is always one message.
const MAX_ANSWER: usize = 1024 * 1024;

/// What a request came to.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    description: String,
    condition: Option<&'static str>,
    body: Value,
}

impl Answer {
    pub(super) fn new(status: u16, description: &str) -> Self {
        Self { status, description: description.to_owned(), condition: None, body: Value::Null }
    }

    fn ok(entries: Vec<(Value, Value)>) -> Self {
        Self { body: Value::Map(entries), ..Self::new(200, "OK") }
    }

    /// The answer as a message. `$cbs` and `$management` spell the status in their own ways.
    pub(super) fn message(self, request: &Message, node: &Node) -> Message {
        let (status, description, condition) = match node {
            Node::Cbs => ("status-code", "status-description", "error-condition"),
            Node::Management(_) => ("statusCode", "statusDescription", "errorCondition"),
        };
        let mut application_properties = vec![
            (status.into(), Value::Int(self.status.into())),
            (description.into(), Value::String(self.description)),
        ];
        if let Some(name) = self.condition {
            application_properties.push((condition.into(), Value::symbol(name)));
        }
        let properties = Properties {
            to: request.properties.reply_to.clone(),
            correlation_id: request.properties.message_id.clone(),
            ..Properties::default()
        };
        Message { properties, application_properties, body: Body::Value(self.body), ..Message::default() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self { condition: Some(refusal.condition()), ..Self::new(refusal.status(), &refusal.description()) }
    }
}

/// Does what a request says to an entity.
pub(super) fn answer(namespace: &Namespace, entity: &str, request: &Message) -> Answer {
    let operation =
        request.application_property("operation").and_then(|value| value.as_str()).unwrap_or_default();
    let body = match &request.body {
        Body::Value(body) => body,
        _ => &Value::Null,
    };
    let Some(Address::Subscription { topic, subscription, queue }) = Address::parse(entity) else {
        return Refusal::NotSupported(format!("'{operation}' on '{entity}'")).into();
    };
    let subscription = Subscription { namespace, topic: &topic, name: &subscription, queue };
    let done = match operation {
        "com.microsoft:renew-lock" => subscription.renew_locks(body),
        "com.microsoft:peek-message" => subscription.peek(body),
        "com.microsoft:receive-by-sequence-number" => subscription.receive_deferred(body),
        "com.microsoft:update-disposition" => subscription.settle(body),
        _ => Err(Refusal::NotSupported(format!("The operation '{operation}'"))),
    };
    done.unwrap_or_else(Answer::from)
}

struct Subscription<'a> {
    namespace: &'a Namespace,
    topic: &'a str,
    name: &'a str,
    queue: Queue,
}

impl Subscription<'_> {
    fn renew_locks(&self, body: &Value) -> Result<Answer, Refusal> {
        let mut expirations = Vec::new();
        for lock in locks(body)? {
            let renewed = self.either_order(lock, |lock| self.namespace.renew(lock))?;
            expirations.push(Value::Timestamp(timestamp(renewed)));
        }
        Ok(Answer::ok(vec![("expirations".into(), Value::Array(expirations))]))
    }

    fn peek(&self, body: &Value) -> Result<Answer, Refusal> {
        let first = body.entry("from-sequence-number").and_then(Value::as_i64).unwrap_or(0);
        let count = body.entry("message-count").and_then(Value::as_u64).unwrap_or(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(MAX_PEEKED);
        let found = self.namespace.peek(self.topic, self.name, self.queue, first, count)?;
        Ok(messages(&found))
    }

    fn receive_deferred(&self, body: &Value) -> Result<Answer, Refusal> {
        let numbers = body.entry("sequence-numbers").map(Value::elements).unwrap_or_default();
        let numbers: Option<Vec<i64>> = numbers.iter().map(Value::as_i64).collect();
        let numbers = numbers.ok_or_else(|| Refusal::Invalid("sequence-numbers are numbers.".to_owned()))?;
        let mode = match body.entry("receiver-settle-mode").and_then(Value::as_u64) {
            Some(0) => Mode::ReceiveAndDelete,
            _ => Mode::PeekLock,
        };
        let taken = self.namespace.take_deferred(self.topic, self.name, &numbers, mode)?;
        Ok(messages(&taken))
    }

    fn settle(&self, body: &Value) -> Result<Answer, Refusal> {
        let text = |name: &str| body.entry(name).and_then(Value::as_str).map(str::to_owned);
        let status = text("disposition-status").unwrap_or_default();
        let how = match status.as_str() {
            "completed" => Settlement::Complete,
            "abandoned" => Settlement::Abandon,
            // So spelled by the service.
            "defered" | "deferred" => Settlement::Defer,
            "suspended" => Settlement::DeadLetter(DeadLetter {
                reason: text("deadletter-reason"),
                description: text("deadletter-description"),
            }),
            _ => return Err(Refusal::Invalid(format!("'{status}' is no disposition-status."))),
        };
        for lock in locks(body)? {
            self.either_order(lock, |lock| self.namespace.settle(lock, how.clone()))?;
        }
        Ok(Answer::ok(Vec::new()))
    }

    /// Clients send lock tokens as they got them: in the order of the delivery tag, or in that of the annotation.
    fn either_order<T>(&self, lock: Uuid, act: impl Fn(Uuid) -> Result<T, Refusal>) -> Result<T, Refusal> {
        match act(lock) {
            Err(Refusal::LockLost) => act(Uuid::from_bytes(lock.to_bytes_le())),
            done => done,
        }
    }
}

fn locks(body: &Value) -> Result<Vec<Uuid>, Refusal> {
    let tokens = body.entry("lock-tokens").map(Value::elements).unwrap_or_default();
    let locks = tokens.iter().map(|token| match token {
        Value::Uuid(lock) => Ok(*lock),
        _ => Err(Refusal::Invalid("lock-tokens are UUIDs.".to_owned())),
    });
    locks.collect()
}

fn messages(found: &[Delivery]) -> Answer {
    let mut messages = Vec::new();
    let mut bytes = 0;
    for delivery in found {
        let message = whole(delivery);
        bytes += message.len();
        if bytes > MAX_ANSWER && !messages.is_empty() && delivery.locked_until.is_none() {
            break;
        }
        let mut entries = vec![("message".into(), Value::Binary(message))];
        if delivery.locked_until.is_some() {
            entries.push(("lock-token".into(), Value::Uuid(delivery.lock_token)));
        }
        messages.push(Value::Map(entries));
    }
    if messages.is_empty() {
        return Answer::new(204, "No content");
    }
    Answer::ok(vec![("messages".into(), Value::List(messages))])
}
