//! Orders that were just made, and may be taken away again: of two orders that one key makes at the same
//! moment, one under a chosen id, one stays. The stream never has the other.

use mongodb::bson::Bson;
use orderlock_core::StoreError;

use crate::database::reservations::{self, Reservation};
use crate::relay::Relay;
use crate::relay::moving::{Creation, WaitingOrder};

impl Relay {
    /// Leaves out the orders of which another node has not decided yet that they stay, or has decided that
    /// they do not. That its node has died between its order and its decision costs nothing: whoever
    /// comes first decides.
    pub(crate) async fn those_that_stay(
        &self,
        orders: Vec<WaitingOrder>,
    ) -> Result<Vec<WaitingOrder>, StoreError> {
        let names: Vec<String> = orders.iter().filter_map(|o| self.asks_for(o)).collect();
        if names.is_empty() {
            return Ok(orders);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = reservations::find_all(&self.calls, &names).await?;
        let mut stay = Vec::with_capacity(orders.len());
        for order in orders {
            let stays = match (self.asks_for(&order), &order.creation) {
                (Some(name), Some(creation)) => {
                    let found = found.get(&name);
                    self.stays(&order.id, &name, creation, found).await?
                }
                _ => true,
            };
            if stays {
                stay.push(order);
            }
        }
        Ok(stay)
    }

    /// The name of the reservation that says whether an order stays. None if that is known: it was written
    /// to since, or this node has made it.
    fn asks_for(&self, order: &WaitingOrder) -> Option<String> {
        let creation = order.creation.as_ref()?;
        let own = || reservations::name(&order.target);
        (!self.queue.keeps(&order.id)).then(|| creation.reservation.clone().unwrap_or_else(own))
    }

    /// Whether an order stays, of whose key this reservation was found.
    async fn stays(
        &self,
        id: &Bson,
        name: &str,
        creation: &Creation,
        found: Option<&Reservation>,
    ) -> Result<bool, StoreError> {
        let calls = &self.calls;
        match (&creation.reservation, found) {
            (None, None) => Ok(true),
            (_, Some(found)) if found.confirmed && found.order == *id => Ok(true),
            (Some(_), _) => reservations::confirm(calls, name, id).await,
            (None, Some(_)) => {
                let (key_id, now) = (creation.key_id, self.clock.forgets_by());
                let other = reservations::made_otherwise(calls, name, id, key_id, now).await?;
                Ok(other.is_none())
            }
        }
    }
}
