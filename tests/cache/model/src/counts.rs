//! What was missed, as numbers.

use std::ops::{AddAssign, Sub};

/// What was missed, since the caches were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that loads and stores missed in a core's L1 data cache.
    pub l1d: u64,
    /// Of these, lines that missed in L2, too, and came from memory.
    pub l2d: u64,
    /// Lines that fetches missed in a core's L1 instruction cache.
    pub l1i: u64,
    /// Of these, lines that missed in L2, too.
    pub l2i: u64,
    /// Translations that were in no TLB entry: walks.
    pub tlb: u64,
    /// Lines that walks read and did not find in L2.
    pub l2w: u64,
    /// Lines that `DC ZVA` zeroed and that were not in the core's L1 data cache: they are made there, nothing is
    /// fetched and nothing waits, so they are no misses.
    pub zeroed: u64,
}

impl Counts {
    /// The names of the counts, in the order of [`Counts::values`].
    pub const NAMES: [&str; 7] = ["l1d", "l2d", "l1i", "l2i", "tlb", "l2w", "zeroed"];

    /// All counts.
    pub fn values(&self) -> [u64; 7] {
        let Counts { l1d, l2d, l1i, l2i, tlb, l2w, zeroed } = *self;
        [l1d, l2d, l1i, l2i, tlb, l2w, zeroed]
    }

    /// Counts with these values, in the order of [`Counts::NAMES`].
    pub fn of([l1d, l2d, l1i, l2i, tlb, l2w, zeroed]: [u64; 7]) -> Counts {
        Counts { l1d, l2d, l1i, l2i, tlb, l2w, zeroed }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        let (mut difference, earlier) = (self.values(), earlier.values());
        difference.iter_mut().zip(earlier).for_each(|(value, earlier)| *value -= earlier);
        Counts::of(difference)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        let (mut sum, more) = (self.values(), more.values());
        sum.iter_mut().zip(more).for_each(|(value, more)| *value += more);
        *self = Counts::of(sum);
    }
}
