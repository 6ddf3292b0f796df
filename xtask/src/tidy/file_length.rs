//! A file has one subject, and stays short enough to be read in one sitting.

use super::finding::Finding;
use super::source::{Rust, Sources};

const WARN_ABOVE: usize = 300;
const FAIL_ABOVE: usize = 400;

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    sources.rust().iter().filter_map(judge).collect()
}

fn judge(file: &Rust) -> Option<Finding> {
    let tests: usize = file
        .test_modules
        .iter()
        .map(|lines| lines.clone().count())
        .sum();
    let lines = file.text.lines().count() - tests;
    let reason =
        format!("{lines} lines without its tests; split it by subject (at most {FAIL_ABOVE})");
    match lines {
        _ if lines > FAIL_ABOVE => Some(Finding::error(&file.path, 1, reason)),
        _ if lines > WARN_ABOVE => Some(Finding::warning(&file.path, 1, reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Weight;
    use super::*;

    fn weight(lines: usize, test_lines: usize) -> Option<Weight> {
        let text = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn a() {}\n".repeat(lines),
            "// x\n".repeat(test_lines)
        );
        let findings = check(&Sources::fixture(&[("a.rs", &text)]));
        findings.first().map(|finding| finding.weight)
    }

    #[test]
    fn it_warns_and_then_fails_and_does_not_count_tests() {
        assert_eq!(weight(300, 500), None);
        assert_eq!(weight(301, 0), Some(Weight::Warning));
        assert_eq!(weight(401, 0), Some(Weight::Error));
    }
}
