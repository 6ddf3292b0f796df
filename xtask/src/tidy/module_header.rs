//! A file says first what it is about.

use super::finding::Finding;
use super::source::Sources;

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let files = sources.rust().iter();
    files
        .filter(|file| !file.is_test_file() && !file.text.trim_start().starts_with("//!"))
        .map(|file| {
            Finding::error(
                &file.path,
                1,
                "begin with a `//!` line that names its subject",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_may_be_without() {
        let sources = Sources::fixture(&[
            ("good.rs", "//! Good.\nfn a() {}"),
            ("bad.rs", "// Bad.\nfn a() {}"),
            ("a/tests/b.rs", "fn a() {}"),
        ]);
        let findings = check(&sources);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().starts_with("bad.rs:1: error"));
    }
}
