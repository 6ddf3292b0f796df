//! Which marks of one order are certainly open, and since when. From the moment on at which a word
//! is sent that may end a mark, it is in doubt, until it is known what became of that word.

use std::collections::{BTreeMap, BTreeSet};

use orderlock_core::{Fence, KeyId, Recovery};

use super::book::Span;

/// What may have ended a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// A word of this grant's.
    Grant(Fence),
    /// A decision that was sent at this moment.
    Decision(u64),
}

/// The mark of one key.
#[derive(Clone, Debug, Default)]
struct OfKey {
    run: Option<(u32, Recovery)>,
    since: Option<u64>,
    doubts: BTreeSet<Doubt>,
    /// When a word was sent last that may end it.
    touched: u64,
    /// Whether nobody knows if what ended a mark ended this one, or the one before.
    unsure: bool,
}

/// The marks of one order.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    all: BTreeMap<KeyId, OfKey>,
    /// Marks that were certainly open, until a word was sent that may have ended them.
    were: Vec<(KeyId, Span)>,
}

impl Marks {
    /// A grant with a mark, asked for and told at these moments.
    pub(super) fn opened(
        &mut self,
        key: KeyId,
        fence: Fence,
        run: (u32, Recovery),
        sent: u64,
        now: u64,
    ) {
        let mark = self.all.entry(key).or_default();
        // The grants before this one have ended: what they have sent ends nothing any more.
        let of_this = |doubt: &Doubt| match doubt {
            Doubt::Grant(other) => *other == fence,
            Doubt::Decision(_) => true,
        };
        mark.doubts.retain(of_this);
        mark.run = Some(run);
        mark.unsure = mark.doubts.is_empty() && mark.touched >= sent;
        if mark.doubts.is_empty() && !mark.unsure {
            mark.since.get_or_insert(now);
        }
    }

    /// A word is sent that may end the mark.
    pub(super) fn may_end(&mut self, key: KeyId, doubt: Doubt, now: u64) {
        let mark = self.all.entry(key).or_default();
        mark.doubts.insert(doubt);
        mark.touched = now;
        if let Some(from) = mark.since.take() {
            self.were.push((key, Span { from, to: now }));
        }
    }

    /// It did not, and will not.
    pub(super) fn did_not_end(&mut self, key: KeyId, doubt: Doubt, now: u64) {
        let mark = self.all.entry(key).or_default();
        let doubted = mark.doubts.remove(&doubt);
        if doubted && mark.doubts.is_empty() && mark.run.is_some() && !mark.unsure {
            mark.since.get_or_insert(now);
        }
    }

    /// A run is taken back, and the mark may be that of the run before it again.
    pub(super) fn taken_back(&mut self, key: KeyId) {
        if let Some((attempt, _)) = self.all.get_mut(&key).and_then(|mark| mark.run.as_mut()) {
            *attempt = attempt.saturating_sub(1);
        }
    }

    /// The mark has ended.
    pub(super) fn ended(&mut self, key: KeyId) {
        let mark = self.all.entry(key).or_default();
        mark.run = None;
        mark.since = None;
        mark.doubts.clear();
    }

    /// The mark has ended, if this is what may have ended it.
    pub(super) fn ended_if_doubted(&mut self, key: KeyId, doubt: Doubt) {
        let doubts = self.all.get(&key).map(|mark| &mark.doubts);
        if doubts.is_some_and(|doubts| doubts.contains(&doubt)) {
            self.ended(key);
        }
    }

    /// The keys whose marks are open, certainly since before this moment.
    pub(super) fn open_since_before(&self, moment: u64) -> impl Iterator<Item = KeyId> + '_ {
        let open = self.all.iter();
        let open = open.filter(move |(_, mark)| mark.since.is_some_and(|since| since < moment));
        open.map(|(key, _)| *key)
    }

    /// Which run a mark is of that is open, certainly since before this moment.
    pub(super) fn certain(&self, key: KeyId, moment: u64) -> Option<(u32, Recovery)> {
        let mark = self.all.get(&key)?;
        mark.since.filter(|since| *since < moment)?;
        mark.run
    }

    /// The keys whose marks were certainly open at some time in this span.
    pub(super) fn open_during(&self, span: Span) -> impl Iterator<Item = KeyId> + '_ {
        let were = self.were.iter();
        let were = were.filter(move |(_, open)| span.overlaps(*open));
        let open = self.all.iter().filter_map(move |(key, mark)| {
            let open = Span {
                from: mark.since?,
                to: u64::MAX,
            };
            span.overlaps(open).then_some(key)
        });
        were.map(|(key, _)| key).chain(open).copied()
    }
}
