//! What a run stands on while its predecessor's settle is accepted and not durable yet.
//!
//! Only a pure operation starts on such ground, and nothing that it comes to is told before the
//! ground is known to hold.

use tokio::sync::oneshot;

/// What became of the settle that a run stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// It is durable.
    Durable,
    /// It was thrown away, and with it all that was built on it.
    Lost,
    /// Nobody knows.
    Unknown,
}

/// A run's claim on its predecessor to be told what became of its settle.
#[derive(Debug)]
pub(crate) struct Footing(oneshot::Receiver<Ground>);

impl Footing {
    pub(super) fn new() -> (oneshot::Sender<Ground>, Self) {
        let (word, ground) = oneshot::channel();
        (word, Self(ground))
    }

    /// Waits until the predecessor knows. Its own waits for the store are bounded, and so is this.
    pub(super) async fn ground(&mut self) -> Ground {
        // A predecessor that vanished took its knowledge along.
        (&mut self.0).await.unwrap_or(Ground::Unknown)
    }
}
