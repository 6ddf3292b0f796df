//! Nothing is left for later in silence: no skipped test, no unwritten function.

use super::finding::Finding;
use super::source::{Rust, Sources};

const FORBIDDEN: [(&str, &str); 3] = [
    (
        "# [ ignore",
        "a skipped test proves nothing; assert what holds today",
    ),
    ("todo !", "write it, or leave it out"),
    ("unimplemented !", "write it, or leave it out"),
];

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    sources.rust().iter().flat_map(judge).collect()
}

fn judge(file: &Rust) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (sequence, reason) in FORBIDDEN {
        let places = file.places(sequence).into_iter();
        findings.extend(places.map(|line| Finding::error(&file.path, line, reason)));
    }
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("//") && line.contains("```ignore") {
            let reason = "let the example run, or mark it `no_run` or `text`";
            findings.push(Finding::error(&file.path, index + 1, reason));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_skip_is_found() {
        for bad in [
            "#[ignore]\nfn a() {}",
            "#[ignore = \"later\"]\nfn a() {}",
            "fn a() { todo!() }",
            "fn a() { unimplemented!(\"later\") }",
            "/// ```ignore\n/// ```\nfn a() {}",
        ] {
            assert_eq!(check(&Sources::fixture(&[("a.rs", bad)])).len(), 1, "{bad}");
        }
    }

    #[test]
    fn words_in_comments_and_texts_are_not() {
        let good = "// todo!()\nfn a() { b(\"#[ignore]\"); }";
        assert!(check(&Sources::fixture(&[("a.rs", good)])).is_empty());
    }
}
