//! Changing a range in pieces, so that no step takes longer than a budget allows, whatever the size of the range.
//!
//! 1. *Check.* The plan of the whole range, piece by piece: a refusal is found before anything has changed. It also counts the tables that will be
//!    needed, and at its end so many frames are committed: a number, in constant time.
//! 2. *Apply.* Piece by piece, each an edit of its own (`edit.rs`): planned again, applied, invalidated, swept. Between two pieces the tree is
//!    valid: what lies before the cursor has changed, what lies behind it has not.
//!
//! A piece ends where the plan of the whole range would not have looked inside: a shared subtree that lies wholly in the range is dropped whole,
//! though it may be larger than all that a piece could look at.
//!
//! While an operation is under way its owner keeps other operations away from the space, and other forks. Faults may be answered between
//! the pieces, since they change no answer that the check has had: what is mapped or reserved stays so, with the same
//! permissions, and a path that nobody shares comes to be shared by forks alone. What fits into one piece is done in the first step, as by the
//! method of [`AddressSpace`] with the same name.

use core::marker::PhantomData;

use crate::commit::Commit;
use crate::edit::{Edit, Needed, Stocks};
use crate::map::{Discard, Foreign, Map, Protect, Reserve, Unmap};
use crate::{
    AddressSpace, Budget, Error, Format, Frame, Kind, Level, Memory, Page, Permissions, Progress, Reservation, Tlb,
    VirtRange,
};

/// What becomes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// As [`AddressSpace::reserve`].
    Reserve(Reservation),
    /// As [`AddressSpace::map_frames`].
    MapFrames {
        /// The first frame.
        first: Frame,
        /// What the program may do with them.
        permissions: Permissions,
        /// What they are.
        foreign: Foreign,
    },
    /// As [`AddressSpace::map_pages`]; the frames are given to [`AddressSpace::step`].
    MapPages {
        /// What the program may do with them.
        permissions: Permissions,
        /// A kind whose frames are counted.
        kind: Kind,
    },
    /// As [`AddressSpace::discard`].
    Discard,
    /// As [`AddressSpace::unmap`].
    Unmap,
    /// As [`AddressSpace::protect`].
    Protect(Permissions),
}

/// A change of a range that is under way.
///
/// Dropped before it is done, it leaves the range changed up to some address, and gives back the frames that it had committed.
#[must_use = "an operation does nothing until `AddressSpace::step` is called"]
pub struct Operation<M: Memory> {
    memory: M,
    change: Change,
    range: VirtRange,
    /// Where the next piece begins.
    cursor: u64,
    phase: Phase,
    needed: Needed,
    /// Frames that are committed for it.
    reserve: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Check,
    Apply,
}

impl<M: Memory> Operation<M> {
    /// The change of this range, not begun.
    pub fn new(memory: M, range: VirtRange, change: Change) -> Self {
        let (cursor, needed) = (range.start(), Needed::default());
        Operation { memory, change, range, cursor, phase: Phase::Check, needed, reserve: 0 }
    }

    /// The range.
    pub fn range(&self) -> VirtRange {
        self.range
    }

    /// What becomes of it.
    pub fn change(&self) -> Change {
        self.change
    }

    /// What the next piece begins with, once something has changed: everything before is done.
    pub fn applied_to(&self) -> u64 {
        if self.phase == Phase::Apply { self.cursor } else { self.range.start() }
    }
}

impl<M: Memory> Drop for Operation<M> {
    fn drop(&mut self) {
        if self.reserve != 0 {
            self.memory.uncommit(self.reserve);
        }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Goes on with a change of a range until it is done or the budget is used up.
    ///
    /// `frame` says which frame page `n` of the range gets; only [`Change::MapPages`] asks. `before` is told which part of the range is about to
    /// change in this step, if any is. What has been cut off waits in the space
    /// ([`take_debris`](Self::take_debris)), also when the operation is done.
    ///
    /// # Errors
    /// As the method of the same name. Then nothing has changed, and the operation is over.
    pub fn step(
        &mut self,
        tlb: &impl Tlb,
        operation: &mut Operation<M>,
        budget: Budget,
        frame: impl Fn(u64) -> Frame,
        before: impl FnOnce(&Self, VirtRange),
    ) -> Result<Progress, Error> {
        let range = operation.range;
        let pages_before = |slot: VirtRange| (slot.start() - range.start()) / Level::LAST.span();
        match operation.change {
            Change::Reserve(reservation) => self.piece(tlb, operation, &Reserve(reservation), budget, before),
            Change::MapFrames { first, permissions, foreign } => {
                let page = |slot| foreign.page(Frame(first.0 + pages_before(slot)), permissions);
                self.piece(tlb, operation, &Map { page }, budget, before)
            }
            Change::MapPages { permissions, kind } => {
                self.admit(kind)?;
                let writable = kind == Kind::Shared && permissions == Permissions::ReadWrite;
                let page = |slot| Page { frame: frame(pages_before(slot)), permissions, kind, writable };
                let progress = self.piece(tlb, operation, &Map { page }, budget, before)?;
                if kind != Kind::Shared && (progress == Progress::Done || operation.phase == Phase::Apply) {
                    self.commit = Commit::BestEffort;
                }
                Ok(progress)
            }
            Change::Discard => self.piece(tlb, operation, &Discard, budget, before),
            Change::Unmap => self.piece(tlb, operation, &Unmap(PhantomData::<F>), budget, before),
            Change::Protect(permissions) => self.piece(tlb, operation, &Protect(permissions), budget, before),
        }
    }

    fn piece(
        &mut self,
        tlb: &impl Tlb,
        operation: &mut Operation<M>,
        edit: &impl Edit<F>,
        budget: Budget,
        before: impl FnOnce(&Self, VirtRange),
    ) -> Result<Progress, Error> {
        let range = operation.range;
        let rest = VirtRange::new(operation.cursor, range.end() - operation.cursor).expect("something is left");
        if operation.phase == Phase::Check {
            let first = operation.cursor == range.start();
            let (needed, cut) = self.plan_part(rest, edit, budget, !first)?;
            return match cut {
                None if first => {
                    before(self, range);
                    self.carry_out(tlb, range, edit, needed)?;
                    Ok(Progress::Done)
                }
                cut => {
                    operation.needed += needed;
                    operation.cursor = cut.unwrap_or(range.start());
                    if cut.is_none() {
                        let reserve = operation.needed.beyond_the_charge(self.commit);
                        self.memory.commit(reserve)?;
                        operation.reserve = reserve;
                        operation.phase = Phase::Apply;
                    }
                    Ok(Progress::More)
                }
            };
        }
        let (needed, cut) = self.plan_part(rest, edit, budget, false).expect("the check had no objection");
        let Ok(mut stocks) = Stocks::allocate_committed(&self.memory, needed) else {
            // Another core holds, for a moment, a frame that is committed.
            return Ok(Progress::More);
        };
        let part = match cut {
            Some(cut) => VirtRange::new(rest.start(), cut - rest.start()).expect("a piece makes progress"),
            None => rest,
        };
        before(self, part);
        let ledger = self.commit.ledger();
        self.apply(tlb, part, edit, &mut stocks, &ledger);
        ledger.settle(&self.memory);
        let unused = stocks.give_back(&self.memory);
        operation.reserve -= needed.beyond_the_charge(self.commit) - unused.beyond_the_charge(self.commit);
        operation.cursor = part.end();
        Ok(if cut.is_some() { Progress::More } else { Progress::Done })
    }
}
