//! Installs Debian's programs, if that needs no password.

use std::path::Path;

use anyhow::Result;

use super::programs::ADVICE;
use crate::debian::Missing;

/// Debian makes a cluster with the package, and starts it with the machine. The tests do not need
/// that one, so it is switched off while the package is installed.
const POSTGRESQL: &str = r#"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install --yes --no-install-recommends --no-upgrade postgresql-common
    setting=/etc/postgresql-common/createcluster.d/orderlock-test.conf
    mkdir -p "${setting%/*}"
    trap 'rm -f "$setting"' EXIT
    echo 'create_main_cluster = false' > "$setting"
    apt-get install --yes --no-install-recommends --no-upgrade postgresql
"#;

/// Debian starts the pooler with its package, and with the machine. So only the libraries that it
/// needs are installed, and the program itself is unpacked into a folder of this project's.
const LIBRARIES: &str = r#"
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    libraries=$(apt-cache depends pgbouncer | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
    apt-get install --yes --no-install-recommends --no-upgrade $libraries
"#;
const UNPACK: &str = r#"
    set -e
    mkdir -p "$1"
    cd "$1"
    apt-get download pgbouncer
    dpkg-deb --extract pgbouncer_*.deb .
"#;

/// Installs the server.
///
/// # Errors
/// This machine has no apt-get, or no right to use it: what to do instead.
pub(super) fn postgresql() -> Result<()> {
    missing("PostgreSQL").install(POSTGRESQL)
}

/// Unpacks the pooler into a folder.
///
/// # Errors
/// As for the server.
pub(super) fn pgbouncer(folder: &Path) -> Result<()> {
    missing("PgBouncer").install(LIBRARIES)?;
    missing("PgBouncer").unpack(UNPACK, folder)
}

fn missing(what: &'static str) -> Missing {
    Missing {
        what,
        advice: ADVICE,
    }
}
