//! The bounds of the user's own data.

use serde_json::{Map, Value};

use crate::bounds::{METADATA_BYTES_MAX, METADATA_DEPTH_MAX, METADATA_MEMBERS_MAX};

/// Which bound the metadata exceeds, if any: words that follow "it must".
pub(crate) fn excess(metadata: &Map<String, Value>) -> Option<String> {
    let mut members = 0;
    if !count(metadata.values(), 1, &mut members) {
        return Some(format!(
            "be nested at most {METADATA_DEPTH_MAX} deep and have at most {METADATA_MEMBERS_MAX} \
             members, inner ones and items included"
        ));
    }
    let size = serde_json::to_vec(metadata).map_or(usize::MAX, |text| text.len());
    (size > METADATA_BYTES_MAX)
        .then(|| format!("have at most {METADATA_BYTES_MAX} bytes as compact JSON"))
}

/// Counts values, and says whether they keep to the bounds so far. It stops at the first excess,
/// so that it never goes deeper than they allow.
fn count<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    depth: usize,
    members: &mut usize,
) -> bool {
    values.into_iter().all(|value| {
        *members += 1;
        if *members > METADATA_MEMBERS_MAX {
            return false;
        }
        match value {
            Value::Object(_) | Value::Array(_) if depth == METADATA_DEPTH_MAX => false,
            Value::Object(inner) => count(inner.values().collect::<Vec<_>>(), depth + 1, members),
            Value::Array(inner) => count(inner, depth + 1, members),
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Map<String, Value> {
        (1..depth).fold(Map::new(), |inner, _| {
            Map::from_iter([("a".to_owned(), Value::Object(inner))])
        })
    }

    #[test]
    fn each_bound_is_the_last_that_fits() {
        assert_eq!(excess(&nested(METADATA_DEPTH_MAX)), None);
        assert!(excess(&nested(METADATA_DEPTH_MAX + 1)).is_some());

        let flat = |count: usize| (0..count).map(|i| (i.to_string(), Value::Null)).collect();
        assert_eq!(excess(&flat(METADATA_MEMBERS_MAX)), None);
        assert!(excess(&flat(METADATA_MEMBERS_MAX + 1)).is_some());

        // The rest of the text is {"a":""}.
        let long = |bytes: usize| Map::from_iter([("a".to_owned(), "x".repeat(bytes).into())]);
        assert_eq!(excess(&long(METADATA_BYTES_MAX - 8)), None);
        assert!(excess(&long(METADATA_BYTES_MAX - 7)).is_some());
    }
}
