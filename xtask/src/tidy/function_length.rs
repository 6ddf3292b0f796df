//! A function fits on one screen, tests included.

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use super::finding::Finding;
use super::source::Sources;

const LINES_MAX: usize = 70;

pub(super) fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources.rust() {
        let mut measure = Measure {
            path: &file.path,
            findings: &mut findings,
        };
        measure.visit_file(&file.file);
    }
    findings
}

struct Measure<'a> {
    path: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Measure<'_> {
    /// Counts from the signature to the closing brace: comments above it do not make it longer.
    fn judge(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (
            line(signature.span()),
            block.brace_token.span.close().end().line,
        );
        let lines = end - start + 1;
        if lines > LINES_MAX {
            let name = &signature.ident;
            let reason = format!("the function `{name}` has {lines} lines (at most {LINES_MAX})");
            self.findings.push(Finding::error(self.path, start, reason));
        }
    }
}

fn line(span: Span) -> usize {
    span.start().line
}

impl<'ast> Visit<'ast> for Measure<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.judge(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.judge(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.judge(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(head: &str, lines: usize, tail: &str) -> usize {
        let text = format!(
            "{head} fn long() {{\n{}}}{tail}",
            "    ;\n".repeat(lines - 2)
        );
        check(&Sources::fixture(&[("a.rs", &text)])).len()
    }

    #[test]
    fn a_long_function_is_found_wherever_it_stands() {
        for (head, tail) in [
            ("/// A comment.\n\n", ""),
            ("impl A {", "}"),
            ("trait A {", "}"),
            ("mod tests {", "}"),
        ] {
            assert_eq!(findings(head, LINES_MAX, tail), 0, "{head}");
            assert_eq!(findings(head, LINES_MAX + 1, tail), 1, "{head}");
        }
    }
}
