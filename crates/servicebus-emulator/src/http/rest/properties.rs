//! Properties of messages as headers: [`BrokerProperties`], and those of applications.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    codec::Value as AmqpValue,
    message::{Body, Message, Properties, id_text},
    namespace::{Delivery, FOREVER, Incoming, MessageState, Refusal},
};

/// What a sender may say of a message, in JSON. What is unknown is passed over, as the service does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct BrokerProperties {
    message_id: Option<String>,
    correlation_id: Option<String>,
    label: Option<String>,
    to: Option<String>,
    reply_to: Option<String>,
    session_id: Option<String>,
    reply_to_session_id: Option<String>,
    pub(super) content_type: Option<String>,
    /// In seconds.
    #[serde(deserialize_with = "seconds")]
    time_to_live: Option<Duration>,
    #[serde(deserialize_with = "time_span")]
    time_to_live_time_span: Option<Duration>,
    scheduled_enqueue_time_utc: Option<String>,
}

impl BrokerProperties {
    pub(super) fn into_message(
        self,
        user: Vec<(String, AmqpValue)>,
        body: Body,
    ) -> Result<Incoming, Refusal> {
        if self.scheduled_enqueue_time_utc.is_some() {
            return Err(Refusal::NotSupported("A scheduled message".to_owned()));
        }
        // Every message that comes by HTTP has an id.
        let message_id = self.message_id.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        let message = Message {
            properties: Properties {
                message_id: Some(AmqpValue::String(message_id.clone())),
                to: self.to,
                subject: self.label,
                reply_to: self.reply_to,
                correlation_id: self.correlation_id.map(AmqpValue::String),
                content_type: self.content_type,
                group_id: self.session_id,
                reply_to_group_id: self.reply_to_session_id,
                ..Properties::default()
            },
            application_properties: user
                .into_iter()
                .map(|(name, value)| (AmqpValue::String(name), value))
                .collect(),
            body,
            ..Message::default()
        };
        Ok(Incoming {
            message_id: Some(message_id),
            ttl: self.time_to_live.or(self.time_to_live_time_span),
            bare: message.encode_bare(),
            ..Incoming::default()
        })
    }
}

/// The header `BrokerProperties` of a message that is delivered.
pub(super) fn received(delivery: &Delivery, message: &Message) -> String {
    let Properties { message_id, correlation_id, .. } = &message.properties;
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            properties.insert(name.to_owned(), value);
        }
    };
    put("DeliveryCount", json!(delivery.delivery_count + 1));
    put("EnqueuedSequenceNumber", json!(delivery.enqueued_sequence_number));
    put("EnqueuedTimeUtc", json!(http_date(delivery.enqueued_at)));
    put("SequenceNumber", json!(delivery.sequence_number));
    put("State", json!(if delivery.state == MessageState::Deferred { "Deferred" } else { "Active" }));
    put("TimeToLive", json!(delivery.ttl.unwrap_or(FOREVER).as_secs_f64()));
    if let Some(until) = delivery.locked_until {
        put("LockToken", json!(delivery.lock_token.to_string()));
        put("LockedUntilUtc", json!(http_date(until)));
    }
    put("MessageId", json!(message_id.as_ref().and_then(id_text)));
    put("CorrelationId", json!(correlation_id.as_ref().and_then(id_text)));
    put("Label", json!(message.properties.subject));
    put("To", json!(message.properties.to));
    put("ReplyTo", json!(message.properties.reply_to));
    put("SessionId", json!(message.properties.group_id));
    put("ReplyToSessionId", json!(message.properties.reply_to_group_id));
    ascii(&Value::Object(properties))
}

/// A property that an application wrote in JSON.
pub(super) fn user_value(value: Value) -> AmqpValue {
    match value {
        Value::Null => AmqpValue::Null,
        Value::Bool(value) => AmqpValue::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => AmqpValue::Long(number),
            (None, Some(number)) => AmqpValue::Double(number.to_bits()),
            (None, None) => AmqpValue::String(number.to_string()),
        },
        Value::String(text) => AmqpValue::String(text),
        // There is no such property.
        value @ (Value::Array(_) | Value::Object(_)) => AmqpValue::String(value.to_string()),
    }
}

/// A property of an application as a header. `None`: it is of a type that no header shows.
pub(super) fn user_header(value: &AmqpValue) -> Option<String> {
    let value = match value {
        AmqpValue::Bool(value) => json!(value),
        AmqpValue::Float(bits) => json!(f32::from_bits(*bits)),
        AmqpValue::Double(bits) => json!(f64::from_bits(*bits)),
        AmqpValue::Uuid(uuid) => json!(uuid.to_string()),
        AmqpValue::Binary(bytes) => json!(STANDARD.encode(bytes)),
        AmqpValue::Timestamp(millis) => {
            let since = Duration::from_millis(u64::try_from(*millis).ok()?);
            json!(http_date(SystemTime::UNIX_EPOCH.checked_add(since)?))
        }
        value => match (value.as_str(), value.as_i64(), value.as_u64()) {
            (Some(text), _, _) => json!(text),
            (None, Some(number), _) => json!(number),
            (None, None, Some(number)) => json!(number),
            (None, None, None) => return None,
        },
    };
    Some(ascii(&value))
}

/// JSON that a header can carry.
fn ascii(value: &Value) -> String {
    let mut units = [0; 2];
    let mut out = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() && character != '\x7f' {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// `Sat, 21 Nov 2026 10:00:00 GMT`.
fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(D::Error::custom("a time to live is not below 0"));
    }
    Ok(Some(Duration::try_from_secs_f64(seconds).unwrap_or(FOREVER).min(FOREVER)))
}

/// `[d.]hh:mm:ss[.fffffff]`.
fn time_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let read = || {
        let (days, hours) = match text.split(':').next()?.split_once('.') {
            Some((days, hours)) => (days.parse::<u64>().ok()?, hours),
            None => (0, text.split(':').next()?),
        };
        let mut parts = text.split(':').skip(1);
        let (minutes, seconds) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<f64>().ok()?);
        let whole =
            days.checked_mul(24)?.checked_add(hours.parse().ok()?)?.checked_mul(60)?.checked_add(minutes)?;
        let whole = Duration::from_secs(whole.checked_mul(60)?);
        let rest = Duration::try_from_secs_f64(seconds).ok()?;
        parts.next().is_none().then_some(whole.checked_add(rest)?)
    };
    read().map(Some).ok_or_else(|| D::Error::custom("a time span is written hh:mm:ss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_whatever_a_property_says() {
        assert_eq!(
            user_header(&AmqpValue::String("a\"ö😀".into())).as_deref(),
            Some(r#""a\"\u00f6\ud83d\ude00""#)
        );
        assert_eq!(user_header(&AmqpValue::Long(-5)).as_deref(), Some("-5"));
        assert_eq!(user_header(&AmqpValue::Null), None);
        assert_eq!(user_value(json!(1.5)), AmqpValue::Double(1.5_f64.to_bits()));
    }

    #[test]
    fn lives_are_read_as_seconds_and_as_time_spans() {
        let read = |json: Value| serde_json::from_value::<BrokerProperties>(json);
        assert_eq!(
            read(json!({"TimeToLive": 1.5})).expect("good").time_to_live,
            Some(Duration::from_millis(1500))
        );
        assert_eq!(read(json!({"TimeToLive": 9.3e20})).expect("good").time_to_live, Some(FOREVER));
        let span =
            |text: &str| read(json!({"TimeToLiveTimeSpan": text})).map(|read| read.time_to_live_time_span);
        assert_eq!(span("00:00:40").expect("good"), Some(Duration::from_secs(40)));
        assert_eq!(span("1.02:03:04.5").expect("good"), Some(Duration::from_millis(93_784_500)));
        for text in ["", "40", "00:40", "a:b:c", "1:2:3:4", "00:00:-1", "99999999999999999999:00:00"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(read(json!({"TimeToLive": -1})).is_err());
    }
}
