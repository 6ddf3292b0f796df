//! The store beside the model.

use super::world::World;

/// How many random sequences one run compares; the same ones each time.
const CASES: u32 = 128;

pub(crate) async fn says_and_shows_the_same(world: World) {
    if let Err(difference) = crate::property::agree(&world, CASES, 1) {
        panic!("{difference}");
    }
}
