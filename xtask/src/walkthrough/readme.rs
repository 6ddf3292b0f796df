//! Finds the commands and the start-up text in README.md.

use anyhow::{Result, bail, ensure};

/// The line above the block with the start-up text.
const STARTUP_MARK: &str = "<!-- startup -->";

/// What a README promises.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Readme {
    /// What the server prints when it starts.
    pub(super) startup: Vec<String>,
    /// The commands, in order.
    pub(super) steps: Vec<Step>,
}

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The number of the command's first line.
    pub(super) line: usize,
    /// One command, which may have several lines.
    pub(super) command: String,
    /// The lines after it.
    pub(super) expected: Vec<String>,
}

/// A fenced block.
#[derive(Debug, Default)]
struct Block {
    language: String,
    is_startup: bool,
    /// The number of its first line.
    line: usize,
    lines: Vec<String>,
}

impl Readme {
    /// Reads every ` ```console ` block, and the ` ```text ` block under the start-up mark.
    ///
    /// # Errors
    /// There are none, or they are written in a way that cannot be run.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut steps = Vec::new();
        let mut startup = None;
        for block in blocks(text) {
            if block.is_startup {
                let line = block.line;
                ensure!(
                    block.language == "text",
                    "README.md:{line}: the start-up text is in a ```text block"
                );
                // Otherwise it would be unknown when the server has printed all of it.
                ensure!(
                    block.lines.last().is_some_and(|last| last.trim() != "..."),
                    "README.md:{line}: the start-up text shows its last line, not `...`"
                );
                ensure!(
                    startup.replace(block.lines).is_none(),
                    "README.md:{line}: there are two start-up texts"
                );
            } else if block.language == "console" {
                steps.extend(read_steps(&block)?);
            }
        }
        let Some(startup) = startup else {
            bail!("README.md has no ```text block under a line `{STARTUP_MARK}`");
        };
        ensure!(
            !steps.is_empty(),
            "README.md has no ```console block with a line that begins with `$ `"
        );
        Ok(Self { startup, steps })
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    let mut marked = false;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        match open.take() {
            Some((block, _)) if content.trim_end() == "```" => blocks.push(block),
            Some((mut block, indent)) => {
                // A block in a list is indented as the list is.
                let shift = indent.min(line.len() - content.len());
                block.lines.push(line[shift..].into());
                open = Some((block, indent));
            }
            None => {
                if let Some(language) = content.strip_prefix("```") {
                    let block = Block {
                        language: language.trim().into(),
                        is_startup: std::mem::take(&mut marked),
                        line: index + 2,
                        lines: vec![],
                    };
                    open = Some((block, line.len() - content.len()));
                } else if !content.is_empty() {
                    marked = content.trim_end() == STARTUP_MARK;
                }
            }
        }
    }
    blocks
}

fn read_steps(block: &Block) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = block.lines.iter().zip(block.line..).peekable();
    while let Some((text, line)) = lines.next() {
        if let Some(start) = text.strip_prefix("$ ") {
            let mut command = start.to_owned();
            while continues(&command) {
                let Some((more, _)) = lines.next() else {
                    bail!("README.md:{line}: the command does not end");
                };
                command.push('\n');
                command.push_str(more.strip_prefix("> ").unwrap_or(more));
            }
            steps.push(Step {
                line,
                command,
                expected: vec![],
            });
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(text.clone());
        } else {
            bail!("README.md:{line}: a console block begins with a command, `$ ...`");
        }
    }
    Ok(steps)
}

/// Whether a command goes on in the next line: after a backslash, or inside single quotes, where
/// bodies of several lines are.
fn continues(command: &str) -> bool {
    command.ends_with('\\') || command.matches('\'').count() % 2 == 1
}

/// The commands that a server offers in its start-up text.
pub(super) fn offered(printed: &[String]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = printed.iter().map(|line| line.trim());
    while let Some(line) = lines.next() {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if line.starts_with("curl ") {
            let mut command = line.to_owned();
            while continues(&command) {
                let Some(more) = lines.next() else { break };
                command.push('\n');
                command.push_str(more);
            }
            commands.push(command);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = r#"# Orderlock

<!-- startup -->

```text
listening on ...
```

```sh
cargo run --release
```

1. First:

   ```console
   $ curl -s a \
     -d 'b
   c'
   {"status": 200}

   $ true
   ```
"#;

    #[test]
    fn commands_and_answers_are_found() {
        let readme = Readme::parse(README).unwrap();
        assert_eq!(readme.startup, ["listening on ..."]);
        let [first, second] = readme.steps.as_slice() else {
            panic!("two steps: {readme:?}")
        };
        assert_eq!(first.command, "curl -s a \\\n  -d 'b\nc'");
        assert_eq!(first.expected, ["{\"status\": 200}", ""]);
        assert_eq!((first.line, second.line), (16, 21));
        assert_eq!(
            (second.command.as_str(), second.expected.len()),
            ("true", 0)
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_place() {
        let startup = "<!-- startup -->\n```text\na\n```\n";
        for (text, part) in [
            ("# Empty", "under a line"),
            (startup, "no ```console block"),
            (
                &format!("{startup}```console\n$ a \\\n```"),
                "README.md:6: the command does not end",
            ),
            (
                &format!("{startup}```console\nb\n```"),
                "README.md:6: a console block begins",
            ),
            (
                &startup.replace("\na\n", "\n...\n"),
                "README.md:3: the start-up text shows",
            ),
            (&format!("{startup}{startup}"), "two start-up texts"),
        ] {
            let error = Readme::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_commands_of_the_server_are_found() {
        let text = "Orderlock\n  try: x\n  curl -s a \\\n    -d '{}'\n  $ curl b\n";
        let printed: Vec<String> = text.lines().map(Into::into).collect();
        assert_eq!(offered(&printed), ["curl -s a \\\n-d '{}'", "curl b"]);
    }
}
