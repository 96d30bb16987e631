//! Changing a range in pieces, so that no step takes longer than a budget allows, whatever the size of the range.
//!
//! 1. *Check.* The plan of the whole range, piece by piece: a refusal is found before anything has changed. It also
//!    counts the tables that will be needed, and at its end so many frames are committed: a number, in constant time.
//! 2. *Apply.* Piece by piece, each an edit of its own (`edit.rs`): planned again, applied, invalidated, swept. Between
//!    two pieces the tree is valid: what lies before the cursor has changed, what lies behind it has not.
//!
//! A piece ends where the plan of the whole range would not have looked inside: a shared subtree that lies wholly in
//! the range is dropped whole, though it may be larger than all that a piece could look at.
//!
//! While an operation is under way its owner keeps other operations away from the space, and other forks. Faults may be
//! answered between the pieces, since they change no answer that the check has had: what is mapped or reserved stays
//! so, with the same permissions, and a path that is not shared comes to be shared by forks alone. What fits into one
//! piece needs none of this: [`AddressSpace::change_at_once`] is tried first.

mod apply;
mod relocation;

use core::marker::PhantomData;

use apply::{Act, AtOnce, Piece};

use crate::commit::Commit;
use crate::edit::Needed;
use crate::gate::Frames;
use crate::map::{Discard, Foreign, Map, Protect, Reserve, Unmap};
use crate::{
    AddressSpace, Budget, Error, Format, Frame, Kind, Level, Memory, Page, Permissions, Progress, Reservation, Tlb,
    VirtRange,
};

/// What becomes of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// As [`AddressSpace::relocate`], to this range of the same size. Nothing else may change the space between the
    /// steps, no fault either: the content is in both places for a while. Under a guarantee there must be memory for
    /// copies of what is moved page by page.
    Move(VirtRange),
}

/// A change of a range that is under way, for what [`AddressSpace::change_at_once`] finds too large.
///
/// Dropped before it is done, it leaves the range changed up to some address, and gives back the frames that it had
/// committed.
#[must_use = "an operation does nothing until `AddressSpace::step` is called"]
pub struct Operation<M: Memory> {
    memory: Frames<M>,
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
    /// For what a move leaves behind.
    CheckSource,
    Apply,
    /// Likewise.
    ApplySource,
}

impl<M: Memory> Operation<M> {
    /// The change of this range, not begun.
    pub fn new(memory: M, range: VirtRange, change: Change) -> Self {
        let (cursor, needed) = (range.start(), Needed::default());
        Operation { memory: Frames::new(memory), change, range, cursor, phase: Phase::Check, needed, reserve: 0 }
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
        if matches!(self.phase, Phase::Apply | Phase::ApplySource) { self.cursor } else { self.range.start() }
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
    /// Carries a change of a range out if that takes no more than the budget. Otherwise nothing has changed, and an
    /// [`Operation`] can do it.
    ///
    /// `frame` and `before` are as for [`step`](Self::step).
    ///
    /// # Errors
    /// As the method of the same name. Then nothing has changed.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    #[expect(unsafe_code, reason = "existing frames are mapped")]
    #[inline(always)]
    pub unsafe fn change_at_once(
        &mut self,
        tlb: &impl Tlb,
        range: VirtRange,
        change: Change,
        budget: Budget,
        frame: impl Fn(u64) -> Frame,
        before: impl Fn(&Self, VirtRange),
    ) -> Result<Progress, Error> {
        let progress = match change {
            Change::Move(to) => self.move_at_once(tlb, range, to, budget)?,
            _ => self.with_edit(range, change, frame, AtOnce { tlb, range, budget, before })?,
        };
        if progress == Progress::Done {
            self.shares_pages_after(change);
        }
        Ok(progress)
    }

    /// Goes on with a change of a range until it is done or the budget is used up.
    ///
    /// `frame` says which frame page `n` of the range gets; only [`Change::MapPages`] asks. `before` is told which part
    /// of the range is about to change in this step, if any is. What has been cut off waits in the space
    /// ([`take_debris`](Self::take_debris)), also when the operation is done.
    ///
    /// # Errors
    /// As the method of the same name. Then nothing has changed, and the operation is over.
    ///
    /// # Safety
    /// For [`Change::MapFrames`] and [`Change::MapPages`] as for the methods of the same names: the frames are there
    /// for as long as they are mapped. The others ask for nothing.
    #[expect(unsafe_code, reason = "existing frames are mapped")]
    pub unsafe fn step(
        &mut self,
        tlb: &impl Tlb,
        operation: &mut Operation<M>,
        budget: Budget,
        frame: impl Fn(u64) -> Frame,
        before: impl FnOnce(&Self, VirtRange),
    ) -> Result<Progress, Error> {
        let (range, change) = (operation.range, operation.change);
        if operation.phase == Phase::Apply {
            self.shares_pages_after(change);
        }
        match change {
            Change::Move(to) => self.move_piece(tlb, operation, to, budget),
            _ => self.with_edit(range, change, frame, Piece { tlb, operation, budget, before }),
        }
    }

    /// Pages that are mapped with counts of their own, and are not meant to be shared, cannot be paid for in advance.
    #[inline(always)]
    fn shares_pages_after(&mut self, change: Change) {
        if let Change::MapPages { kind, .. } = change
            && kind != Kind::Shared
        {
            self.commit = Commit::BestEffort;
        }
    }

    /// Does something with the edit that a change is. `range` is all of what it changes.
    #[inline(always)]
    fn with_edit(
        &mut self,
        range: VirtRange,
        change: Change,
        frame: impl Fn(u64) -> Frame,
        act: impl Act<F, M>,
    ) -> Result<Progress, Error> {
        let pages_before = |slot: VirtRange| (slot.start() - range.start()) / Level::LAST.span();
        match change {
            Change::Reserve(reservation) => act.with(self, &Reserve(reservation)),
            Change::MapFrames { first, permissions, foreign } => {
                let page = |slot| Ok(foreign.page(Frame(first.0 + pages_before(slot)), permissions));
                act.with(self, &Map { page })
            }
            Change::MapPages { permissions, kind } => {
                self.admit(kind)?;
                let writable = kind == Kind::Shared && permissions == Permissions::ReadWrite;
                let page = |slot| Ok(Page { frame: frame(pages_before(slot)), permissions, kind, writable });
                act.with(self, &Map { page })
            }
            Change::Discard => act.with(self, &Discard),
            Change::Unmap => act.with(self, &Unmap(PhantomData::<F>)),
            Change::Protect(permissions) => act.with(self, &Protect(permissions)),
            Change::Move(_) => unreachable!("a move is two edits"),
        }
    }
}

impl<M: Memory> Operation<M> {
    /// Goes on at this offset, or with the next phase.
    fn advance(&mut self, offset: Option<u64>, next: Phase) {
        self.cursor = self.range.start() + offset.unwrap_or(0);
        if offset.is_none() {
            self.phase = next;
        }
    }

    /// Commits what the check has counted.
    fn reserve(&mut self, commit: Commit) -> Result<(), Error> {
        let reserve = self.needed.beyond_the_charge(commit);
        self.memory.commit(reserve)?;
        self.reserve = reserve;
        Ok(())
    }
}
