//! The user that the server runs as. PostgreSQL refuses to run as root, so root starts it as
//! another user.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::debian::is_root;

/// The candidates, in this order: PostgreSQL's own user, if it exists, and else the one that every
/// machine has and that owns nothing.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Whom the server runs as, if not as who runs this.
    ///
    /// # Errors
    /// The process runs as root, and there is no other user.
    pub(super) fn of_server() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("this machine lists no users")?;
        let found = NAMES.iter().find_map(|name| Self::find(&users, name));
        let found = found.context(
            "PostgreSQL does not run as root, and this machine has no user `postgres` or `nobody`",
        )?;
        Ok(Some(found))
    }

    /// A user in the text of `/etc/passwd`: `name:password:user:group:...`.
    fn find(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find_map(|line| {
            let (found, rest) = line.split_once(':')?;
            (found == name).then_some(rest)
        })?;
        let mut fields = line.split(':').skip(1);
        Some(Self {
            user: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }

    /// A program that runs as this user, with none of root's rights left.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", self.user))
            .arg(format!("--regid={}", self.group))
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    }

    /// Makes the user the owner of a file or folder.
    pub(super) fn give(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.user), Some(self.group))
            .with_context(|| format!("{} cannot be given to PostgreSQL's user", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\nnobody2:x:7:7::/:/bin/sh\n\
                     nobody:x:65534:65533:nobody:/nonexistent:/usr/sbin/nologin\nodd line\n";
        let nobody = Account {
            user: 65_534,
            group: 65_533,
        };
        assert_eq!(Account::find(users, "nobody"), Some(nobody));
        assert_eq!(Account::find(users, "postgres"), None);
        assert_eq!(Account::find("nobody:x:many:few::/:", "nobody"), None);
    }
}
