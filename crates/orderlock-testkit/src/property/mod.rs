//! A store and the model side by side: for any sequence of calls, both answer and show the same.

mod holder;
mod operator;
mod pair;
mod plain;
mod steps;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tokio::runtime::Handle;

use crate::suite::World;

/// The longest sequence of steps in one case.
const STEPS_MAX: usize = 60;

/// Compares the world's kind of store with the model in so many random sequences. Equal seeds give
/// equal sequences.
///
/// # Errors
/// The shortest sequence that was found on which they differ, and where.
pub(crate) fn agree(world: &World, cases: u32, seed: u64) -> Result<(), String> {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let case = |steps: Vec<steps::Step>| {
        let difference = tokio::task::block_in_place(|| {
            Handle::current()
                .block_on(async { pair::Pair::new(world.another().await).run(&steps).await })
        });
        difference.map_err(TestCaseError::fail)
    };
    let result = runner.run(&steps::some(STEPS_MAX), case);
    result.map_err(|error| error.to_string())
}
