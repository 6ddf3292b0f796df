//! The library example that the README shows is the one that is compiled and run.

use super::finding::Finding;
use super::source::Sources;

const README: &str = "README.md";
const EXAMPLE: &str = "crates/orderlock/examples/minimal.rs";

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let (Some(readme), Some(example)) = (sources.find(README), sources.find(EXAMPLE)) else {
        return vec![Finding::error(
            EXAMPLE,
            1,
            "the README's example is missing",
        )];
    };
    let mut lines = readme.text.lines().enumerate();
    let Some((start, _)) = lines.find(|(_, line)| *line == "```rust") else {
        return vec![Finding::error(README, 1, "it shows no library example")];
    };
    let shown: Vec<&str> = lines
        .map(|(_, line)| line)
        .take_while(|line| *line != "```")
        .collect();
    // What the file says of itself at its head is said by the text round the block.
    let code: Vec<&str> = example
        .text
        .lines()
        .skip_while(|line| line.starts_with("//!") || line.starts_with("#![") || line.is_empty())
        .collect();
    if shown == code {
        return vec![];
    }
    let reason = format!("the block is not `{EXAMPLE}` without its head");
    vec![Finding::error(README, start + 1, reason)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_the_file() {
        let example = (EXAMPLE, "//! Head.\n\nfn main() {}\n");
        let readme = |code| format!("# A\n\n```rust\n{code}\n```\n");
        let same = Sources::fixture(&[(README, &readme("fn main() {}")), example]);
        assert_eq!(check(&same), []);
        let other = Sources::fixture(&[(README, &readme("fn main() { }")), example]);
        assert_eq!(check(&other).len(), 1);
        assert_eq!(check(&Sources::fixture(&[example])).len(), 1);
        assert_eq!(
            check(&Sources::fixture(&[(README, "# A\n"), example])).len(),
            1
        );
    }
}
