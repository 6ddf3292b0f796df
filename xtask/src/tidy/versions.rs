//! All crates of the project have one version, and name each other by it.

use super::finding::Finding;
use crate::cargo::{Package, Workspace};

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = workspace.relative(&package.manifest_path);
        let reasons = judge(package, &workspace.packages);
        findings.extend(
            reasons
                .into_iter()
                .map(|reason| Finding::error(&path, 1, reason)),
        );
    }
    findings
}

fn judge(package: &Package, all: &[Package]) -> Vec<String> {
    let Some(first) = all.first() else {
        return vec![];
    };
    let mut faults = Vec::new();
    if package.version != first.version {
        let (name, version) = (&package.name, &package.version);
        faults.push(format!(
            "{name} is {version}, {} is {}: take `version.workspace = true`",
            first.name, first.version
        ));
    }
    for dependency in &package.dependencies {
        let ours = all.iter().find(|other| other.name == dependency.name);
        let wanted = format!("^{}", first.version);
        if ours.is_some() && dependency.req != "*" && dependency.req != wanted {
            let (name, req) = (&dependency.name, &dependency.req);
            faults.push(format!("asks for {name} {req}, which is {wanted} here"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn package(version: &str, req: &str) -> Package {
        Package {
            name: "orderlock".into(),
            version: version.into(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![Dependency {
                name: "orderlock".into(),
                req: req.into(),
                kind: None,
            }],
            targets: vec![],
        }
    }

    #[test]
    fn one_version_for_all() {
        let first = package("0.2.0", "*");
        for (version, req, faults) in [
            ("0.2.0", "^0.2.0", 0),
            ("0.2.0", "*", 0),
            ("0.1.0", "^0.2.0", 1),
            ("0.2.0", "^0.1.0", 1),
        ] {
            let found = judge(&package(version, req), std::slice::from_ref(&first));
            assert_eq!(found.len(), faults, "{version} {req}");
        }
    }
}
