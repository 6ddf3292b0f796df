//! Nothing of the desk where a file was written stays in it: no path of a machine, no note to
//! oneself.

use super::finding::Finding;
use super::source::{Sources, Text};

/// The folders under which people and machines keep their own files. The paths are put together
/// here, so that this file does not contain what it forbids.
const FOLDERS: [&str; 5] = ["home", "root", "work", "Users", "mnt"];

/// Notes to oneself. A fault that is known belongs where its readers look for it.
const NOTES: [&str; 4] = [
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("NO", "COMMIT"),
    concat!("HA", "CK"),
];

/// Written by cargo.
const GENERATED: &str = "Cargo.lock";

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let files = sources.texts().iter();
    files
        .filter(|file| file.path != GENERATED)
        .flat_map(judge)
        .collect()
}

fn judge(file: &Text) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let found = FOLDERS
            .iter()
            .map(|folder| format!("/{folder}/"))
            .find(|path| begins_here(line, path, ".-_}~"))
            .map(|path| format!("`{path}` is a place on one machine"))
            .or_else(|| {
                let note = NOTES.iter().find(|note| is_word(line, note))?;
                Some(format!(
                    "`{note}` is a note to oneself: do it, or say what holds"
                ))
            });
        findings.extend(found.map(|reason| Finding::error(&file.path, index + 1, reason)));
    }
    findings
}

/// Whether a text contains a part that is not the end of a longer name.
fn begins_here(line: &str, part: &str, joining: &str) -> bool {
    line.match_indices(part).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !joining.contains(c))
    })
}

fn is_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        apart(before) && apart(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(line: &str) -> usize {
        check(&Sources::fixture(&[("a.md", line)])).len()
    }

    #[test]
    fn each_leftover_is_found() {
        for folder in FOLDERS {
            assert_eq!(findings(&format!("see /{folder}/a/b")), 1, "{folder}");
            assert_eq!(findings(&format!("\"/{folder}/a\"")), 1, "{folder}");
        }
        for note in NOTES {
            assert_eq!(findings(&format!("// {note}: later")), 1, "{note}");
        }
    }

    #[test]
    fn longer_names_are_none() {
        assert_eq!(findings(&format!("crates/{}/src", FOLDERS[2])), 0);
        assert_eq!(findings(&format!("a{}b", NOTES[0])), 0);
    }
}
