//! How many files the process may have open, and so how many connections.

use std::cmp;

use crate::config::Settings;
use crate::connections::GREETING_MAX;

/// What the process has open besides connections: the files of the embedded store, the log, and
/// what the runtimes need.
const OWN: usize = 64;

/// The fewest connections, below which there is no use in serving.
const LEAST: usize = 16;

/// Raises the limit on open files as far as it may, and gives the limit on connections that fits
/// it. Each connection is a file: at that limit neither another one nor the store's files could be
/// opened.
pub(crate) fn connections(settings: &Settings) -> usize {
    let wanted = settings.connection_limit.0;
    let reserve = OWN + settings.store_connections.0;
    let files = u64::try_from(wanted + GREETING_MAX + reserve).unwrap_or(u64::MAX);
    let allowed = match rlimit::increase_nofile_limit(files) {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files could not be raised");
            return wanted;
        }
    };
    let fitting = fitting(usize::try_from(allowed).unwrap_or(usize::MAX), reserve);
    if fitting < wanted {
        tracing::warn!(
            connections = fitting,
            connection_limit = wanted,
            open_files = allowed,
            "the limit on open files allows fewer connections than the settings"
        );
    }
    cmp::min(fitting, wanted)
}

/// How many connections fit into so many files: of those that have not said anything yet, which
/// have places of their own, there are never more than of the others.
fn fitting(files: usize, reserve: usize) -> usize {
    let left = files.saturating_sub(reserve);
    let connections = cmp::max(left.saturating_sub(GREETING_MAX), left / 2);
    cmp::max(connections, LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(fitting(65_536, 80), 65_536 - 80 - GREETING_MAX);
        assert_eq!(fitting(1_024, 80), 472);
        assert_eq!(fitting(256, 80), 88);
        assert_eq!(fitting(64, 80), LEAST);
    }
}
