//! XML: answers are read into a small tree, and values are written escaped.
//!
//! Document types are refused, and with them every entity but the five of XML itself; depth and number of elements are
//! bounded, as are the bytes by whoever reads them from the network.

use std::borrow::Cow;

use quick_xml::{Reader, escape::resolve_predefined_entity, events::Event};

/// An element: its name without a prefix, its text, and the elements in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// The text directly in it, without white space around it.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut tree = Tree::default();
        loop {
            match reader.read_event().map_err(|_| "it is not well-formed XML")? {
                Event::Start(start) => tree.open(start.local_name().as_ref())?,
                Event::End(_) => tree.close()?,
                Event::Empty(empty) => {
                    tree.open(empty.local_name().as_ref())?;
                    tree.close()?;
                }
                Event::Text(text) => tree.text(&text.xml10_content())?,
                Event::CData(text) => tree.text(&text)?,
                Event::GeneralRef(reference) => {
                    match reference.resolve_char_ref().map_err(|_| "it refers to no character")? {
                        Some(char) => tree.text(char.encode_utf8(&mut [0; 4]))?,
                        None => {
                            tree.text(resolve_predefined_entity(&reference).ok_or("it has an entity")?)?;
                        }
                    }
                }
                Event::DocType(_) => return Err("it has a document type".into()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => return tree.finish(),
            }
        }
    }

    /// The first element of that name in it.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of that name in it.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

/// A document on its way to a tree.
#[derive(Default)]
struct Tree {
    /// From the root to the innermost element.
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, name: &str) -> Result<(), &'static str> {
        self.elements += 1;
        if self.root.is_some() {
            return Err("it has a second root");
        }
        if self.open.len() == MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err("it is nested too deep, or has too many elements");
        }
        self.open.push(Element { name: name.to_owned(), ..Element::default() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        let mut element = self.open.pop().ok_or("it ends an element that it did not begin")?;
        element.text = element.text.trim().to_owned();
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), &'static str> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err("it has text outside of its root"),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, String> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err("it ends too early".into()),
        }
    }
}

/// `text` as the content of an element.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::escape(text)
}

/// A feed, entry, content, description, rules and their filters: half as many.
const MAX_DEPTH: usize = 32;

/// A page of 100 entries has about 4,000.
const MAX_ELEMENTS: usize = 50_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> String {
        Element::parse(text.as_bytes()).expect_err("it is wrong")
    }

    #[test]
    fn a_tree_has_names_without_prefixes_and_text_without_space_around_it() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- c --><a:feed xmlns:a='x'>\n <b c='d'/> <e> 1 &lt;&#x41;&#66;<![CDATA[<&>]]> \
                    </e><e>2</e></a:feed>\n";
        let root = Element::parse(text.as_bytes()).expect("it is XML");
        assert_eq!((root.name.as_str(), root.text.as_str(), root.children.len()), ("feed", "", 3));
        assert_eq!(root.value("b"), Some(""));
        assert_eq!(root.value("e"), Some("1 <AB<&>"));
        assert_eq!(root.value("f"), None);
    }

    #[test]
    fn what_is_no_plain_xml_is_refused() {
        for (text, told) in [
            ("", "ends too early"),
            ("<a>", "ends too early"),
            ("<a></b>", "well-formed"),
            ("</a>", "well-formed"),
            ("<a/><b/>", "second root"),
            ("<a/>text", "outside"),
            ("text", "outside"),
            ("<a>&amp</a>", "well-formed"),
            ("<a>&nbsp;</a>", "entity"),
            ("<a>&#xD800;</a>", "no character"),
            ("<a>&#99999999999;</a>", "no character"),
            ("<a", "well-formed"),
            ("<a><![CDATA[</a>", "well-formed"),
            ("<!DOCTYPE a><a/>", "document type"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "document type"),
        ] {
            assert!(problem(text).contains(told), "{text}: {}", problem(text));
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }

    #[test]
    fn depth_and_number_of_elements_are_bounded() {
        let deep = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(Element::parse(deep(MAX_DEPTH).as_bytes()).is_ok());
        assert!(problem(&deep(MAX_DEPTH + 1)).contains("deep"));
        let wide = |elements: usize| format!("<a>{}</a>", "<b/>".repeat(elements - 1));
        assert!(Element::parse(wide(MAX_ELEMENTS).as_bytes()).is_ok());
        assert!(problem(&wide(MAX_ELEMENTS + 1)).contains("many"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_tree_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Element::parse(&bytes);
        }

        #[test]
        fn any_pieces_of_xml_give_a_tree_or_an_error(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("<a>"), Just("</a>"), Just("<b x='1'"), Just("/>"), Just("<![CDATA["), Just("]]>"), Just("&amp;"),
                    Just("&#1;"), Just("<!--"), Just("-->"), Just("<!DOCTYPE"), Just("<?x"), Just("?>"), Just("text"), Just(">"),
                ],
                0..40,
            ),
        ) {
            let _ = Element::parse(pieces.concat().as_bytes());
        }

        #[test]
        fn what_is_escaped_is_read_as_it_was(text in "[^\\p{Cc}]{0,40}") {
            let read = Element::parse(format!("<a>{}</a>", escape(&text)).as_bytes()).expect("it is XML");
            prop_assert_eq!(read.text, text.trim());
        }
    }
}
