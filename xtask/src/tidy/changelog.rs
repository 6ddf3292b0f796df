//! There is always a place for the next change in the changelog.

use super::finding::Finding;
use super::source::Sources;

const PATH: &str = "CHANGELOG.md";
const HEADING: &str = "## [Unreleased]";

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let reason = match sources.find(PATH) {
        None => "the file is missing".to_owned(),
        Some(file) if file.text.lines().any(|line| line.trim_end() == HEADING) => return vec![],
        Some(_) => format!("there is no heading `{HEADING}`"),
    };
    vec![Finding::error(PATH, 1, reason)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_is_needed() {
        assert_eq!(check(&Sources::fixture(&[])).len(), 1);
        let without = Sources::fixture(&[(PATH, "# Changelog\n\n## [0.1.0]\n")]);
        assert_eq!(check(&without).len(), 1);
        let with = Sources::fixture(&[(PATH, "# Changelog\n\n## [Unreleased]\n")]);
        assert!(check(&with).is_empty());
    }
}
