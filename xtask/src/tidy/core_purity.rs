//! The core and the order model know no HTTP and no SQL, directly or through others.

use anyhow::Result;

use super::finding::Finding;
use crate::cargo::Workspace;

const PURE: [&str; 2] = ["orderlock-core", "orderlock-orders"];

/// The beginnings of the names of crates that a pure crate is not built from.
const FORBIDDEN: [&str; 14] = [
    "axum",
    "bson",
    "diesel",
    "http",
    "hyper",
    "libsqlite3-sys",
    "mongodb",
    "postgres",
    "reqwest",
    "rusqlite",
    "sqlx",
    "tokio-postgres",
    "tower",
    "utoipa",
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in workspace
        .packages
        .iter()
        .filter(|it| PURE.contains(&it.name.as_str()))
    {
        let path = workspace.relative(&package.manifest_path);
        let used = workspace.built_from(&package.name)?;
        let reasons = judge(&package.name, &used);
        findings.extend(
            reasons
                .into_iter()
                .map(|reason| Finding::error(&path, 1, reason)),
        );
    }
    Ok(findings)
}

fn judge(package: &str, used: &[String]) -> Vec<String> {
    let forbidden = used
        .iter()
        .filter(|name| FORBIDDEN.iter().any(|start| name.starts_with(start)));
    forbidden
        .map(|name| {
            format!(
                "{package} is built from {name} by default; \
                 `cargo tree -p {package} -i {name}` shows through what"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_and_sql_are_found() {
        let used = ["tokio", "axum-core", "serde", "rusqlite"].map(Into::into);
        assert_eq!(judge("orderlock-core", &used).len(), 2);
        assert!(judge("orderlock-core", &["tokio".into()]).is_empty());
    }
}
