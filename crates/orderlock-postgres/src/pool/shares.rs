//! How the connections of a store are divided among what they are for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pool::settings::LockWait;

/// What a connection is for. Each purpose has its share of the connections, so that none takes all
/// of them from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The signs of life, on which all leases of the node hang: they have connections of their own.
    Life,
    /// Reads and lists, of which there may be any number.
    Reading,
    /// What waits for no disk.
    Work(LockWait),
    /// What waits for the disk and for standbys: for ever, if those are away.
    Commit(LockWait),
}

/// How many connections each purpose may have at a time.
#[derive(Debug)]
pub(crate) struct Shares {
    /// All but those that are kept for the signs of life.
    common: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    commits: Arc<Semaphore>,
    alone: Arc<Semaphore>,
}

/// The share of one connection in use.
#[derive(Debug)]
pub(crate) struct Share {
    _permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Shares {
    /// Of two connections and more, at least one is kept for the signs of life. Half of the others
    /// read at a time, and three quarters of them wait for the disk, so that reads go on beside
    /// commits that nobody confirms, and commits beside any number of reads.
    pub(crate) fn of(connections: usize) -> Self {
        let common = connections - (connections / 4).min(2).max(usize::from(connections > 1));
        let part = |part: usize| Arc::new(Semaphore::new(part.max(1)));
        Self {
            common: part(common),
            reading: part(common / 2),
            commits: part(common * 3 / 4),
            alone: part(common / 4),
        }
    }

    /// Waits for a share.
    pub(crate) async fn take(&self, purpose: Purpose) -> Share {
        let own = match purpose {
            Purpose::Life => {
                return Share {
                    _permits: [None, None],
                };
            }
            Purpose::Reading => Some(&self.reading),
            Purpose::Commit(_) => Some(&self.commits),
            Purpose::Work(_) => None,
        };
        let own = match own {
            Some(own) => Some(permit(own).await),
            None => None,
        };
        Share {
            _permits: [own, Some(permit(&self.common).await)],
        }
    }

    /// Waits for the right to wait for a row alone.
    pub(crate) async fn alone(&self) -> OwnedSemaphorePermit {
        permit(&self.alone).await
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.expect("a share is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of each purpose there may be at a time.
    fn shares(connections: usize) -> [usize; 4] {
        let shares = Shares::of(connections);
        [
            &shares.common,
            &shares.reading,
            &shares.commits,
            &shares.alone,
        ]
        .map(|share| share.available_permits())
    }

    #[test]
    fn no_purpose_has_all_connections() {
        assert_eq!(shares(1), [1, 1, 1, 1]);
        assert_eq!(shares(2), [1, 1, 1, 1]);
        assert_eq!(shares(4), [3, 1, 2, 1]);
        assert_eq!(shares(16), [14, 7, 10, 3]);
        assert_eq!(shares(1_000), [998, 499, 748, 249]);
    }
}
