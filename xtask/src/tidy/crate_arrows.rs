//! Which room may use which: arrows point down, never beside or up.

use super::finding::Finding;
use crate::cargo::{Dependency, Package, Workspace};

/// Each room, and the rooms that it may use. A new arrow is a decision: write it down in
/// `docs/decisions/`, then here.
const ROOMS: [(&str, &[&str]); 12] = [
    ("orderlock-server", &["orderlock-orders", "orderlock"]),
    ("orderlock-orders", &["orderlock-core"]),
    (
        "orderlock",
        &[
            "orderlock-core",
            "orderlock-mongodb",
            "orderlock-postgres",
            "orderlock-sqlite",
        ],
    ),
    ("orderlock-mongodb", &["orderlock-core"]),
    ("orderlock-postgres", &["orderlock-core"]),
    ("orderlock-sqlite", &["orderlock-core"]),
    ("orderlock-testkit", &["orderlock-core"]),
    ("orderlock-core", &[]),
    ("orderlock-bench", &["orderlock-orders", "orderlock"]),
    (
        "orderlock-torture",
        &[
            "orderlock-core",
            "orderlock-mongodb",
            "orderlock-postgres",
            "orderlock-simulator",
            "orderlock-sqlite",
        ],
    ),
    (
        "orderlock-simulator",
        &["orderlock-core", "orderlock-testkit"],
    ),
    ("xtask", &[]),
];

/// What every room but itself may use in its tests, and no room outside them.
const TESTKIT: &str = "orderlock-testkit";

/// The room that drives the binary from outside, and so uses none of ours even in its tests.
const OUTSIDE: &str = "xtask";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = workspace.relative(&package.manifest_path);
        let errors = judge(package, &workspace.packages);
        findings.extend(
            errors
                .into_iter()
                .map(|error| Finding::error(&path, 1, error)),
        );
    }
    findings
}

fn judge(package: &Package, all: &[Package]) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
        return vec![format!("{name} has no place among the rooms of the law")];
    };
    let ours = package
        .dependencies
        .iter()
        .filter(|dependency| all.iter().any(|other| other.name == dependency.name));
    ours.filter_map(|dependency| fault(name, allowed, dependency))
        .collect()
}

fn fault(name: &str, allowed: &[&str], dependency: &Dependency) -> Option<String> {
    let other = dependency.name.as_str();
    if other == TESTKIT && dependency.kind.as_deref() == Some("dev") {
        return if name == TESTKIT || name == OUTSIDE {
            Some(format!("{name} does not use {other}, even in its tests"))
        } else if dependency.req != "*" {
            Some(format!(
                "{other} is used by path alone, or publishing goes in a circle"
            ))
        } else {
            None
        };
    }
    let fits = allowed.contains(&other);
    (!fits).then(|| format!("{name} may not use {other}: arrows point down (docs/architecture.md)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, other: &str, kind: Option<&str>, req: &str) -> usize {
        let package = |name: &str| Package {
            name: name.into(),
            version: "1.0.0".into(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![],
            targets: vec![],
        };
        let mut user = package(name);
        user.dependencies.push(Dependency {
            name: other.into(),
            req: req.into(),
            kind: kind.map(Into::into),
        });
        judge(&user, &[package(other)]).len()
    }

    #[test]
    fn arrows_point_down() {
        assert_eq!(faults("orderlock-server", "orderlock", None, "^1.0.0"), 0);
        assert_eq!(
            faults("orderlock-server", "orderlock-core", None, "^1.0.0"),
            1
        );
        assert_eq!(faults("orderlock-core", "orderlock", None, "^1.0.0"), 1);
        assert_eq!(faults("orderlock-core", "orderlock", Some("dev"), "*"), 1);
        assert_eq!(faults("xtask", "orderlock-core", None, "*"), 1);
        assert_eq!(faults("orderlock-unknown", "orderlock-core", None, "*"), 1);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(faults("orderlock-core", TESTKIT, Some("dev"), "*"), 0);
        assert_eq!(faults("orderlock-core", TESTKIT, Some("dev"), "^1.0.0"), 1);
        assert_eq!(faults("orderlock-core", TESTKIT, None, "*"), 1);
        assert_eq!(faults("xtask", TESTKIT, Some("dev"), "*"), 1);
    }

    #[test]
    fn a_crate_of_somebody_else_is_not_judged_here() {
        let package = Package {
            name: "orderlock-core".into(),
            version: "1.0.0".into(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![Dependency {
                name: "bytes".into(),
                req: "^1".into(),
                kind: None,
            }],
            targets: vec![],
        };
        assert!(judge(&package, &[]).is_empty());
    }
}
