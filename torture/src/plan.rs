//! What a seed and a length make of a run.

use std::time::Duration;

use orderlock_core::{Limits, Retention};
use orderlock_simulator::Dice;

use crate::faults::Fault;
use crate::planted::Planted;
use crate::stores::Kind;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The settings of one run. The seed drives clients and faults; in which order the machine then runs
/// them it does not.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) store: Kind,
    pub(crate) length: Duration,
    pub(crate) planted: Option<Planted>,
    /// Kinds of fault that are left out, by their names.
    pub(crate) without: Vec<String>,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// How many orders clients work on at a time.
    pub(crate) orders: usize,
    /// How many clients ask at a time.
    pub(crate) clients: usize,
    /// How many clients only look.
    pub(crate) lookers: usize,
    /// How many orders the crowd holds.
    pub(crate) crowd: usize,
}

/// What an act of the run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing goes wrong, and nothing may be lost.
    Calm,
    /// Everything that was dealt goes wrong.
    Storm,
    /// One row is locked, and all else goes on.
    OneRow,
    /// One node holds very many orders, and keeps them.
    Crowd,
    /// Clients stop, and what is left must come to its end.
    End,
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Storm => "storm",
            Self::OneRow => "one row locked",
            Self::Crowd => "crowd",
            Self::End => "end",
        }
    }

    /// Whether a lease that is lost has no excuse.
    pub(crate) fn is_calm(self) -> bool {
        matches!(self, Self::Calm | Self::Crowd)
    }
}

/// A part of the run.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) what: What,
    pub(crate) lasts: Duration,
    pub(crate) faults: Vec<Fault>,
}

impl Plan {
    pub(crate) fn new(seed: u64, store: Kind, length: Duration, planted: Option<Planted>) -> Self {
        let slow = store == Kind::Mongodb;
        let long = length >= Duration::from_secs(240);
        Self {
            seed,
            store,
            length,
            planted,
            without: Vec::new(),
            nodes: 3,
            // The server that stands for a MongoDB does a hundredth of the work in the same time.
            orders: if slow { 8 } else { 24 },
            clients: if slow { 10 } else { 40 },
            lookers: if slow { 1 } else { 4 },
            crowd: match (slow, long) {
                (true, _) => 50,
                (false, false) => 1_000,
                (false, true) => 12_000,
            },
        }
    }

    /// The acts of one round: every fault is dealt in one of its storms.
    pub(crate) fn round(&self, number: u64, faults: &[Fault]) -> Vec<Act> {
        let mut dice = Dice::new(self.seed, 100 + number);
        let mut deck: Vec<_> = faults
            .iter()
            .copied()
            .filter(|fault| !Fault::OF_ACTS.contains(fault))
            .collect();
        shuffle(&mut deck, &mut dice);
        let seconds = |seconds| Duration::from_secs(seconds);
        let storms = deck.len().div_ceil(6);
        let mut acts = vec![act(What::Calm, self.calms_after() + seconds(2))];
        for hand in deck.chunks(deck.len().div_ceil(storms)) {
            // A few of the others, so that any two meet some day.
            let mut faults = hand.to_vec();
            let others = deck.iter().filter(|fault| !hand.contains(fault));
            faults.extend(others.filter(|_| dice.chance(1_500)));
            acts.push(Act {
                faults,
                ..act(What::Storm, seconds(10))
            });
        }
        for (fault, what) in [(Fault::OneRow, What::OneRow), (Fault::Crowd, What::Crowd)] {
            if faults.contains(&fault) {
                acts.push(Act {
                    faults: vec![fault],
                    ..act(what, Duration::ZERO)
                });
            }
        }
        if let Some(planted) = self.planted {
            let shows = |act: &Act| act.faults.contains(&planted.shown_by());
            acts.sort_by_key(|act| !shows(act));
            if let Some(first) = acts.first_mut().filter(|_| number == 0) {
                first.lasts = seconds(60);
            }
        }
        acts
    }

    /// The bounds of a node. One of them keeps answers for seconds only.
    pub(crate) fn limits(&self, place: usize) -> Limits {
        let short = place + 1 == self.nodes;
        Limits {
            handler: Duration::from_secs(3),
            wait: Duration::from_secs(10),
            line: 64,
            in_flight: 65_536,
            store: Duration::from_secs(3),
            repeats: 3,
            session: self.session(),
            retention: Retention {
                answer: if short { Duration::from_secs(4) } else { DAY },
                tombstone: 30 * DAY,
            },
            checkpoints: 1_000,
            chain: 256,
        }
    }

    pub(crate) fn session(&self) -> Duration {
        Duration::from_secs(4)
    }

    /// How long after the last fault nothing may be lost any more: renewals have come round, and
    /// what was asked before has ended.
    pub(crate) fn calms_after(&self) -> Duration {
        self.session() + Duration::from_secs(2)
    }
}

fn act(what: What, lasts: Duration) -> Act {
    Act {
        what,
        lasts,
        faults: Vec::new(),
    }
}

fn shuffle<T>(all: &mut [T], dice: &mut Dice) {
    for last in (1..all.len()).rev() {
        all.swap(last, dice.below(last + 1));
    }
}
