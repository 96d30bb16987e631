//! The list of dead tables, and how it is worked off.

use super::release::{release, release_until_table};
use crate::commit::{Charge, Dropped, Ledger, Paid, Policy, Repaid, Unpaid};
use crate::gate::{Frames, Last};
use crate::{Budget, Format, Frame, Level, Memory, Progress, Purpose};

/// Instructions, about, for an entry of a level-3 table with a page that goes.
const PAGE_COST: u32 = 31;
/// For an entry of another table.
const ENTRY_COST: u32 = 12;
/// What a step may have done and still begin with a table that exceeds the budget.
const LITTLE: u32 = 500;
/// For a table that goes.
const TABLE_COST: u32 = 80;

/// A list of tables whose last reference is gone.
pub(crate) struct Dead {
    first: Link,
    /// Meaningful where there is a first.
    last: Frame,
}

impl Default for Dead {
    fn default() -> Dead {
        Dead::NONE
    }
}

/// A table that nothing leads to any more, with the references that its entries hold.
pub(super) struct DeadTable {
    pub(super) frame: Last,
    pub(super) level: Level,
}

/// The place of a table in the list: its frame, its level and what becomes of the charge.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u64);

impl Link {
    const END: Link = Link(u64::MAX);

    #[inline(always)]
    fn new(table: Frame, level: Level, charge: Charge) -> Link {
        Link(table.address() | (level.number() as u64) << 2 | charge as u64)
    }

    #[inline(always)]
    fn frame(self) -> Frame {
        Frame::containing(self.0)
    }

    #[inline(always)]
    fn level(self) -> Level {
        Level::new((self.0 >> 2) as u8 & 3).expect("two bits")
    }

    #[inline(always)]
    fn charge(self) -> Charge {
        Charge::from_bits(self.0)
    }
}

impl Dead {
    pub(crate) const NONE: Dead = Dead { first: Link::END, last: Frame(0) };

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == Link::END
    }

    /// Adds a table that the caller alone reaches.
    pub(super) fn push(&mut self, memory: &Frames<impl Memory>, table: DeadTable, charge: Charge) {
        let frame = table.frame.frame();
        memory.counts(frame).set_link(self.first.0);
        if self.is_empty() {
            self.last = frame;
        }
        self.first = Link::new(frame, table.level, charge);
    }

    pub(crate) fn append(&mut self, memory: &Frames<impl Memory>, other: Dead) {
        if other.is_empty() {
            return;
        }
        memory.counts(other.last).set_link(self.first.0);
        if self.is_empty() {
            self.last = other.last;
        }
        self.first = other.first;
    }

    /// Takes the first table out.
    #[inline(always)]
    fn pop(&mut self, memory: &Frames<impl Memory>) -> DeadTable {
        let (frame, level) = (self.first.frame(), self.first.level());
        self.first = Link(memory.counts(frame).link());
        DeadTable { frame: Last::recovered(frame), level }
    }

    /// All of it, however long that takes.
    #[inline]
    pub(crate) fn clear_all<F: Format>(&mut self, memory: &Frames<impl Memory>) {
        while let Progress::More = self.clear::<F>(memory, Budget::UNLIMITED, 0) {}
    }

    /// All of it as a part of the operation that has this ledger, which takes it out of the charge.
    pub(crate) fn clear_within<F: Format>(&mut self, memory: &Frames<impl Memory>, ledger: &Ledger) {
        while let Progress::More = self.work::<F>(memory, Budget::UNLIMITED, 0, &ledger.dropped) {}
    }

    #[inline]
    pub(crate) fn clear<F: Format>(&mut self, memory: &Frames<impl Memory>, budget: Budget, done: u32) -> Progress {
        if self.is_empty() {
            return Progress::Done;
        }
        let dropped = Dropped::none();
        let progress = self.work::<F>(memory, budget, done, &dropped);
        dropped.settle(memory);
        progress
    }

    /// Frees a table that has not joined the dead, as far as the budget goes.
    #[inline(always)]
    pub(super) fn begin<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        table: DeadTable,
        charge: Charge,
        budget: Budget,
    ) {
        if charge == Charge::Unpaid {
            self.free::<F, Unpaid>(memory, table, &Dropped::none(), &mut 0, budget);
        } else {
            self.push(memory, table, charge);
            self.clear::<F>(memory, budget, 0);
        }
    }

    fn work<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        budget: Budget,
        mut done: u32,
        dropped: &Dropped,
    ) -> Progress {
        while !self.is_empty() {
            let charge = self.first.charge();
            let table = self.pop(memory);
            let go_on = match charge {
                Charge::Unpaid => self.free::<F, Unpaid>(memory, table, dropped, &mut done, budget),
                Charge::Paid => self.free::<F, Paid>(memory, table, dropped, &mut done, budget),
                Charge::Repaid => self.free::<F, Repaid>(memory, table, dropped, &mut done, budget),
            };
            if !go_on {
                break;
            }
        }
        if self.is_empty() { Progress::Done } else { Progress::More }
    }

    /// Frees a table and what hangs on it alone, and then the other dead, up to the first of another kind. When the
    /// budget is used up what is left of them joins the dead again, and this is `false`.
    ///
    /// The children's counts decide, not this table's: a child may have gained another owner when a table above it was
    /// split. Where a table below dies, the one above it waits among the dead, with what is left of it.
    fn free<F: Format, P: Policy>(
        &mut self,
        memory: &Frames<impl Memory>,
        mut table: DeadTable,
        dropped: &Dropped,
        done: &mut u32,
        budget: Budget,
    ) -> bool {
        loop {
            let (frame, level) = (table.frame.frame(), table.level);
            let counts = memory.counts(frame);
            let bounds = counts.bounds();
            let length = bounds.end.wrapping_sub(bounds.start) as u32;
            let (each, little) = if level == Level::LAST { (PAGE_COST, LITTLE) } else { (ENTRY_COST, 0) };
            // Wraps around without a budget, where nothing depends on it.
            let after = done.wrapping_add(length * each);
            if after > budget.0 && *done > little {
                self.push(memory, table, P::CHARGE);
                return false;
            }
            if level == Level::LAST {
                for index in bounds {
                    // Also where it has been retired: it still holds its reference. Pages are freed at once.
                    let _ = release::<F, P>(memory, memory.load(frame, index), Level::LAST, dropped);
                }
            } else if let Some(child) = release_until_table::<F, P>(memory, frame, level, bounds.clone(), dropped) {
                *done = done.wrapping_add((child.next - bounds.start) as u32 * each);
                counts.set_bounds(child.next..bounds.end);
                self.push(memory, table, P::CHARGE);
                table = DeadTable { frame: child.frame, level: level.below() };
                continue;
            }
            P::free(memory, table.frame, Purpose::Table);
            *done = after.wrapping_add(TABLE_COST);
            if *done >= budget.0 {
                return false;
            }
            if self.is_empty() || self.first.charge() != P::CHARGE {
                return true;
            }
            table = self.pop(memory);
        }
    }
}
