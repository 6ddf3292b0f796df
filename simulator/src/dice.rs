//! Every choice of a run, drawn from its seed.

use std::time::Duration;

/// Numbers that follow from a seed and look random.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Different purposes of one seed draw from different numbers.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(mix(seed).wrapping_add(purpose)))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below the bound; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % bound).unwrap_or(0)
    }

    /// True so many times in ten thousand.
    pub fn chance(&mut self, per_ten_thousand: u32) -> bool {
        self.number() % 10_000 < u64::from(per_ten_thousand)
    }

    /// A whole number of milliseconds up to this long, short ones more often.
    pub fn duration(&mut self, longest: Duration) -> Duration {
        let longest = u64::try_from(longest.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let bound = 1 + self.number() % longest;
        Duration::from_millis(self.number() % bound)
    }

    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// SplitMix64's finisher: a bijection whose output looks random.
fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
