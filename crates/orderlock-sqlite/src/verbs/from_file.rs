//! The slow path: verbs about one order that have to read the file, on a reader thread.
//!
//! No part of memory is locked while the file is read: it is looked at before, and again after, and
//! what was read counts only if nothing has changed there in between.

use std::mem::replace;
use std::sync::Arc;

use orderlock_core::Target;
use orderlock_core::store::{Acquire, Acquired, KeyFacts, Known, Lookup, OrderView, Read};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::clock::Now;
use crate::file::error::{Fault, SqlError};
use crate::file::key_index::{KeyHash, older_keys};
use crate::file::keys::{KeyRow, find_key};
use crate::file::readers::Question;
use crate::file::rows::{Latest, find_latest};
use crate::state::leases::Held;
use crate::state::orders::KEYS_READ_MAX;
use crate::state::view::{Certainty, MemoryView};
use crate::verbs::acquire::{decide_acquire, run_of};
use crate::verbs::in_memory;
use crate::verbs::in_memory::{Asked, Direct};
use crate::verbs::views;

/// How often the file is read for one request while memory changes under it. Then the writer is
/// asked, which nothing passes.
const TRIES: usize = 4;

/// A verb that reads the file about one order.
pub(crate) trait Verb: Send + 'static {
    type Found: Send;
    type Answer: Send;

    fn target(&self) -> Target;

    fn read(&self, file: &Connection, before: &Before) -> Result<Self::Found, Fault>;

    /// What it comes to. Memory is as it was before.
    fn conclude(
        &self,
        view: &mut MemoryView<'_>,
        before: &Before,
        found: Self::Found,
    ) -> Result<Asked<Self::Answer>, Fault>;
}

/// What memory said before the file was read.
pub(crate) struct Before {
    now: Now,
    /// Another process has the file: what it does is its own affair, and nothing is kept of it.
    foreign: bool,
    changes: u64,
    held: Option<Held>,
    latest: Option<Arc<Latest>>,
    keys_are_unread: bool,
}

impl Before {
    /// None if the writer is at the order, or has to be asked what became of it.
    fn of(direct: &Direct, target: &Target) -> Option<Self> {
        let mut view = direct.view(target);
        let mut before = Self {
            now: direct.clock.now(),
            foreign: direct.is_taken(),
            changes: view.changes(),
            held: None,
            latest: None,
            keys_are_unread: false,
        };
        if before.foreign {
            return Some(before);
        }
        let seen = view.order();
        match seen.certainty {
            Certainty::OnDisk => {}
            Certainty::BeingFlushed | Certainty::InDoubt => return None,
        }
        (before.held, before.latest) = (seen.held, seen.latest);
        // Where it is asked for again it is going to be asked for with other keys too, so that all
        // of them are read then.
        before.keys_are_unread = view.keys_are_unread();
        Some(before)
    }

    /// Whether the order may have changed since.
    fn is_overtaken(&self, view: &MemoryView<'_>) -> bool {
        !self.foreign && view.changes() != self.changes
    }

    /// Whether what was read since is on the disk.
    fn holds(&self, view: &mut MemoryView<'_>) -> bool {
        self.foreign || view.order().certainty == Certainty::OnDisk
    }
}

type Reply<V> = Result<Asked<<V as Verb>::Answer>, Fault>;

/// A verb on its way to the file and back.
pub(crate) struct Asking<V: Verb> {
    direct: Arc<Direct>,
    verb: V,
    target: Target,
    tries: usize,
    stage: Stage<V::Found>,
    reply: oneshot::Sender<Reply<V>>,
}

enum Stage<T> {
    /// It cannot be told by the file, or nobody waits for it any more.
    TheWriter,
    Looked(Before),
    Read(Before, Result<T, Fault>),
}

impl<V: Verb> Asking<V> {
    pub(crate) fn new(direct: &Arc<Direct>, verb: V) -> (Box<Self>, oneshot::Receiver<Reply<V>>) {
        let (reply, answer) = oneshot::channel();
        let asking = Self {
            direct: Arc::clone(direct),
            target: verb.target(),
            verb,
            tries: 0,
            stage: Stage::TheWriter,
            reply,
        };
        (Box::new(asking), answer)
    }
}

impl<V: Verb> Question for Asking<V> {
    fn look(&mut self) {
        self.tries += 1;
        let wanted = !self.reply.is_closed();
        let before = wanted.then(|| Before::of(&self.direct, &self.target));
        self.stage = before.flatten().map_or(Stage::TheWriter, Stage::Looked);
    }

    fn read(&mut self, file: Result<&Connection, &SqlError>) {
        if let Stage::Looked(before) = replace(&mut self.stage, Stage::TheWriter) {
            let found = match file {
                Ok(file) => self.verb.read(file, &before),
                Err(error) => Err(Fault::Refused(error.clone().not_applied())),
            };
            self.stage = Stage::Read(before, found);
        }
    }

    fn answer(mut self: Box<Self>) -> Option<Box<dyn Question>> {
        let mut asked = Ok(Asked::TheWriter);
        if let Stage::Read(before, found) = replace(&mut self.stage, Stage::TheWriter) {
            let mut view = self.direct.view(&self.target);
            if before.is_overtaken(&view) {
                drop(view);
                if self.tries < TRIES {
                    return Some(self);
                }
            // Whoever has gone away may say next that its grant is to be taken back.
            } else if before.holds(&mut view) && !self.reply.is_closed() {
                asked = found.and_then(|found| self.verb.conclude(&mut view, &before, found));
            }
        }
        // Whoever asked may have gone away.
        let _ = self.reply.send(asked);
        None
    }
}

/// What the file says of an order and a key.
pub(crate) struct Found {
    latest: Option<Arc<Latest>>,
    /// The keys of its older entries, if memory had not read them.
    older: Option<Vec<KeyHash>>,
    key: Option<KeyRow>,
}

impl Found {
    /// Reads what memory does not know of an order.
    fn order(file: &Connection, target: &Target, before: &Before) -> Result<Self, Fault> {
        let latest = match &before.latest {
            Some(latest) => Some(Arc::clone(latest)),
            None => find_latest(file, target)?.map(Arc::new),
        };
        let older = match &latest {
            Some(latest) if before.keys_are_unread => {
                let row = latest.whole.order.row;
                Some(older_keys(file, row, KEYS_READ_MAX + 1)?)
            }
            _ => None,
        };
        let key = None;
        Ok(Self { latest, older, key })
    }

    /// Keeps it in memory from here on.
    fn learn(&mut self, view: &mut MemoryView<'_>) {
        if let Some(latest) = &self.latest {
            view.learn(latest, self.older.take());
        }
        if let Some(key) = &self.key
            && matches!(key.facts, KeyFacts::Final { retained: true, .. })
        {
            view.learn_answer(&key.entry);
        }
    }
}

impl Verb for Acquire {
    type Found = Found;
    type Answer = Acquired;

    fn target(&self) -> Target {
        self.claim.target()
    }

    fn read(&self, file: &Connection, before: &Before) -> Result<Found, Fault> {
        let mut found = Found::order(file, &self.claim.target(), before)?;
        if let Some(latest) = &found.latest {
            let key_id = self.claim.key_id;
            let run = run_of(key_id, before.held.as_ref());
            found.key = find_key(file, latest.place(), (key_id, run), before.now)?;
        }
        Ok(found)
    }

    fn conclude(
        &self,
        view: &mut MemoryView<'_>,
        before: &Before,
        mut found: Found,
    ) -> Result<Asked<Acquired>, Fault> {
        if before.foreign {
            return Ok(Asked::TheWriter);
        }
        found.learn(view);
        let session = view.session(self.session);
        let (latest, held) = (found.latest.as_deref(), before.held.as_ref());
        let (session, now) = (session.as_ref(), before.now);
        let decided = decide_acquire(self, latest, found.key, held, session, now)?;
        Ok(in_memory::grant(view, self, decided))
    }
}

impl Verb for Read {
    type Found = Found;
    type Answer = Option<OrderView>;

    fn target(&self) -> Target {
        self.target.clone()
    }

    fn read(&self, file: &Connection, before: &Before) -> Result<Found, Fault> {
        Found::order(file, &self.target, before)
    }

    fn conclude(
        &self,
        view: &mut MemoryView<'_>,
        before: &Before,
        mut found: Found,
    ) -> Result<Asked<Self::Answer>, Fault> {
        if !before.foreign {
            found.learn(view);
        }
        let held = before.held.as_ref();
        let view = |latest: Arc<Latest>| views::order(latest.whole.clone(), held);
        Ok(Asked::Told(found.latest.map(view)))
    }
}

impl Verb for Lookup {
    type Found = Known;
    type Answer = Known;

    fn target(&self) -> Target {
        self.target.clone()
    }

    fn read(&self, file: &Connection, before: &Before) -> Result<Known, Fault> {
        views::lookup(file, self, before.held.as_ref(), before.now)
    }

    fn conclude(
        &self,
        view: &mut MemoryView<'_>,
        before: &Before,
        known: Known,
    ) -> Result<Asked<Known>, Fault> {
        if let Known::Settled(entry) = &known
            && !before.foreign
        {
            view.learn_answer(entry);
        }
        Ok(Asked::Told(known))
    }
}
