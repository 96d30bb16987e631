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

use core::marker::PhantomData;

use crate::commit::Commit;
use crate::edit::{Edit, Needed, Planned, Stocks};
use crate::gate::Frames;
use crate::map::{Discard, Foreign, Map, Protect, Reserve, Unmap};
use crate::relocate::Adopt;
use crate::{
    AddressSpace, Budget, Error, Format, Frame, Kind, Level, Memory, Page, Permissions, Progress, Reservation, Tlb,
    VirtAddr, VirtRange,
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
        before: impl FnOnce(&Self, VirtRange),
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

    fn move_at_once(
        &mut self,
        tlb: &impl Tlb,
        from: VirtRange,
        to: VirtRange,
        budget: Budget,
    ) -> Result<Progress, Error> {
        check_places(from, to)?;
        let memory = &self.memory.clone();
        let (adopt, unmap) = (Adopt::<F, M>::new(memory, self.root(), from, to), Unmap(PhantomData::<F>));
        let half = Budget(budget.0 / 2);
        let Planned { mut needed, cut } = self.plan_part(to, &adopt, half, false)?;
        if cut.is_some() {
            return Ok(Progress::More);
        }
        let Planned { needed: more, cut } = self.plan_part(from, &unmap, half, false)?;
        if cut.is_some() {
            return Ok(Progress::More);
        }
        needed += more;
        // The plan of a piece covers its first address, whatever that takes: several full tables that are shared.
        if needed.copies_several() {
            return Ok(Progress::More);
        }
        self.relocate_planned(tlb, from, to, needed)?;
        Ok(Progress::Done)
    }

    fn move_piece(
        &mut self,
        tlb: &impl Tlb,
        operation: &mut Operation<M>,
        to: VirtRange,
        budget: Budget,
    ) -> Result<Progress, Error> {
        let from = operation.range;
        check_places(from, to)?;
        let memory = &self.memory.clone();
        let (adopt, unmap) = (Adopt::<F, M>::new(memory, self.root(), from, to), Unmap(PhantomData::<F>));
        let (offset, budget) = (operation.cursor - from.start(), Budget(budget.0 / 2));
        let rest = |range: VirtRange| {
            VirtRange::new(range.start() + offset, range.end() - range.start() - offset).expect("something is left")
        };
        let first = offset == 0;
        match operation.phase {
            Phase::Check => {
                let Planned { needed, cut } = self.plan_part(rest(to), &adopt, budget, !first)?;
                operation.needed += needed;
                operation.advance(cut.map(|cut| cut - to.start()), Phase::CheckSource);
            }
            Phase::CheckSource => {
                let Planned { needed, cut } = self.plan_part(rest(from), &unmap, budget, !first)?;
                operation.needed += needed;
                operation.advance(cut.map(|cut| cut - from.start()), Phase::Apply);
                if operation.phase == Phase::Apply {
                    operation.reserve(self.commit)?;
                }
            }
            Phase::Apply => match self.apply_piece(tlb, operation, rest(to), &adopt, budget, |_, _| {}) {
                Applied::All => operation.advance(None, Phase::ApplySource),
                Applied::UpTo(cut) => operation.advance(Some(cut - to.start()), Phase::ApplySource),
                Applied::Nothing => {}
            },
            Phase::ApplySource => match self.apply_piece(tlb, operation, rest(from), &unmap, budget, |_, _| {}) {
                Applied::All => return Ok(Progress::Done),
                Applied::UpTo(cut) => operation.cursor = cut,
                Applied::Nothing => {}
            },
        }
        Ok(Progress::More)
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
            let Planned { needed, cut } = self.plan_part(rest, edit, budget, !first)?;
            operation.needed += needed;
            operation.cursor = cut.unwrap_or(range.start());
            if cut.is_none() {
                operation.reserve(self.commit)?;
                operation.phase = Phase::Apply;
            }
            return Ok(Progress::More);
        }
        Ok(match self.apply_piece(tlb, operation, rest, edit, budget, before) {
            Applied::All => Progress::Done,
            Applied::UpTo(cut) => {
                operation.cursor = cut;
                Progress::More
            }
            Applied::Nothing => Progress::More,
        })
    }

    /// Applies a piece of what has been checked.
    fn apply_piece(
        &mut self,
        tlb: &impl Tlb,
        operation: &mut Operation<M>,
        rest: VirtRange,
        edit: &impl Edit<F>,
        budget: Budget,
        before: impl FnOnce(&Self, VirtRange),
    ) -> Applied {
        let Planned { needed, cut } = self.plan_part(rest, edit, budget, false).expect("the check had no objection");
        let Ok(mut stocks) = Stocks::allocate_committed(&self.memory, needed) else { return Applied::Nothing };
        let part = match cut {
            Some(cut) => VirtRange::new(rest.start(), cut - rest.start()).expect("a piece makes progress"),
            None => rest,
        };
        before(self, part);
        let ledger = self.commit.ledger();
        self.apply(tlb, part, edit, &mut stocks, &ledger);
        let adopted = ledger.adopted();
        if adopted == 0 {
            ledger.settle(&self.memory);
        }
        let used = needed.tables(self.commit) - stocks.give_back(&self.memory).tables(self.commit);
        operation.reserve -= used + adopted;
        cut.map_or(Applied::All, Applied::UpTo)
    }
}

/// What a step has applied of what was left.
enum Applied {
    /// All of it.
    All,
    /// What lies before this address.
    UpTo(u64),
    /// Nothing: another core holds, for a moment, a frame that is committed.
    Nothing,
}

/// A move is to another place of the same size.
fn check_places(from: VirtRange, to: VirtRange) -> Result<(), Error> {
    assert!(from.pages() == to.pages(), "a range moves to one of its own size");
    match from.intersect(to) {
        Some(overlap) => Err(Error::Occupied(VirtAddr::new(overlap.start()).expect("ranges are of user addresses"))),
        None => Ok(()),
    }
}

/// What is done with an edit.
trait Act<F: Format, M: Memory> {
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error>;
}

/// All of it, if it is little.
struct AtOnce<'a, T, B> {
    tlb: &'a T,
    range: VirtRange,
    budget: Budget,
    before: B,
}

impl<F: Format, M: Memory, T: Tlb, B: FnOnce(&AddressSpace<F, M>, VirtRange)> Act<F, M> for AtOnce<'_, T, B> {
    #[inline(always)]
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error> {
        let Planned { needed, cut } = space.plan_part(self.range, edit, self.budget, false)?;
        if cut.is_some() {
            return Ok(Progress::More);
        }
        (self.before)(space, self.range);
        space.carry_out(self.tlb, self.range, edit, needed)?;
        Ok(Progress::Done)
    }
}

/// A piece of it.
struct Piece<'a, M: Memory, T, B> {
    tlb: &'a T,
    operation: &'a mut Operation<M>,
    budget: Budget,
    before: B,
}

impl<F: Format, M: Memory, T: Tlb, B: FnOnce(&AddressSpace<F, M>, VirtRange)> Act<F, M> for Piece<'_, M, T, B> {
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error> {
        space.piece(self.tlb, self.operation, edit, self.budget, self.before)
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
