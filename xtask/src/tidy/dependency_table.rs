//! Every dependency has a line that says what it is for, and why this one was chosen.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::finding::Finding;
use super::source::Sources;

const MANIFEST: &str = "Cargo.toml";
const TABLE: &str = "docs/dependencies.md";

pub(super) fn check(sources: &Sources) -> Result<Vec<Finding>> {
    let manifest = sources.find(MANIFEST).context("there is no Cargo.toml")?;
    let Some(table) = sources.find(TABLE) else {
        return Ok(vec![Finding::error(TABLE, 1, "the file is missing")]);
    };
    judge(&manifest.text, &table.text)
}

fn judge(manifest: &str, table: &str) -> Result<Vec<Finding>> {
    let declared = declared(manifest)?;
    let described = described(table);
    let mut findings = Vec::new();
    for name in declared
        .iter()
        .filter(|name| !described.contains_key(name.as_str()))
    {
        let entry = manifest
            .lines()
            .position(|line| line.starts_with(&format!("{name} =")));
        let reason = format!("{name} has no line in {TABLE}: say what for, and why this one");
        findings.push(Finding::error(
            MANIFEST,
            entry.map_or(1, |index| index + 1),
            reason,
        ));
    }
    for (name, line) in described
        .iter()
        .filter(|(name, _)| !declared.contains(name))
    {
        let reason = format!("{name} is not in [workspace.dependencies] any more");
        findings.push(Finding::error(TABLE, *line, reason));
    }
    Ok(findings)
}

/// The names under `[workspace.dependencies]` that are not crates of this project.
fn declared(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse().context("the root Cargo.toml")?;
    let dependencies = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(toml::Value::as_table)
        .context("the root Cargo.toml has no [workspace.dependencies]")?;
    let foreign = dependencies
        .iter()
        .filter(|(_, value)| value.get("path").is_none());
    Ok(foreign.map(|(name, _)| name.clone()).collect())
}

/// The names in the first column of the table, each with its line: ``| `name` | ...``.
fn described(table: &str) -> BTreeMap<String, usize> {
    let rows = table.lines().enumerate().filter_map(|(index, line)| {
        let (name, _) = line.strip_prefix("| `")?.split_once('`')?;
        Some((name.to_owned(), index + 1))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST_TEXT: &str = "[workspace.dependencies]\nours = { path = \"ours\" }\n\
        bytes = \"1\"\nserde = { version = \"1\" }\n";

    #[test]
    fn both_ways_are_checked() {
        let table = "| crate | for |\n| --- | --- |\n| `bytes` | x |\n| `gone` | y |\n";
        let findings = judge(MANIFEST_TEXT, table).unwrap();
        let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(
            texts[0].starts_with("Cargo.toml:4: error: serde"),
            "{texts:?}"
        );
        assert!(
            texts[1].starts_with("docs/dependencies.md:4: error: gone"),
            "{texts:?}"
        );
    }

    #[test]
    fn a_complete_table_is_good() {
        let table = "| `bytes` | x |\n| `serde` | y |\n";
        assert!(judge(MANIFEST_TEXT, table).unwrap().is_empty());
    }
}
