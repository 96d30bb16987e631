//! Exit: dropping references, and what no tree leads to any more.
//!
//! A table whose last reference goes still holds references of its own: 512 of them, each perhaps to a table with 512
//! more. So it is not freed on the spot. It joins a list of dead tables, [`Debris`], which is worked off in pieces:
//!
//! ```text
//!   first ──▶ level 3, entries 0..512 ──▶ its level 2, entries 17..512 ──▶ its level 1, ... ──▶ another dead table ...
//!             all freed in one go         went on below at entry 16
//! ```
//!
//! The list is threaded through the counts of the dead tables, and so is what has been done: it needs no memory,
//! whatever its length, and no more stack than a tree has levels.

use core::cell::Cell;
use core::marker::PhantomData;
use core::ops::Range;

use crate::commit::{Entries, Ledger, Mark, Repaid, Unpaid, frames_behind};
use crate::descriptor::Line;
use crate::gate::{self, Exclusive, Frames, Last};
use crate::{AddressSpace, Descriptor, Format, Frame, LINE, Level, Memory, Purpose, Reach, Tlb, VirtRange};

/// What a step of something that goes in pieces has left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    Done,
    /// Something.
    More,
}

/// Most work that one step may do before it returns, in units of about an instruction.
///
/// A step may exceed it by the smallest piece of work there is: a table's entries, about 16,000 instructions where each
/// of them is the last reference to a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget(pub u32);

impl Budget {
    /// All of it in one step.
    pub const UNLIMITED: Budget = Budget(u32::MAX);
}

/// Tables that no tree leads to any more, and all that hangs on them alone: frames that are still in use until it is
/// [cleared](Debris::clear).
#[must_use = "debris that is dropped instead of cleared leaks its frames"]
pub struct Debris<F: Format, M: Memory> {
    memory: Frames<M>,
    dead: Dead,
    format: PhantomData<fn() -> F>,
}

impl<F: Format, M: Memory> Debris<F, M> {
    /// None.
    pub const fn none(memory: M) -> Self {
        Debris { memory: Frames::new(memory), dead: Dead::NONE, format: PhantomData }
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty()
    }

    /// Adds other debris of the same memory. O(1).
    pub fn append(&mut self, other: Self) {
        self.dead.append(&self.memory, other.dead);
    }

    /// Frees frames until none is left or the budget is used up. Every step makes progress.
    pub fn clear(&mut self, budget: Budget) -> Progress {
        self.dead.clear::<F>(&self.memory, budget, 0)
    }

    /// As [`clear`](Self::clear), for a step in which so much has been done already: nothing if the smallest piece of
    /// work exceeds the budget.
    pub fn clear_further(&mut self, budget: Budget, done: u32) -> Progress {
        self.dead.clear::<F>(&self.memory, budget, done.max(1))
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Ends the space. No core may run in it any more, nor hold its root in a translation-table base register.
    ///
    /// Drops one reference to every shared table it reaches and copies nothing.
    pub fn destroy(self, tlb: &impl Tlb) {
        let mut debris = self.destroy_within(tlb, Budget::UNLIMITED);
        debris.dead.clear_all::<F>(&debris.memory);
    }

    /// As [`destroy`](Self::destroy), as far as the budget goes: what is left is to be cleared, in pieces.
    #[inline(always)]
    pub fn destroy_within(mut self, tlb: &impl Tlb, budget: Budget) -> Debris<F, M> {
        // Drop after flush: a walk cache may still lead into these tables.
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
        if let Some(root) = self.take_root() {
            let mark = self.commit.ledger().mark();
            self.dead.begin::<F>(&self.memory, (root.unlinked(), Level::ROOT), mark, budget);
        }
        self.take_debris()
    }

    /// As [`destroy`](Self::destroy), in constant time: what was the space's alone is left to be cleared, in pieces.
    pub fn dismantle(mut self, tlb: &impl Tlb) -> Debris<F, M> {
        // Drop after flush: a walk cache may still lead into these tables.
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
        self.uproot();
        self.take_debris()
    }

    /// Adds the root, which is never shared, to the dead.
    fn uproot(&mut self) {
        if let Some(root) = self.take_root() {
            self.dead.push(&self.memory, root.unlinked(), Level::ROOT, self.commit.ledger().mark());
        }
    }

    /// Whether operations in pieces have cut something off the tree that waits to be [taken](Self::take_debris).
    #[inline(always)]
    pub fn has_debris(&self) -> bool {
        !self.dead.is_empty()
    }

    /// What operations in pieces have cut off the tree and not freed.
    pub fn take_debris(&mut self) -> Debris<F, M> {
        Debris { memory: self.memory.clone(), dead: core::mem::take(&mut self.dead), format: PhantomData }
    }
}

/// A space that is dropped is destroyed, at the price of everything that the TLBs know.
impl<F: Format, M: Memory> Drop for AddressSpace<F, M> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.has_root() || self.has_debris() {
            self.abandon();
        }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    #[cold]
    fn abandon(&mut self) {
        if self.has_root() {
            self.memory.invalidate_all();
            self.uproot();
        }
        self.dead.clear_all::<F>(&self.memory);
    }
}

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

/// The place of a table in the list: its frame, its level and what becomes of the charge.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Link(u64);

impl Link {
    const END: Link = Link(u64::MAX);

    #[inline(always)]
    fn new(table: Frame, level: Level, mark: Mark) -> Link {
        Link(table.address() | (level.number() as u64) << 2 | mark as u64)
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
    fn mark(self) -> Mark {
        match self.0 & 3 {
            0 => Mark::Unpaid,
            1 => Mark::Paid,
            _ => Mark::Repaid,
        }
    }
}

impl Dead {
    pub(crate) const NONE: Dead = Dead { first: Link::END, last: Frame(0) };

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == Link::END
    }

    /// Adds a table that the caller alone reaches.
    pub(crate) fn push(&mut self, memory: &Frames<impl Memory>, table: Last, level: Level, mark: Mark) {
        let table = table.frame();
        memory.counts(table).set_link(self.first.0);
        if self.is_empty() {
            self.last = table;
        }
        self.first = Link::new(table, level, mark);
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
    fn pop(&mut self, memory: &Frames<impl Memory>) -> Last {
        let table = self.first.frame();
        self.first = Link(memory.counts(table).link());
        Last::recovered(table)
    }

    /// All of it, however long that takes.
    #[inline]
    pub(crate) fn clear_all<F: Format>(&mut self, memory: &Frames<impl Memory>) {
        while let Progress::More = self.clear::<F>(memory, Budget::UNLIMITED, 0) {}
    }

    /// All of it as a part of the operation that has this ledger, which takes it out of the charge.
    pub(crate) fn clear_within<F: Format>(&mut self, memory: &Frames<impl Memory>, ledger: &Ledger) {
        let none = Cell::new(0);
        let dropped = if let Ledger::Paid(dropped) = ledger { dropped } else { &none };
        while let Progress::More = self.work::<F>(memory, Budget::UNLIMITED, 0, dropped) {}
    }

    #[inline]
    pub(crate) fn clear<F: Format>(&mut self, memory: &Frames<impl Memory>, budget: Budget, done: u32) -> Progress {
        if self.is_empty() {
            return Progress::Done;
        }
        let dropped = Cell::new(0);
        let progress = self.work::<F>(memory, budget, done, &dropped);
        if dropped.get() != 0 {
            memory.uncommit(dropped.get() as u64);
        }
        progress
    }

    /// Frees a table that has not joined the dead, as far as the budget goes.
    #[inline(always)]
    fn begin<F: Format>(&mut self, memory: &Frames<impl Memory>, table: (Last, Level), mark: Mark, budget: Budget) {
        if mark == Mark::Unpaid {
            self.free::<F>(memory, table, &Unpaid, &mut 0, budget);
        } else {
            self.push(memory, table.0, table.1, mark);
            self.clear::<F>(memory, budget, 0);
        }
    }

    fn work<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        budget: Budget,
        mut done: u32,
        dropped: &Cell<i64>,
    ) -> Progress {
        while !self.is_empty() {
            let (mark, level) = (self.first.mark(), self.first.level());
            let table = self.pop(memory);
            let go_on = match mark {
                Mark::Unpaid => self.free::<F>(memory, (table, level), &Unpaid, &mut done, budget),
                Mark::Paid => self.free::<F>(memory, (table, level), dropped, &mut done, budget),
                Mark::Repaid => self.free::<F>(memory, (table, level), &Repaid, &mut done, budget),
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
    fn free<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        (mut table, mut level): (Last, Level),
        entries: &impl Entries,
        done: &mut u32,
        budget: Budget,
    ) -> bool {
        loop {
            let counts = memory.counts(table.frame());
            let bounds = counts.bounds();
            let length = bounds.end.wrapping_sub(bounds.start) as u32;
            let (each, little) = if level == Level::LAST { (PAGE_COST, LITTLE) } else { (ENTRY_COST, 0) };
            // Wraps around without a budget, where nothing depends on it.
            let after = done.wrapping_add(length * each);
            if after > budget.0 && *done > little {
                self.push(memory, table, level, entries.mark());
                return false;
            }
            if level == Level::LAST {
                for index in bounds {
                    // Also where it has been retired: it still holds its reference. Pages are freed at once.
                    let _ = release::<F>(memory, memory.load(table.frame(), index), Level::LAST, entries);
                }
            } else if let Some((child, next)) = dead_child::<F>(memory, table.frame(), level, bounds.clone(), entries) {
                *done = done.wrapping_add((next - bounds.start) as u32 * each);
                counts.set_bounds(next..bounds.end);
                self.push(memory, table, level, entries.mark());
                (table, level) = (child, level.below());
                continue;
            }
            entries.free(memory, table, Purpose::Table);
            *done = after.wrapping_add(TABLE_COST);
            if *done >= budget.0 {
                return false;
            }
            if self.is_empty() || self.first.mark() != entries.mark() {
                return true;
            }
            level = self.first.level();
            table = self.pop(memory);
        }
    }
}

/// Drops the references that these entries of a table hold, one after the other, until one was the last to its table:
/// that table, and the entry to go on with.
#[inline(always)]
fn dead_child<F: Format>(
    memory: &Frames<impl Memory>,
    table: Frame,
    level: Level,
    bounds: Range<usize>,
    entries: &impl Entries,
) -> Option<(Last, usize)> {
    let mut index = bounds.start;
    while index < bounds.end {
        if index.is_multiple_of(LINE) && index + LINE <= bounds.end {
            let line: Line<F> = memory.load_line(table, index);
            if line.in_common().is_present() {
                for descriptor in line.0 {
                    index += 1;
                    if let Some(child) = release(memory, descriptor, level, entries) {
                        return Some((child, index));
                    }
                }
                continue;
            }
            if line.is_empty() {
                index += LINE;
                continue;
            }
        }
        loop {
            let descriptor = memory.load::<F>(table, index);
            index += 1;
            // Also where it has been retired, likewise.
            if (descriptor.is_present() || descriptor.is_retired())
                && let Some(child) = release(memory, descriptor, level, entries)
            {
                return Some((child, index));
            }
            if index.is_multiple_of(LINE) || index == bounds.end {
                break;
            }
        }
    }
    None
}

/// Drops the reference that a present descriptor of this level held. Every TLB has forgotten the descriptor. A table
/// whose last reference it was joins the dead.
#[inline(always)]
pub(crate) fn release_entry<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    ledger: &Ledger,
    dead: &mut Dead,
) {
    let last = match ledger {
        Ledger::Unpaid => release(memory, descriptor, level, &Unpaid),
        paid => release_paid_entry(memory, descriptor, level, paid),
    };
    if let Some(table) = last {
        dead.push(memory, table, level.below(), ledger.mark());
    }
}

/// The same, at once. For the original of a table or a page that has been copied: it has one reference to each of the
/// entries that the copy has, too, so that nothing but a path of dead tables can hang on it.
#[inline(always)]
pub(crate) fn release_copied<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    ledger: &Ledger,
) {
    let last = match ledger {
        Ledger::Unpaid => release(memory, descriptor, level, &Unpaid),
        paid => release_paid_entry(memory, descriptor, level, paid),
    };
    if let Some(table) = last {
        free_dead::<F>(memory, table, level.below(), ledger);
    }
}

#[cold]
fn release_paid_entry<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    ledger: &Ledger,
) -> Option<Last> {
    match ledger {
        Ledger::Unpaid => None,
        Ledger::Paid(dropped) => release(memory, descriptor, level, dropped),
        Ledger::Repaid => release(memory, descriptor, level, &Repaid),
    }
}

/// Frees a table that its holder alone reaches, after the references that its entries hold.
pub(crate) fn free_table<F: Format>(memory: &Frames<impl Memory>, table: Exclusive<F>, ledger: &Ledger) {
    let level = table.level();
    free_dead::<F>(memory, table.unlinked(), level, ledger);
}

fn free_dead<F: Format>(memory: &Frames<impl Memory>, table: Last, level: Level, ledger: &Ledger) {
    let mut dead = Dead::NONE;
    dead.push(memory, table, level, ledger.mark());
    dead.clear_all::<F>(memory);
}

/// Drops a reference. Answers with the table whose last one it was.
#[inline(always)]
fn release<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    entries: &impl Entries,
) -> Option<Last> {
    if level == Level::LAST && !descriptor.is_counted() {
        return None;
    }
    let frame = descriptor.output();
    // Asked while this reference stands, and what hangs below is frozen: afterwards it is another owner's.
    let frames = entries.weigh(|| {
        let present = if descriptor.is_retired() { descriptor.restored() } else { descriptor };
        frames_behind(memory, present, level)
    });
    match gate::release(memory, frame) {
        None => {
            entries.dropped(frames);
            None
        }
        Some(page) if level == Level::LAST => {
            entries.free(memory, page, Purpose::Page);
            None
        }
        table => table,
    }
}
