//! The name of a public type stands for one thing in the whole workspace.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::source::{Rust, Sources};

/// Names that are public twice for a reason.
const TWICE: [(&str, &str); 4] = [
    (
        "OpenError",
        "each store's `open` has its own, as `sqlite::OpenError`",
    ),
    (
        "Plan",
        "`faults::Plan` is a user's; the simulator plans its own runs",
    ),
    (
        "Planted",
        "each store's, behind a feature that only the torture uses",
    ),
    ("Statistics", "each store counts other things"),
];

const KINDS: [&str; 5] = ["enum", "struct", "trait", "type", "union"];

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in sources.rust().iter().filter(|file| is_source(file)) {
        for (name, line) in public_types(file) {
            let other = *first.entry(name).or_insert(&file.path);
            if other != file.path && TWICE.iter().all(|(twice, _)| *twice != name) {
                let reason = format!(
                    "`{name}` is the name of a public type in {other}, too: name one of them \
                     after what sets it apart"
                );
                findings.push(Finding::error(&file.path, line, reason));
            }
        }
    }
    findings
}

fn is_source(file: &Rust) -> bool {
    file.path.contains("/src/") || file.path.starts_with("src/")
}

/// The types that a file declares as `pub`, with their lines. Those of a macro's body count.
fn public_types(file: &Rust) -> impl Iterator<Item = (&str, usize)> {
    file.tokens.windows(3).filter_map(|window| {
        let [visible, kind, name] = window else {
            return None;
        };
        let declares = visible.text == "pub" && KINDS.contains(&kind.text.as_str());
        (declares && !file.is_test(name.line)).then_some((name.text.as_str(), name.line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(one: &str, other: &str) -> usize {
        let files = [("a/src/lib.rs", one), ("b/src/lib.rs", other)];
        check(&Sources::fixture(&files)).len()
    }

    #[test]
    fn a_public_name_in_two_places_is_found() {
        for kind in [
            "struct Line;",
            "enum Line {}",
            "trait Line {}",
            "type Line = u8;",
        ] {
            assert_eq!(
                findings("pub struct Line;", &format!("pub {kind}")),
                1,
                "{kind}"
            );
        }
    }

    #[test]
    fn private_names_tests_and_names_with_a_reason_are_left_alone() {
        assert_eq!(findings("pub struct Line;", "pub(crate) struct Line;"), 0);
        assert_eq!(findings("pub struct Line;", "pub struct Lines;"), 0);
        let test = "#[cfg(test)]\nmod tests {\n    pub struct Line;\n}";
        assert_eq!(findings("pub struct Line;", test), 0);
        for (name, _) in TWICE {
            let declared = format!("pub struct {name};");
            assert_eq!(findings(&declared, &declared), 0, "{name}");
        }
    }
}
