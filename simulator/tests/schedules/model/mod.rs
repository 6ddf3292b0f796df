//! A small model of the lock, taken through every order of events.
//!
//! Two nodes and two keys want one order. A node acquires, makes a checkpoint, settles, hands
//! over, releases and renews; what it says is answered, or the answer is lost, or it comes late or
//! twice. Leases are voided, sessions are swept from under nodes that stand still and then go on,
//! nodes are killed, an operator resolves marks, and what is written is flushed, thrown away, or
//! gone with the power. The actions have the names that the code gives them. In each state the
//! promises must hold, and from each state the order must come free and every key get its one
//! answer once the faults stop. [`planted`] takes one rule away at a time, and a promise must break.
//!
//! The model's [`store`] is also what recorded runs of the real lifecycle are held against.
//!
//! What it leaves out is tested elsewhere: time, clients that go away, longer lines, shutdown,
//! more nodes and orders by the schedules; fingerprints, expected versions and the bounds of a
//! resume by the schedules and their recorded runs; retention, creating, listing and reading by the
//! conformance suite.
//!
//! `ORDERLOCK_MODEL=n` allows n more faults in a run. Each makes about eight times as many states.

mod action;
mod calm;
mod disk;
mod hear;
mod node;
mod planted;
mod properties;
pub(crate) mod rules;
mod sights;
mod state;
pub(crate) mod store;
mod system;
mod watch;
pub(crate) mod words;

use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use rules::Rules;
use sights::{Sight, Sights};
use system::{Bounds, Kind, System};

/// What the test command explores.
const BOUNDS: Bounds = Bounds {
    runs: 3,
    faults: 2,
    late: 1,
};

impl System {
    /// Two plain operations, and nothing wrong with the rules.
    fn plain() -> Self {
        Self {
            rules: Rules::ALL,
            bounds: BOUNDS,
            kinds: [Kind::Plain, Kind::Plain],
            checkpoints: false,
            lines: false,
            sights: Sights::default(),
        }
    }

    /// The same, and the first may make a checkpoint.
    fn with_checkpoints() -> Self {
        Self {
            checkpoints: true,
            ..Self::plain()
        }
    }

    /// A line behind whoever holds the order, and a pure operation that may begin early.
    fn with_lines() -> Self {
        Self {
            kinds: [Kind::Pure, Kind::Plain],
            lines: true,
            ..Self::plain()
        }
    }

    /// The same beside an operation that calls the outside.
    fn with_marks() -> Self {
        Self {
            kinds: [Kind::Pure, Kind::External],
            ..Self::with_lines()
        }
    }
}

/// Takes a system through every order of events. Every promise holds, and all of this is met.
fn explore(mut system: System, met: &[Sight]) {
    let more = crate::number("ORDERLOCK_MODEL").unwrap_or(0);
    system.bounds.faults += u8::try_from(more).expect("a number of faults");
    let sights = system.sights.clone();
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = system
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{} states, {} of them different, {} steps deep, in {:.1} s\n{sights}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
    );
    checker.assert_properties();
    let missing: Vec<_> = met.iter().filter(|met| sights.times(**met) == 0).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

const ALWAYS_MET: [Sight; 6] = [
    Sight::LostTold,
    Sight::PausedThenLost,
    Sight::Replayed,
    Sight::UnknownVoided,
    Sight::PowerLostBeforeFlush,
    Sight::RolledBack,
];

#[test]
fn every_order_of_events_with_checkpoints_keeps_every_promise() {
    explore(System::with_checkpoints(), &ALWAYS_MET);
}

#[test]
fn every_order_of_events_with_lines_keeps_every_promise() {
    let met = [Sight::HandedOver, Sight::BegunEarly];
    explore(System::with_lines(), &[&ALWAYS_MET[..], &met].concat());
}

#[test]
fn every_order_of_events_with_all_of_it_keeps_every_promise() {
    let system = System {
        checkpoints: true,
        ..System::with_marks()
    };
    let met = [
        Sight::HandedOver,
        Sight::BegunEarly,
        Sight::Resumed,
        Sight::Resolved,
    ];
    explore(system, &[&ALWAYS_MET[..], &met].concat());
}
