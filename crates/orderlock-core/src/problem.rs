//! Problem documents (RFC 9457): what happened, which order, what to do now.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What of the order had changed when the problem arose. It speaks of the order, never of the
/// outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedPart {
    /// Nothing.
    None,
    /// A part: the order's new state comes with the problem where it can be read.
    Partial,
}

/// A problem document. `type` is the path `/problems/{kind}`, unless the kind is itself a URI.
///
/// ```
/// use orderlock_core::Problem;
/// let refusal = Problem::new(409, "out-of-tea", "There is no tea left")
///     .with_detail("Order again after Monday.")
///     .with_member("restock", "2026-12-01");
/// assert_eq!(refusal.status(), 409);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: u16,
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Option<String>,
    retryable: bool,
    applied: Option<AppliedPart>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind (`lower-case-words`, or a URI) with a title that is the same each time.
    #[must_use]
    pub fn new(
        status: u16,
        kind: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind: kind.into(),
            title: title.into(),
            detail: None,
            retryable: false,
            applied: None,
            members: Map::new(),
        }
    }

    /// Adds what happened this time and what to do now.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says whether the same request may succeed later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Says what of the order has changed.
    #[must_use]
    pub fn applied(mut self, applied: AppliedPart) -> Self {
        self.applied = Some(applied);
        self
    }

    /// Adds a member of the problem's own. The standard members cannot be replaced by it.
    #[must_use]
    pub fn with_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The kind, the last part of `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What happened this time.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// A member of the problem's own.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }
}

const STANDARD: [&str; 7] = [
    "type",
    "title",
    "status",
    "detail",
    "retryable",
    "applied",
    "instance",
];

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.kind.contains([':', '/']) {
            map.serialize_entry("type", &self.kind)?;
        } else {
            map.serialize_entry("type", &format_args!("/problems/{}", self.kind))?;
        }
        map.serialize_entry("title", &self.title)?;
        map.serialize_entry("status", &self.status)?;
        if let Some(detail) = &self.detail {
            map.serialize_entry("detail", detail)?;
        }
        map.serialize_entry("retryable", &self.retryable)?;
        match self.applied {
            Some(AppliedPart::None) => map.serialize_entry("applied", "none")?,
            Some(AppliedPart::Partial) => map.serialize_entry("applied", "partial")?,
            None => {}
        }
        for (name, value) in &self.members {
            if !STANDARD.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_never_replace_the_standard_ones() {
        let problem = Problem::new(409, "a", "A")
            .with_member("status", 200)
            .with_member("b", 1);
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(
            text,
            r#"{"type":"/problems/a","title":"A","status":409,"retryable":false,"b":1}"#
        );
    }

    #[test]
    fn a_uri_is_a_type_as_it_stands() {
        let text = serde_json::to_string(&Problem::new(400, "about:blank", "A")).unwrap();
        assert!(text.starts_with(r#"{"type":"about:blank""#), "{text}");
    }
}
