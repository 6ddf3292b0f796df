//! Documents and comments use plain words: each word here has a clearer one.
//!
//! The special words that Orderlock does need are in `docs/glossary.md`.

use super::finding::Finding;
use super::source::{Sources, Text};

/// Words that make a reader guess, each with what to write instead.
const WORDS: [(&str, &str); 14] = [
    ("anybody", PERSON),
    ("footing", "write `pending predecessor`"),
    ("horizon", "write `durable up to`, or `flushed up to`"),
    ("lanes", "write `concurrent batches`"),
    ("let go", UNLOCK),
    ("lets go", UNLOCK),
    ("letting go", UNLOCK),
    ("nobody", PERSON),
    ("of an own", "write `of its own`"),
    ("patience", "write `timeout`"),
    ("somebody", PERSON),
    ("told", "say what the client gets, or what the log shows"),
    ("whoever", PERSON),
    ("whomever", PERSON),
];

const PERSON: &str = "name the client, the node, the program or the operator";
const UNLOCK: &str = "write `unlock`, `release` or `drop`";

/// Documents that keep the words of their day.
const RECORDS: [&str; 2] = ["CHANGELOG.md", "docs/decisions/"];

/// Folders with comments that were written before this law. One that is clean leaves this list.
const OLDER: [&str; 6] = [
    "crates/orderlock-core/",
    "crates/orderlock-mongodb/",
    "crates/orderlock-postgres/",
    "crates/orderlock-sqlite/",
    "simulator/",
    "torture/",
];

/// The list itself has every word.
const LIST: &str = "xtask/src/tidy/words.rs";

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let documents = sources
        .ending(".md")
        .map(|file| judge(file, document_lines));
    let code = sources.ending(".rs").filter(|file| file.path != LIST);
    let comments = code.map(|file| judge(file, comment_lines));
    documents.chain(comments).flatten().collect()
}

fn judge(file: &Text, read: fn(&str) -> Vec<(usize, String)>) -> Vec<Finding> {
    let kept = RECORDS.iter().chain(&OLDER);
    if kept.into_iter().any(|kept| file.path.starts_with(kept)) {
        return vec![];
    }
    let mut findings = Vec::new();
    for (line, prose) in read(&file.text) {
        for (word, instead) in WORDS.iter().filter(|(word, _)| says(&prose, word)) {
            let reason = format!("`{word}` makes a reader guess: {instead}");
            findings.push(Finding::error(&file.path, line, reason));
        }
    }
    findings
}

/// The lines of a document outside code blocks, with their numbers.
fn document_lines(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    prose(lines.map(|(index, line)| (index + 1, line)))
}

/// The comments of a Rust file, line by line, with their numbers. A comment behind code is none.
fn comment_lines(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    let comments = lines.filter_map(|(index, line)| {
        let comment = line.trim_start().strip_prefix("//")?;
        Some((index + 1, comment.trim_start_matches(['/', '!'])))
    });
    prose(comments)
}

fn prose<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in lines {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece between backticks is code.
            let prose: Vec<_> = line.split('`').step_by(2).collect();
            found.push((number, prose.join("`").to_lowercase()));
        }
    }
    found
}

/// Whether a text in lower case contains a word, and not as part of a longer one.
fn says(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        apart(before) && apart(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Sources::fixture(&[(path, text)])).len()
    }

    #[test]
    fn each_word_is_found_in_documents_and_in_comments() {
        for (word, _) in WORDS {
            assert_eq!(
                findings("docs/a.md", &format!("It is {word}.")),
                1,
                "{word}"
            );
            let comment = format!("//! A file.\n\n/// It is {word}.\nstruct A;\n");
            assert_eq!(findings("bench/src/a.rs", &comment), 1, "{word}");
        }
        assert_eq!(findings("docs/a.md", "Whoever asks is Told."), 2);
    }

    #[test]
    fn longer_words_code_and_records_are_left_alone() {
        assert_eq!(findings("docs/a.md", "horizontal, islands, `nobody`"), 0);
        assert_eq!(findings("docs/a.md", "```\ntold\n```\n"), 0);
        assert_eq!(findings("CHANGELOG.md", "Clients are told."), 0);
        let code = "//! A file.\n\nfn told() -> &'static str {\n    \"nobody\"\n}\n";
        assert_eq!(findings("bench/src/a.rs", code), 0);
    }
}
