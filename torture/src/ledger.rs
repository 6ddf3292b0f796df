//! What a run has seen: how often each thing happened, what struck, what was checked, and which
//! promises broke.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use crate::faults::Fault;
use crate::pace::{Pace, UnderWay};

/// How many lines of what happened are kept.
const LINES_MAX: usize = 400;
/// How many broken promises are kept.
const BROKEN_MAX: usize = 50;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counts of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    begun: Instant,
    pages: Mutex<Pages>,
    broken: watch::Sender<bool>,
    pace: Arc<Pace>,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    /// How each operation ended.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Which verbs of the store failed, and how.
    pub(crate) verbs: BTreeMap<String, u64>,
    /// How often each kind of fault has struck.
    pub(crate) struck: BTreeMap<Fault, u64>,
    /// How often each was dealt and met nothing.
    pub(crate) missed: BTreeMap<Fault, u64>,
    /// How often each rule was looked at.
    pub(crate) checks: BTreeMap<&'static str, u64>,
    /// The promises that broke, with what was seen.
    pub(crate) broken: Vec<String>,
    /// The last things that happened, line by line.
    pub(crate) lines: VecDeque<String>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            pages: Mutex::default(),
            broken: watch::Sender::new(false),
            pace: Arc::default(),
        }
    }

    pub(crate) fn ended(&self, word: String) {
        *lock(&self.pages).ends.entry(word).or_default() += 1;
    }

    pub(crate) fn verb(&self, word: String) {
        *lock(&self.pages).verbs.entry(word).or_default() += 1;
    }

    /// Counts a verb as being asked at a node.
    pub(crate) fn asks(&self, verb: &'static str, node: usize) -> UnderWay {
        self.pace.asks((verb, node))
    }

    /// How often one of these verbs is being asked.
    pub(crate) fn asked_now(&self, verbs: &[&str]) -> usize {
        self.pace.asked_now(verbs)
    }

    /// Whether the store takes its time with all that some node asks.
    pub(crate) fn is_slow(&self) -> bool {
        self.pace.is_slow()
    }

    /// How often the store has answered a verb so far.
    pub(crate) fn answers(&self, verb: &str) -> u64 {
        let answered = format!("{verb} answered");
        lock(&self.pages).verbs.get(&answered).copied().unwrap_or(0)
    }

    /// How many verbs have failed so far.
    pub(crate) fn failures(&self) -> u64 {
        let pages = lock(&self.pages);
        let failed = pages.verbs.iter();
        let failed = failed.filter(|(verb, _)| !verb.ends_with("answered"));
        failed.map(|(_, times)| times).sum()
    }

    pub(crate) fn checked(&self, rule: &'static str) {
        *lock(&self.pages).checks.entry(rule).or_default() += 1;
    }

    /// A fault has struck, and this shows it.
    pub(crate) fn struck(&self, fault: Fault, evidence: &str) {
        *lock(&self.pages).struck.entry(fault).or_default() += 1;
        self.line(&format!("{}: {evidence}", fault.name()));
    }

    pub(crate) fn missed(&self, fault: Fault) {
        *lock(&self.pages).missed.entry(fault).or_default() += 1;
    }

    pub(crate) fn line(&self, what: &str) {
        let at = self.begun.elapsed().as_secs_f64();
        let lines = &mut lock(&self.pages).lines;
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(format!("{at:8.3}  {what}"));
    }

    /// A promise is broken: the run ends.
    pub(crate) fn violation(&self, what: &str) {
        self.line(&format!("BROKEN: {what}"));
        let at = self.begun.elapsed().as_secs_f64();
        let broken = &mut lock(&self.pages).broken;
        if broken.len() < BROKEN_MAX {
            broken.push(format!("{what} (after {at:.1} s)"));
        }
        self.broken.send_replace(true);
    }

    pub(crate) fn is_broken(&self) -> bool {
        *self.broken.borrow()
    }

    /// Resolves when a promise is broken.
    pub(crate) async fn broken(&self) {
        let mut broken = self.broken.subscribe();
        // The sender lives in `self`, so the wait can end in no other way.
        let _broken = broken.wait_for(|broken| *broken).await;
    }

    pub(crate) fn times(&self, fault: Fault) -> u64 {
        lock(&self.pages).struck.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn pages(&self) -> Pages {
        lock(&self.pages).clone()
    }
}
