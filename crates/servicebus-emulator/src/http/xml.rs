//! The little XML that there is: [`Element`].

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event},
};

pub(crate) use quick_xml::escape::escape;

/// How deep elements may be inside of each other.
const MAX_DEPTH: usize = 16;

/// Elements of one document.
const MAX_ELEMENTS: usize = 1_000;

/// An element by its name without a prefix, and what is in it. Comments and processing instructions are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// The attribute `type`, of whatever namespace.
    pub(crate) kind: Option<String>,
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// Reads a document of one element. What it is not, and what has a document type, is refused with words.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, String> {
        let document = std::str::from_utf8(document).map_err(|error| error.to_string())?;
        let mut reader = Reader::from_str(document);
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        let mut elements = 0;
        loop {
            let (started, ended) = match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(start) => (Some(Self::begin(&start)?), false),
                Event::Empty(start) => (Some(Self::begin(&start)?), true),
                Event::End(_) => (None, true),
                Event::Text(text) => {
                    let text = text.xml10_content();
                    match open.last_mut() {
                        Some(element) => element.text.push_str(&text),
                        None if text.trim().is_empty() => {}
                        None => return Err("there is text outside of the element".into()),
                    }
                    continue;
                }
                Event::CData(text) => {
                    let text = text.xml10_content();
                    open.last_mut().ok_or("there is text outside of the element")?.text.push_str(&text);
                    continue;
                }
                Event::GeneralRef(name) => {
                    let element = open.last_mut().ok_or("there is text outside of the element")?;
                    match name.resolve_char_ref().map_err(|error| error.to_string())? {
                        Some(character) => element.text.push(character),
                        None => {
                            let name = name.xml10_content();
                            let text = quick_xml::escape::resolve_xml_entity(&name);
                            element
                                .text
                                .push_str(text.ok_or_else(|| format!("nobody knows the entity {name}"))?);
                        }
                    }
                    continue;
                }
                Event::DocType(_) => return Err("document types are not taken".into()),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => continue,
                Event::Eof => break,
            };
            if let Some(element) = started {
                elements += 1;
                if open.len() == MAX_DEPTH || elements > MAX_ELEMENTS || root.is_some() {
                    return Err("there are too many elements, or they are too deep".into());
                }
                open.push(element);
            }
            if ended && let Some(element) = open.pop() {
                match open.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => root = Some(element),
                }
            }
        }
        match root {
            Some(root) if open.is_empty() => Ok(root),
            _ => Err("it is not complete".into()),
        }
    }

    /// The first element of this name, itself or below it.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    fn begin(start: &BytesStart<'_>) -> Result<Self, String> {
        let name = start.local_name().as_ref().to_owned();
        let mut kind = None;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.key.local_name().as_ref() == "type" {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                kind = Some(value.map_err(|error| error.to_string())?.into_owned());
            }
        }
        Ok(Self { name, kind, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whatever_their_prefixes() {
        let document =
            br#"<?xml version="1.0"?><a:entry xmlns:a="x"><!-- - --><content><T><A>1 &lt; &#50;</A><B/>
            <F i:type="TrueFilter"><![CDATA[<]]></F></T></content></a:entry>"#;
        let entry = Element::parse(document).expect("a document");
        assert_eq!(entry.name, "entry");
        let found = entry.find("T").expect("an element");
        assert_eq!(found.children.len(), 3);
        assert_eq!(found.children[0].text, "1 < 2");
        assert_eq!(
            (found.children[2].kind.as_deref(), found.children[2].text.as_str()),
            (Some("TrueFilter"), "<")
        );
    }

    #[test]
    fn what_is_dangerous_or_broken_is_refused() {
        let deep = "<a>".repeat(17) + &"</a>".repeat(17);
        let many = format!("<a>{}</a>", "<b/>".repeat(1_000));
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>text",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<!DOCTYPE a><a/>",
            "<a>&b;</a>",
            "<a>&#xFFFFFFFF;</a>",
            deep.as_str(),
            many.as_str(),
        ] {
            assert!(Element::parse(document.as_bytes()).is_err(), "{document}");
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }
}
