//! Compares what a command printed with what the README shows.
//!
//! `...` matches anything: as a whole line for any number of lines, within a line for any part of
//! it.

/// What the README shows for one command.
#[derive(Debug)]
pub(super) struct Expected<'a>(&'a [String]);

const ANYTHING: &str = "...";

impl<'a> Expected<'a> {
    /// Takes the lines of the README. Blank lines at the end do not count.
    pub(super) fn new(lines: &'a [String]) -> Self {
        Self(trimmed(lines))
    }

    /// Whether these lines were printed. Blank lines at the end do not count.
    pub(super) fn matches(&self, printed: &[String]) -> bool {
        let printed = trimmed(printed);
        let blocks: Vec<&[String]> = self.0.split(|line| line.trim() == ANYTHING).collect();
        let fits = |block: &[String], lines: &[String]| {
            block.len() <= lines.len() && block.iter().zip(lines).all(|(a, b)| line_matches(a, b))
        };
        let [first, middle @ .., last] = blocks.as_slice() else {
            return fits(self.0, printed) && self.0.len() == printed.len();
        };
        if !fits(first, printed) {
            return false;
        }
        let mut rest = &printed[first.len()..];
        for block in middle {
            let found = (0..=rest.len()).find(|start| fits(block, &rest[*start..]));
            let Some(start) = found else {
                return false;
            };
            rest = &rest[start + block.len()..];
        }
        last.len() <= rest.len() && fits(last, &rest[rest.len() - last.len()..])
    }

    /// Both texts, for the person who has to find out.
    pub(super) fn difference(&self, printed: &[String]) -> String {
        let show = |lines: &[String]| -> String {
            let lines = trimmed(lines).iter();
            lines.map(|line| format!("  | {line}\n")).collect()
        };
        let printed_text = show(printed);
        format!(
            "README.md shows:\n{}printed was:\n{printed_text}",
            show(self.0)
        )
    }
}

/// The leftmost place for each part is the best one, because it leaves the most room for the rest.
fn line_matches(expected: &str, printed: &str) -> bool {
    let (expected, printed) = (expected.trim_end(), printed.trim_end());
    let Some((first, others)) = expected.split_once(ANYTHING) else {
        return expected == printed;
    };
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = others.rsplit_once(ANYTHING).unwrap_or(("", others));
    for part in middle.split(ANYTHING) {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}

fn trimmed(lines: &[String]) -> &[String] {
    let blank = lines.iter().rev().take_while(|line| line.trim().is_empty());
    &lines[..lines.len() - blank.count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(Into::into).collect()
    }

    fn matches(expected: &str, printed: &str) -> bool {
        Expected::new(&lines(expected)).matches(&lines(printed))
    }

    #[test]
    fn without_placeholders_every_letter_counts() {
        assert!(matches("a\nb", "a\nb\n"));
        assert!(!matches("a\nb", "a\nc"));
        assert!(!matches("a", "a\nb"));
        assert!(!matches("a\nb", "a"));
        assert!(matches("", "\n"));
        assert!(!matches("", "a"));
    }

    #[test]
    fn a_placeholder_in_a_line_stands_for_a_part_of_it() {
        assert!(matches(
            r#"{"id": "ord_...", "version": 1}"#,
            r#"{"id": "ord_7f", "version": 1}"#
        ));
        assert!(!matches(
            r#"{"id": "ord_...", "version": 1}"#,
            r#"{"id": "x7f", "version": 1}"#
        ));
        assert!(!matches(
            r#"{"id": "ord_...", "version": 1}"#,
            r#"{"id": "ord_7", "version": 2}"#
        ));
        assert!(matches("a...b...c", "a b b c"));
        assert!(!matches("a...b...c", "a c b"));
        assert!(!matches("ab...bc", "abc"), "a letter is used once");
    }

    #[test]
    fn a_placeholder_line_stands_for_any_lines() {
        assert!(matches("a\n...\nd", "a\nb\nc\nd"));
        assert!(matches("a\n...\nd", "a\nd"));
        assert!(!matches("a\n...\nd", "a\nb"));
        assert!(matches("...\nb\n...", "a\nb\nc"));
        assert!(matches("...", ""));
        assert!(!matches("a\n...\na", "a"), "a line is used once");
        assert!(matches("...\nb\nc\n...\nc", "b\nb\nc\nc"));
    }

    #[test]
    fn both_texts_are_shown() {
        let text = Expected::new(&lines("a\n")).difference(&lines("b\n"));
        assert!(
            text.contains("  | a\n") && text.contains("  | b\n"),
            "{text}"
        );
    }
}
