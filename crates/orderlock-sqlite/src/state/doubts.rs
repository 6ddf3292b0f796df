//! Grants in doubt: a failed flush or commit has left them open, and their marks may be in the file.
//!
//! A batch whose end nobody knows is thrown away in memory, but the file may have it. Whoever asks for
//! such a grant again, or takes it back, goes by its fence, and that stands in memory alone: without
//! it, the mark would be one that nobody attends to although no handler has run under it.

use orderlock_core::{Mark, Target};
use rusqlite::Connection;

use crate::file::rows::find_order;
use crate::state::leases::{Held, Leases};
use crate::state::staged::Staged;

/// The grants of one batch. Before another batch begins, the file has told what became of them.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Vec<(Target, Held)>);

impl Doubts {
    /// The grants with a mark that a batch has made, as it leaves them. Asked before the batch is
    /// thrown away.
    pub(crate) fn of(staged: &Staged, leases: &Leases) -> Self {
        let granted = staged.slots.iter().filter_map(|(target, slot)| {
            let held = slot
                .held
                .as_ref()
                .filter(|it| it.state().mark().is_some())?;
            let shard = leases.shard(target);
            let before = shard.slots.get(target).and_then(|slot| slot.held.as_ref());
            let is_new = before.is_none_or(|it| it.lease().fence != held.lease().fence);
            is_new.then(|| (target.clone(), held.clone()))
        });
        Self(granted.collect())
    }

    /// Brings memory up to the file, which shows by now what the disk has: a grant whose mark stands
    /// there holds its order, and whatever else its batch did has happened too.
    ///
    /// Nobody else changes these leases meanwhile: the durability is broken.
    pub(crate) fn settle(
        &mut self,
        connection: &Connection,
        leases: &Leases,
    ) -> rusqlite::Result<()> {
        while let Some((target, held)) = self.0.last() {
            let mark = find_order(connection, target)?.and_then(|order| order.mark);
            let granted = held.state().mark();
            let run = |mark: &Mark| (mark.key_id, mark.attempt);
            if mark.as_ref().map(run) == granted.map(run) {
                let mut shard = leases.shard(target);
                shard.touch();
                shard.slots.entry(target.clone()).or_default().held = Some(held.clone());
            }
            self.0.pop();
        }
        Ok(())
    }
}
