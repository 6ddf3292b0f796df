//! The laws of this project that no other tool knows, one file each.

mod changelog;
mod core_purity;
mod core_runtime;
mod crate_arrows;
mod dependency_table;
mod file_length;
mod finding;
mod function_length;
mod leftovers;
mod links;
mod module_header;
mod readme_example;
mod skipped_tests;
mod sleeping;
mod source;
mod type_names;
mod versions;
mod words;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::Workspace;
use finding::{Finding, Weight};
use source::Sources;

/// What the laws judge.
struct Project<'a> {
    workspace: &'a Workspace,
    sources: Sources,
}

/// A law, by its name.
type Law = (&'static str, fn(&Project<'_>) -> Result<Vec<Finding>>);

const LAWS: [Law; 16] = [
    ("file length", |p| Ok(file_length::check(&p.sources))),
    ("function length", |p| {
        Ok(function_length::check(&p.sources))
    }),
    ("module header", |p| Ok(module_header::check(&p.sources))),
    ("crate arrows", |p| Ok(crate_arrows::check(p.workspace))),
    ("core purity", |p| core_purity::check(p.workspace)),
    ("core runtime", |p| Ok(core_runtime::check(&p.sources))),
    ("skipped tests", |p| Ok(skipped_tests::check(&p.sources))),
    ("sleeping", |p| Ok(sleeping::check(&p.sources))),
    ("type names", |p| Ok(type_names::check(&p.sources))),
    ("versions", |p| Ok(versions::check(p.workspace))),
    ("dependency table", |p| dependency_table::check(&p.sources)),
    ("links", |p| Ok(links::check(&p.sources))),
    ("words", |p| Ok(words::check(&p.sources))),
    ("changelog", |p| Ok(changelog::check(&p.sources))),
    ("README example", |p| Ok(readme_example::check(&p.sources))),
    ("leftovers", |p| Ok(leftovers::check(&p.sources))),
];

/// Judges the project by every law.
///
/// # Errors
/// How many times a law is broken; each place has been printed.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let project = Project {
        workspace,
        sources: Sources::load(&workspace.root)?,
    };
    let mut broken = 0;
    for finding in project.sources.unreadable() {
        println!("{finding}");
        broken += 1;
    }
    for (name, law) in LAWS {
        for finding in law(&project).with_context(|| format!("the law of {name}"))? {
            println!("{finding} [{name}]");
            broken += usize::from(finding.weight == Weight::Error);
        }
    }
    ensure!(broken == 0, "{broken} errors; CONTRIBUTING.md has the laws");
    let files = project.sources.len();
    println!("    {} laws hold for {files} files", LAWS.len());
    Ok(())
}
