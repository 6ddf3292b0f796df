//! A link from one document to another leads somewhere.

use std::path::{Component, Path, PathBuf};

use super::finding::Finding;
use super::source::{Sources, Text};

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in sources.ending(".md") {
        for (line, target) in links(&document.text) {
            if !resolves(sources, document, &target) {
                let reason = format!("the link to `{target}` leads nowhere");
                findings.push(Finding::error(&document.path, line, reason));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` and `[name]: target`, outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece between backticks is code.
            let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            let inline = prose
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            let definition = prose
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("]: "))
                .map(|(_, target)| target);
            found.extend(
                inline
                    .chain(definition)
                    .map(|it| (index + 1, it.trim().to_owned())),
            );
        }
    }
    found
}

fn resolves(sources: &Sources, document: &Text, target: &str) -> bool {
    if ["https://", "http://", "mailto:"]
        .iter()
        .any(|start| target.starts_with(start))
    {
        return true;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let linked = if file.is_empty() {
        Some(document)
    } else {
        let Some(path) = beside(&document.path, file) else {
            return false;
        };
        let folder = format!("{}/", path.trim_end_matches('/'));
        if sources
            .texts()
            .iter()
            .any(|text| text.path.starts_with(&folder))
        {
            return true;
        }
        sources.find(&path)
    };
    linked.is_some_and(|text| heading.is_empty() || has_heading(&text.text, heading))
}

/// A path that is written relative to a document, from the root. None leads out of the project.
fn beside(document: &str, target: &str) -> Option<String> {
    let mut path = PathBuf::from(document);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return None,
        }
    }
    path.to_str().map(Into::into)
}

/// Whether a document has a heading of this anchor: in lower case, with dashes for spaces and
/// without signs.
fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim())
        .any(|heading| {
            let kept = heading.chars().filter_map(|c| match c {
                ' ' => Some('-'),
                '-' | '_' => Some(c),
                _ => c.is_alphanumeric().then_some(c),
            });
            kept.flat_map(char::to_lowercase).eq(anchor.chars())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: (&str, &str) = ("docs/other.md", "# The other, part 1\n");

    fn findings(text: &str) -> usize {
        check(&Sources::fixture(&[("docs/a.md", text), OTHER])).len()
    }

    #[test]
    fn broken_links_are_found() {
        for bad in [
            "[a](missing.md)",
            "[a](../../outside.md)",
            "[a](/docs/other.md)",
            "[a](other.md#part-2)",
            "[a](#nowhere)",
            "[a]: missing.md",
        ] {
            assert_eq!(findings(bad), 1, "{bad}");
        }
    }

    #[test]
    fn good_links_and_code_are_left_alone() {
        for good in [
            "[a](other.md) and [b](../docs/other.md#the-other-part-1)",
            "[a](https://example.com/missing.md)",
            "[a](../docs/)",
            "`[a](missing.md)`",
            "```\n[a](missing.md)\n```",
            "# Here\n[a](#here)",
        ] {
            assert_eq!(findings(good), 0, "{good}");
        }
    }
}
