//! The management API: entities created, changed, read, listed and deleted.

use std::time::SystemTime;

use hyper::{Method, StatusCode, header::IF_MATCH};

use super::{
    Call,
    answer::{ATOM, Answer},
    describe,
    xml::Element,
};
use crate::{
    context::Context,
    namespace::{Refusal, SubscriptionInfo},
    sas::Right,
};

/// The most that a page of a list has, and what it has where nothing is asked for.
const MAX_PAGE: usize = 100;

/// Does what a request asks for.
pub(crate) fn answer(call: &Call, context: &Context) -> Answer {
    context.faults.counters().managed();
    let outcome = call
        .authorize(context, Right::Manage, &call.path.join("/"))
        .and_then(|()| context.namespace.pay_for_management())
        .and_then(|()| manage(call, context));
    outcome.unwrap_or_else(|why| Answer::refused(&why))
}

fn manage(call: &Call, context: &Context) -> Result<Answer, Refusal> {
    let lower: Vec<String> = call.path.iter().map(|part| part.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (lower.as_slice(), path.as_slice()) {
        (["$namespaceinfo"], _) => only_get(call, || {
            Ok(atom(StatusCode::OK, describe::namespace_entry(&call.origin, SystemTime::now())))
        }),
        (["$resources", "topics"], _) => only_get(call, || Ok(topics(call, context))),
        (["$resources", kind], _) => only_get(call, || Ok(feed(call, kind, &[]))),
        ([_], [topic]) => self::topic(call, context, topic),
        ([_, "subscriptions"], [topic, _]) => only_get(call, || subscriptions(call, context, topic)),
        ([_, "subscriptions", _], [topic, _, name]) => subscription(call, context, topic, name),
        ([_, "subscriptions", _, "rules"], [topic, _, name, _]) => only_get(call, || {
            let subscription = find(context, topic, name)?;
            let rules = [describe::rule_entry(&call.origin, &subscription)];
            Ok(feed(call, "Rules", if skip_top(call).0 == 0 { &rules } else { &[] }))
        }),
        ([_, "subscriptions", _, "rules", rule], [topic, _, name, _, _]) => {
            self::rule(call, &find(context, topic, name)?, rule)
        }
        _ => Err(Refusal::NotFound { entity: call.path.join("/") }),
    }
}

fn topic(call: &Call, context: &Context, name: &str) -> Result<Answer, Refusal> {
    let namespace = &context.namespace;
    match call.method {
        Method::PUT => {
            let properties = describe::read_topic(&call.body)?;
            let (status, topic) = if call.headers.contains_key(IF_MATCH) {
                (StatusCode::OK, namespace.update_topic(name, properties)?)
            } else {
                (StatusCode::CREATED, namespace.create_topic(name, properties)?)
            };
            Ok(atom(status, describe::topic_entry(&call.origin, &topic)))
        }
        Method::GET => Ok(match namespace.topic(name) {
            Some(topic) => atom(StatusCode::OK, describe::topic_entry(&call.origin, &topic)),
            // A path with nothing on it is a list of nothing.
            None => feed(call, "Publicly Listed Services", &[]),
        }),
        Method::DELETE => {
            namespace.delete_topic(name)?;
            Ok(Answer::new(StatusCode::OK))
        }
        _ => not_allowed(),
    }
}

fn topics(call: &Call, context: &Context) -> Answer {
    let (skip, top) = skip_top(call);
    let entries: Vec<String> = context
        .namespace
        .topics(skip, top)
        .iter()
        .map(|topic| describe::topic_entry(&call.origin, topic))
        .collect();
    feed(call, "Topics", &entries)
}

fn subscription(call: &Call, context: &Context, topic: &str, name: &str) -> Result<Answer, Refusal> {
    let namespace = &context.namespace;
    match call.method {
        Method::PUT => {
            let properties = describe::read_subscription(&call.body)?;
            let (status, subscription) = if call.headers.contains_key(IF_MATCH) {
                (StatusCode::OK, namespace.update_subscription(topic, name, properties)?)
            } else {
                (StatusCode::CREATED, namespace.create_subscription(topic, name, properties)?)
            };
            Ok(atom(status, describe::subscription_entry(&call.origin, &subscription)))
        }
        Method::GET => {
            let subscription = find(context, topic, name)?;
            Ok(atom(StatusCode::OK, describe::subscription_entry(&call.origin, &subscription)))
        }
        Method::DELETE => {
            namespace.delete_subscription(topic, name)?;
            Ok(Answer::new(StatusCode::OK))
        }
        _ => not_allowed(),
    }
}

fn subscriptions(call: &Call, context: &Context, topic: &str) -> Result<Answer, Refusal> {
    let (skip, top) = skip_top(call);
    let subscriptions = context.namespace.subscriptions(topic, skip, top)?;
    let entries: Vec<String> = subscriptions
        .iter()
        .map(|subscription| describe::subscription_entry(&call.origin, subscription))
        .collect();
    Ok(feed(call, "Subscriptions", &entries))
}

fn rule(call: &Call, subscription: &SubscriptionInfo, rule: &str) -> Result<Answer, Refusal> {
    let is_there = rule == "$default";
    match call.method {
        Method::GET if is_there => Ok(atom(StatusCode::OK, describe::rule_entry(&call.origin, subscription))),
        Method::PUT => {
            let document = Element::parse(&call.body).map_err(Refusal::Invalid)?;
            let filter =
                document.find("Filter").ok_or_else(|| Refusal::Invalid("The rule has no filter.".into()))?;
            describe::check_filter(filter)?;
            if is_there && call.headers.contains_key(IF_MATCH) {
                return Ok(atom(StatusCode::OK, describe::rule_entry(&call.origin, subscription)));
            }
            if is_there {
                return Err(Refusal::Exists { entity: call.path.join("/") });
            }
            Err(Refusal::NotSupported("A rule besides the default one".to_owned()))
        }
        Method::DELETE if is_there => {
            Err(Refusal::NotSupported("A subscription without its default rule".to_owned()))
        }
        Method::GET | Method::DELETE => Err(Refusal::NotFound { entity: call.path.join("/") }),
        _ => not_allowed(),
    }
}

fn find(context: &Context, topic: &str, name: &str) -> Result<SubscriptionInfo, Refusal> {
    let missing = || Refusal::NotFound { entity: format!("{topic}/Subscriptions/{name}") };
    context.namespace.subscription(topic, name).ok_or_else(missing)
}

fn skip_top(call: &Call) -> (usize, usize) {
    let number = |key| call.query(key).and_then(|text| text.parse().ok());
    (number("$skip").unwrap_or(0), number("$top").unwrap_or(MAX_PAGE).min(MAX_PAGE))
}

fn feed(call: &Call, title: &str, entries: &[String]) -> Answer {
    let (skip, top) = skip_top(call);
    // Clients follow this link, and stop where there is none.
    let next = (top > 0 && entries.len() == top)
        .then(|| format!("api-version=2021-05&$skip={}&$top={top}", skip.saturating_add(top)));
    let text = describe::feed(&call.origin, &call.path.join("/"), title, entries, next.as_deref());
    Answer::new(StatusCode::OK).with_body("application/atom+xml;type=feed;charset=utf-8", text)
}

fn atom(status: StatusCode, entry: String) -> Answer {
    Answer::new(status).with_body(ATOM, entry)
}

fn only_get(call: &Call, answer: impl FnOnce() -> Result<Answer, Refusal>) -> Result<Answer, Refusal> {
    if call.method == Method::GET { answer() } else { not_allowed() }
}

fn not_allowed() -> Result<Answer, Refusal> {
    Ok(Answer::error(405, 40500, "The method is not allowed here."))
}
