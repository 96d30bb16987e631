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

mod dead;
mod release;

pub(crate) use dead::Dead;
pub(crate) use release::{free_table, release_copied, release_entry};

use core::marker::PhantomData;

use dead::DeadTable;

use crate::gate::Frames;
use crate::{AddressSpace, Format, Level, Memory, Reach, Tlb, VirtRange};

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
            let table = DeadTable { frame: root.unlinked(), level: Level::ROOT };
            self.dead.begin::<F>(&self.memory, table, self.commit.charge(), budget);
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
            let table = DeadTable { frame: root.unlinked(), level: Level::ROOT };
            self.dead.push(&self.memory, table, self.commit.charge());
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
