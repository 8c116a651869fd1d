//! The namespace itself, as it is found.

use crate::management::xml::Element;

/// What a namespace says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespaceInfo {
    /// `Basic`, `Standard` or `Premium`.
    pub(crate) tier: String,
}

impl NamespaceInfo {
    /// Of the answer to a request for it; `None` where it does not say what is looked for.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let root = Element::parse(body).ok()?;
        let tier = root.child("content")?.child("NamespaceInfo")?.value("MessagingSKU")?;
        Some(Self { tier: tier.to_owned() })
    }
}
