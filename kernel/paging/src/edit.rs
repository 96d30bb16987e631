//! Changing a range: one recursion for map, unmap and protect.
//!
//! 1. *Plan* (`edit/plan.rs`). Walk the range, ask the operation about every descriptor, refuse if it refuses, and
//!    count the tables that will be needed.
//! 2. *Set aside* that many frames, or fail. Nothing has changed so far.
//! 3. *Apply.* Own every table on the way (`make_mut`: re-open, split, expand a reservation) and store. A descriptor
//!    that is removed is *retired*: invalid for the hardware, but it still says what it led to.
//! 4. *Invalidate* once.
//! 5. *Sweep.* Empty what was retired and drop the references it held.
//!
//! The plan holds when it is applied. The space is held by `&mut`, and the counts of tables that it alone reaches
//! cannot rise. Other spaces may drop their references meanwhile; then some frames were set aside for nothing and go
//! back. Other spaces may also make the two stores that a frozen table permits; the operation gives the same answer
//! before and after them ([`Edit::decide`]).

mod apply;
mod needed;
mod plan;
mod sweep;

pub(crate) use needed::{Needed, Stocks};
pub(crate) use plan::Planned;

use crate::gate::Location;
use crate::{AddressSpace, Descriptor, ENTRIES, Error, Format, Level, Memory, Tlb, VirtAddr, VirtRange};

/// What becomes of a descriptor in the range.
pub(crate) enum Decision<F: Format> {
    /// It stays.
    Keep,
    /// It becomes this one, in place: not another present frame, not empty.
    Store(Descriptor<F>),
    /// It is removed, with everything below it.
    Remove,
    /// The page is removed and leaves a reservation behind.
    Forget,
    /// The empty entry is made to lead where this one leads, which keeps its own reference for now.
    Adopt(Location),
    /// The answer lies a level below. An empty or reserved descriptor becomes a table for it.
    Descend,
}

/// How much of what a descriptor covers lies in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// All of it.
    Whole,
    /// Not all of it.
    Part,
}

/// An entry of a table that the range touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Level of the table.
    pub(crate) level: Level,
    /// Which entry of the table it is.
    pub(crate) index: usize,
    /// What it covers.
    pub(crate) range: VirtRange,
    /// How much of that lies in the range.
    pub(crate) cover: Cover,
}

impl Slot {
    /// The slots of a table that starts at `base` which the range touches.
    pub(crate) fn of(level: Level, base: u64, range: VirtRange) -> impl Iterator<Item = Slot> {
        let first = range.start().saturating_sub(base) / level.span();
        let end = range.end().saturating_sub(base).div_ceil(level.span());
        (first as usize..ENTRIES.min(end as usize)).map(move |index| {
            let slot = VirtRange::slot(base, level, index);
            let whole = range.start() <= slot.start() && slot.end() <= range.end();
            Slot { level, index, range: slot, cover: if whole { Cover::Whole } else { Cover::Part } }
        })
    }

    /// First address that it covers.
    pub(crate) const fn start(&self) -> u64 {
        self.range.start()
    }

    /// The same, for an error.
    pub(crate) fn address(&self) -> VirtAddr {
        VirtAddr::new(self.start()).expect("slots of the tree have user addresses")
    }
}

/// An operation on a range.
pub(crate) trait Edit<F: Format> {
    /// About how many instructions more than usual an answer takes for an empty entry above level 3.
    fn look_cost(&self) -> u32 {
        0
    }

    /// What becomes of the descriptor in this slot.
    ///
    /// The plan and its application both ask, and in between another core may show the page of zeroes or take write
    /// permission away, here and in every other shared table. The operation refuses and descends for the same
    /// descriptors both times: see [`for_good`](crate::gate::for_good). It descends into every table of which the range
    /// covers a part: where the space alone reaches such tables, nothing asks.
    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error>;
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    pub(crate) fn edit(&mut self, tlb: &impl Tlb, range: VirtRange, edit: &impl Edit<F>) -> Result<(), Error> {
        let needed = self.plan(range, edit, None)?;
        self.carry_out(tlb, range, edit, needed)?;
        self.dead.clear_all::<F>(&self.memory);
        Ok(())
    }

    /// Sets aside the frames that an edit needs, and applies it.
    pub(crate) fn carry_out(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        edit: &impl Edit<F>,
        needed: Needed,
    ) -> Result<(), Error> {
        let mut stock = Stocks::allocate(&self.memory, needed, self.commit)?;
        let ledger = self.commit.ledger();
        self.apply(tlb, range, edit, &mut stock, &ledger);
        ledger.settle(&self.memory);
        stock.give_back(&self.memory);
        Ok(())
    }
}
