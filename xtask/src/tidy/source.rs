//! The files that the laws read.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use anyhow::{Context as _, Result};
use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned as _;

use super::finding::Finding;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = [".git", "node_modules", "target"];

/// Every text file of the project.
#[derive(Default)]
pub(super) struct Sources {
    texts: Vec<Text>,
    rust: Vec<Rust>,
    unreadable: Vec<Finding>,
}

/// One text file.
#[derive(Debug)]
pub(super) struct Text {
    /// From the root of the workspace, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// One Rust file, as text, as tokens and as a tree.
pub(super) struct Rust {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    pub(super) file: syn::File,
    /// The lines of the in-file test modules.
    pub(super) test_modules: Vec<RangeInclusive<usize>>,
}

/// A word or a sign of Rust code. Comments are none, and text in quotes is one.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Sources {
    /// Reads every text file below a folder. A file that is not text is passed over.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let mut sources = Self::default();
        sources.enter(root, "")?;
        Ok(sources)
    }

    /// The files of a test of a law.
    #[cfg(test)]
    pub(super) fn fixture(files: &[(&str, &str)]) -> Self {
        let mut sources = Self::default();
        for (path, text) in files {
            sources.add((*path).into(), (*text).into());
        }
        assert_eq!(sources.unreadable, []);
        sources
    }

    /// Every text file, the Rust files included.
    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Every file of one name ending, such as `.md`.
    pub(super) fn ending(&self, ending: &str) -> impl Iterator<Item = &Text> {
        let texts = self.texts.iter();
        texts.filter(move |text| text.path.ends_with(ending))
    }

    /// One file by its path.
    pub(super) fn find(&self, path: &str) -> Option<&Text> {
        self.texts.iter().find(|text| text.path == path)
    }

    /// Every Rust file.
    pub(super) fn rust(&self) -> &[Rust] {
        &self.rust
    }

    /// Rust files that are none.
    pub(super) fn unreadable(&self) -> &[Finding] {
        &self.unreadable
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    fn enter(&mut self, root: &Path, folder: &str) -> Result<()> {
        let place = root.join(folder);
        let entries = fs::read_dir(&place).with_context(|| format!("reading {folder}/"))?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() {
                name.clone()
            } else {
                format!("{folder}/{name}")
            };
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                self.enter(root, &path)?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).with_context(|| format!("reading {path}"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.add(path, text);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: String) {
        if path.ends_with(".rs") {
            match Rust::parse(&path, &text) {
                Ok(rust) => self.rust.push(rust),
                Err(error) => {
                    let line = error.span().start().line;
                    let reason = format!("this is not Rust: {error}");
                    self.unreadable.push(Finding::error(&path, line, reason));
                }
            }
        }
        self.texts.push(Text { path, text });
    }
}

impl Rust {
    fn parse(path: &str, text: &str) -> syn::Result<Self> {
        let stream: TokenStream = text.parse()?;
        let file: syn::File = syn::parse2(stream.clone())?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Ok(Self {
            path: path.into(),
            text: text.into(),
            test_modules: file.items.iter().filter_map(test_module).collect(),
            tokens,
            file,
        })
    }

    /// Whether a line is test code.
    pub(super) fn is_test(&self, line: usize) -> bool {
        self.is_test_file() || self.test_modules.iter().any(|range| range.contains(&line))
    }

    /// Whether the whole file is test code.
    pub(super) fn is_test_file(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The lines at which a sequence of tokens begins. It is written with spaces between them:
    /// `tokio :: spawn`.
    pub(super) fn places(&self, sequence: &str) -> Vec<usize> {
        let wanted: Vec<&str> = sequence.split(' ').collect();
        let windows = self.tokens.windows(wanted.len());
        windows
            .filter(|window| window.iter().map(|token| &token.text).eq(wanted.iter()))
            .map(|window| window[0].line)
            .collect()
    }
}

/// The lines of an item `#[cfg(test)] mod ... { ... }`.
fn test_module(item: &syn::Item) -> Option<RangeInclusive<usize>> {
    let syn::Item::Mod(module) = item else {
        return None;
    };
    let attribute = module.attrs.iter().find(|attribute| {
        let condition = attribute.meta.require_list();
        attribute.path().is_ident("cfg")
            && condition.is_ok_and(|list| list.tokens.to_string() == "test")
    })?;
    let (braces, _) = module.content.as_ref()?;
    Some(attribute.span().start().line..=braces.span.close().end().line)
}

/// Writes a tree of tokens out as a row, with `::` as one token.
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut half_path = false;
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(group.delimiter());
                tokens.push(Token::new(open, line));
                flatten(group.stream(), tokens);
                tokens.push(Token::new(close, group.span_close().start().line));
                half_path = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && half_path => {
                if let Some(first) = tokens.last_mut() {
                    first.text.push(':');
                }
                half_path = false;
            }
            TokenTree::Punct(punct) => {
                half_path = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                tokens.push(Token::new(&punct.to_string(), line));
            }
            other => {
                tokens.push(Token::new(&other.to_string(), line));
                half_path = false;
            }
        }
    }
}

fn delimiters(delimiter: proc_macro2::Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        proc_macro2::Delimiter::Parenthesis => ("(", ")"),
        proc_macro2::Delimiter::Brace => ("{", "}"),
        proc_macro2::Delimiter::Bracket => ("[", "]"),
        proc_macro2::Delimiter::None => ("", ""),
    }
}

impl Token {
    fn new(text: &str, line: usize) -> Self {
        Self {
            text: text.into(),
            line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! Doc.\n// tokio::spawn\nfn a() {\n    m!(tokio::spawn(\"x\"));\n}\n\
        #[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";

    #[test]
    fn tokens_are_found_in_macros_and_not_in_comments() {
        let sources = Sources::fixture(&[("a.rs", FILE)]);
        assert_eq!(sources.rust()[0].places("tokio :: spawn"), [4]);
        assert!(sources.rust()[0].places("doc :: spawn").is_empty());
    }

    #[test]
    fn the_test_module_is_known_by_its_lines() {
        let sources = Sources::fixture(&[("a.rs", FILE), ("x/tests/b.rs", "fn c() {}")]);
        let [file, test] = sources.rust() else {
            panic!("two files")
        };
        assert_eq!(file.test_modules, [6..=9]);
        assert!(file.is_test(8) && !file.is_test(3) && test.is_test(1));
    }

    #[test]
    fn what_is_not_rust_is_said_with_its_line() {
        let mut sources = Sources::default();
        sources.add("a.rs".into(), "fn a() {}\nfn".into());
        assert_eq!(sources.unreadable().len(), 1);
        assert!(sources.rust().is_empty());
    }
}
