//! The envelope round an order: id and version before, times after its own members. The document
//! is not parsed for it.

use orderlock_core::{Document, Target, Times, Version};
use serde_json::value::RawValue;

/// An order in its envelope, with its lock if it is held.
#[must_use]
pub fn envelope(
    target: &Target,
    version: Version,
    document: &Document,
    times: Times,
    lock: Option<&RawValue>,
) -> Document {
    let mut text = Vec::with_capacity(document.size() + 256);
    let id = serde_json::Value::from(target.order.as_str());
    text.extend_from_slice(format!(r#"{{"id":{id},"version":{version},"#).as_bytes());
    let members = members(document);
    if !members.is_empty() {
        text.extend_from_slice(members);
        text.push(b',');
    }
    let Times { created, updated } = times;
    let tail = format!(r#""createdAt":"{created}","updatedAt":"{updated}""#);
    text.extend_from_slice(tail.as_bytes());
    if let Some(lock) = lock {
        text.extend_from_slice(br#","lock":"#);
        text.extend_from_slice(lock.get().as_bytes());
    }
    text.push(b'}');
    Document::trusted(text)
}

/// The members between the braces; empty for a document that is not an object.
fn members(document: &Document) -> &[u8] {
    inner(document).unwrap_or_default().trim_ascii()
}

/// Whether the document begins and ends as an object does.
#[must_use]
pub fn is_braced(document: &Document) -> bool {
    inner(document).is_some()
}

fn inner(document: &Document) -> Option<&[u8]> {
    let text = document.as_bytes().trim_ascii();
    text.strip_prefix(b"{")
        .and_then(|text| text.strip_suffix(b"}"))
}

#[cfg(test)]
mod tests {
    use orderlock_core::{Caller, OrderId, Timestamp};

    use super::*;

    fn shown(document: &str, lock: Option<&str>) -> String {
        let target = Caller::single().target(&OrderId::parse("o\"1").unwrap());
        let at = Timestamp::UNIX_EPOCH;
        let times = Times {
            created: at,
            updated: at,
        };
        let lock = lock.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        let document = Document::trusted(document.as_bytes().to_vec());
        let shown = envelope(&target, Version(7), &document, times, lock.as_deref());
        // It is JSON again.
        let _: serde_json::Value = shown.decode().unwrap();
        String::from_utf8(shown.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_documents_members_stand_as_they_are_stored() {
        let times = r#""createdAt":"1970-01-01T00:00:00Z","updatedAt":"1970-01-01T00:00:00Z""#;
        assert_eq!(
            shown(r#" {"n": 1.00, "m": {}} "#, None),
            format!(r#"{{"id":"o\"1","version":7,"n": 1.00, "m": {{}},{times}}}"#)
        );
        assert_eq!(
            shown("{}", None),
            format!(r#"{{"id":"o\"1","version":7,{times}}}"#)
        );
        assert_eq!(
            shown("[1]", Some("{\"attempt\":1}")),
            format!(r#"{{"id":"o\"1","version":7,{times},"lock":{{"attempt":1}}}}"#)
        );
    }
}
