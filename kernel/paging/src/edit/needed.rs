//! The frames that an edit sets aside before its first store.

use crate::Memory;
use crate::commit::{Commit, Shortage, Source};
use crate::gate::{Frames, Stock};

/// Tables that applying an edit can need at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needed {
    /// To copy shared ones.
    pub(super) splits: usize,
    /// Where there were none.
    pub(super) new: usize,
    /// Frames that the space shares with itself for a while, under a guarantee.
    pub(super) adopted: u64,
}

impl Needed {
    /// The frames that no guarantee has committed already.
    pub(crate) fn beyond_the_charge(self, commit: Commit) -> u64 {
        self.tables(commit) + self.adopted
    }

    /// Whether more than one shared table is copied.
    pub(crate) fn copies_several(self) -> bool {
        self.splits > 1
    }

    /// The tables among them.
    pub(crate) fn tables(self, commit: Commit) -> u64 {
        let splits = if commit.source() == Source::Committed { 0 } else { self.splits };
        (splits + self.new) as u64
    }
}

impl core::ops::AddAssign for Needed {
    fn add_assign(&mut self, other: Needed) {
        self.splits += other.splits;
        self.new += other.new;
        self.adopted += other.adopted;
    }
}

/// The frames for them.
pub(crate) struct Stocks {
    pub(super) splits: Stock,
    pub(super) new: Stock,
}

impl Stocks {
    /// None: for an edit that needs no table.
    #[inline(always)]
    pub(crate) const fn none() -> Stocks {
        Stocks { splits: Stock::none(Source::Free), new: Stock::none(Source::Free) }
    }

    #[inline(always)]
    pub(crate) fn allocate(memory: &Frames<impl Memory>, needed: Needed, commit: Commit) -> Result<Stocks, Shortage> {
        Self::allocate_from(memory, needed, commit.source(), Source::Free)
    }

    /// All of them out of what is committed.
    #[inline(never)]
    pub(crate) fn allocate_committed(memory: &Frames<impl Memory>, needed: Needed) -> Result<Stocks, Shortage> {
        Self::allocate_from(memory, needed, Source::Committed, Source::Committed)
    }

    #[inline(always)]
    fn allocate_from(
        memory: &Frames<impl Memory>,
        needed: Needed,
        splits: Source,
        new: Source,
    ) -> Result<Stocks, Shortage> {
        if needed.splits == 0 && needed.new == 0 {
            return Ok(Stocks { splits: Stock::none(splits), new: Stock::none(new) });
        }
        Self::allocate_some(memory, needed, splits, new)
    }

    #[inline(never)]
    fn allocate_some(
        memory: &Frames<impl Memory>,
        needed: Needed,
        splits: Source,
        new: Source,
    ) -> Result<Stocks, Shortage> {
        let splits = Stock::allocate(memory, needed.splits, splits)?;
        match Stock::allocate(memory, needed.new, new) {
            Ok(new) => Ok(Stocks { splits, new }),
            Err(shortage) => {
                splits.give_back(memory);
                Err(shortage)
            }
        }
    }

    /// Gives back the frames that were not needed, and returns how many.
    #[inline(always)]
    pub(crate) fn give_back(self, memory: &Frames<impl Memory>) -> Needed {
        Needed { splits: self.splits.give_back(memory), new: self.new.give_back(memory), adopted: 0 }
    }
}
