//! Ends the cluster with this program.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;

use super::Cluster;
use crate::guard::Guard;

/// The data are thrown away, so that the server need not put them in order first.
const SCRIPT: &str = r#"
    read -r _
    if [ -e data/postmaster.pid ]; then "$1" stop --wait --mode=immediate --pgdata=data; fi
    cd / && rm -rf "$2"
"#;

/// Begins to watch over a cluster that need not be there yet.
///
/// # Errors
/// The shell is not there.
pub(super) fn over(cluster: &Cluster<'_>) -> Result<Guard> {
    let mut command = cluster.command(Path::new("bash"));
    command
        .args(["-c", SCRIPT, "guard"])
        .arg(cluster.programs.join("pg_ctl"))
        .arg(cluster.folder)
        .stdout(Stdio::null());
    Guard::start(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster {
            programs: Path::new("/"),
            folder: folder.path(),
            account: None,
        };
        let guard = over(&cluster).unwrap();
        assert!(folder.path().exists());
        drop(guard);
        assert!(!folder.path().exists());
    }
}
