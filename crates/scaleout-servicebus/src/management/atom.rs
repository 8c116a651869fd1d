//! What requests and answers about entities look like.
//!
//! Source: "Service Bus REST API: create and manage entities" in the documentation of Azure, and the ATOM syndication
//! format (RFC 4287).

use crate::{error::Failure, management::xml::Element};

/// The body of a request that creates an entity: `values` in the order that the service's contract has, which takes no
/// other.
pub(super) fn entry(description: &str, values: &[(&str, String)]) -> String {
    let mut body = format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\"><{description} \
         xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">"
    );
    for (name, value) in values {
        body.push_str(&format!("<{name}>{}</{name}>", super::xml::escape(value)));
    }
    body.push_str(&format!("</{description}></content></entry>"));
    body
}

/// What was found at the path of an entity.
///
/// Where there is none, the service lists what is below that path, which is nothing.
pub(super) fn found(body: &[u8], description: &str) -> Result<Option<Element>, Failure> {
    let root = Element::parse(body).map_err(foreign)?;
    match root.name.as_str() {
        "entry" => Ok(Some(described(root, description)?)),
        "feed" if root.child("entry").is_none() => Ok(None),
        "feed" => Err(foreign("it is a list where one entity was asked for".into())),
        _ => Err(foreign("it is neither an entry nor a feed".into())),
    }
}

/// The titles of a list's entries.
pub(super) fn titles(body: &[u8]) -> Result<Vec<String>, Failure> {
    entries(body)?.iter().map(title).collect()
}

/// The titles of a list's entries, and what describes each.
pub(super) fn described_entries(body: &[u8], description: &str) -> Result<Vec<(String, Element)>, Failure> {
    entries(body)?.into_iter().map(|entry| Ok((title(&entry)?, described(entry, description)?))).collect()
}

fn entries(body: &[u8]) -> Result<Vec<Element>, Failure> {
    let root = Element::parse(body).map_err(foreign)?;
    if root.name != "feed" {
        return Err(foreign("it is no feed".into()));
    }
    Ok(root.children.into_iter().filter(|child| child.name == "entry").collect())
}

fn title(entry: &Element) -> Result<String, Failure> {
    let title = entry.value("title").filter(|title| !title.is_empty());
    title.map(str::to_owned).ok_or_else(|| foreign("an entry has no title".into()))
}

/// The `Detail` of a refusal, or else the text that there is, in one line of at most 300 characters.
pub(super) fn detail(body: &[u8]) -> String {
    let root = Element::parse(body);
    let text = root
        .as_ref()
        .ok()
        .and_then(|root| root.value("Detail").or_else(|| (!root.text.is_empty()).then_some(&*root.text)));
    match text {
        Some(text) => one_line(text),
        None if root.is_ok() => String::new(),
        None => one_line(&String::from_utf8_lossy(&body[..body.len().min(1_200)])),
    }
}

/// What an answer has that Service Bus would not.
pub(super) fn foreign(problem: String) -> Failure {
    Failure::Foreign(problem)
}

/// The description in an entry.
fn described(entry: Element, description: &str) -> Result<Element, Failure> {
    entry
        .children
        .into_iter()
        .find(|child| child.name == "content")
        .and_then(|content| content.children.into_iter().find(|child| child.name == description))
        .ok_or_else(|| foreign(format!("its entry has no {description}")))
}

fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split(|char: char| char.is_whitespace() || char.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}
