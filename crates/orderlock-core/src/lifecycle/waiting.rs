//! A request in line that is not at the front: what it waits for, and what ends its wait.

use std::pin::pin;

use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use super::admission::{Admission, Admitted, TurnedAway};
use super::ended::Denied;
use super::place::{Seat, Turn};
use super::word::judge;

impl Admission {
    /// Stands in a place of its own. A settled key has its answer at once, however long the line is.
    pub(super) async fn stand(
        self,
        seat: Seat,
        mut told: oneshot::Receiver<Turn>,
    ) -> Result<Admitted, TurnedAway> {
        if !self.patient {
            return self.wait(seat, told).await;
        }
        let known = {
            let known = pin!(self.node.look_up(&self.acquire.claim, self.by));
            match select(&mut told, known).await {
                Either::Left((turn, _)) => Err(turn),
                Either::Right((known, _)) => Ok(known),
            }
        };
        let known = match known {
            Ok(known) => known,
            Err(turn) => return self.take(seat, turn).await,
        };
        // If the store does not say, the line is no worse a place to wait for it.
        let known = known
            .ok()
            .and_then(|known| judge(&self.acquire.claim, known));
        match known {
            None => self.wait(seat, told).await,
            Some(answered) if self.node.lines.leave(&seat) => Err(answered.into()),
            Some(_) => self.take(seat, told.await).await,
        }
    }

    pub(super) async fn wait(
        mut self,
        seat: Seat,
        mut told: oneshot::Receiver<Turn>,
    ) -> Result<Admitted, TurnedAway> {
        let denied = match self.woken(&mut told).await {
            Woken::Told(turn) => return self.take(seat, turn).await,
            Woken::Gone => Denied::InProgress(None),
            Woken::Over => match self.node.lines.holder(&seat) {
                Some(running) => Denied::Locked(running),
                None => Denied::InProgress(None),
            },
        };
        // The turn may have come in the meantime. Who has left is told by the journal if he was
        // answered before.
        if !self.node.lines.leave(&seat) {
            return self.take(seat, told.await).await;
        }
        Err(self.unless_known(denied).await)
    }

    async fn woken(&mut self, told: &mut oneshot::Receiver<Turn>) -> Woken {
        // A request that did not ask to wait stays only until the front knows whether it holds the
        // order, and not longer than it may take to ask the store.
        let left = if self.patient {
            self.patience_left()
        } else {
            self.node.left(self.by)
        };
        let gone = pin!(self.client.closed());
        let stop = select(gone, self.node.runtime.sleep(left));
        match select(told, stop).await {
            Either::Left((turn, _)) => Woken::Told(turn),
            Either::Right((Either::Left(_), _)) => Woken::Gone,
            Either::Right((Either::Right(_), _)) => Woken::Over,
        }
    }

    async fn take(
        self,
        seat: Seat,
        turn: Result<Turn, oneshot::error::RecvError>,
    ) -> Result<Admitted, TurnedAway> {
        match turn {
            Ok(Turn::Front(handed)) => self.ask(seat, handed).await,
            Ok(Turn::Ended(ended)) => Err(ended.into()),
            Ok(Turn::Blocked(running)) => Err(self.unless_known(Denied::Locked(running)).await),
            Ok(Turn::Closed) | Err(_) => Err(self.unless_known(Denied::ShuttingDown).await),
        }
    }
}

/// What ended a wait.
enum Woken {
    Told(Result<Turn, oneshot::error::RecvError>),
    Gone,
    Over,
}
