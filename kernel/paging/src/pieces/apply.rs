//! What is done with an edit: all of it at once, or one piece.

use super::{Operation, Phase};
use crate::edit::{Edit, Planned, Stocks};
use crate::{AddressSpace, Budget, Error, Format, Memory, Progress, Tlb, VirtRange};

/// What is done with an edit.
pub(super) trait Act<F: Format, M: Memory> {
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error>;
}

/// All of it, if it is little.
pub(super) struct AtOnce<'a, T, B> {
    pub(super) tlb: &'a T,
    pub(super) range: VirtRange,
    pub(super) budget: Budget,
    pub(super) before: B,
}

impl<F: Format, M: Memory, T: Tlb, B: Fn(&AddressSpace<F, M>, VirtRange)> Act<F, M> for AtOnce<'_, T, B> {
    #[inline(always)]
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error> {
        AddressSpace::<F, M>::check(self.range)?;
        if space.edit_page(self.tlb, self.range, edit, |space| (self.before)(space, self.range))? {
            return Ok(Progress::Done);
        }
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
pub(super) struct Piece<'a, M: Memory, T, B> {
    pub(super) tlb: &'a T,
    pub(super) operation: &'a mut Operation<M>,
    pub(super) budget: Budget,
    pub(super) before: B,
}

impl<F: Format, M: Memory, T: Tlb, B: FnOnce(&AddressSpace<F, M>, VirtRange)> Act<F, M> for Piece<'_, M, T, B> {
    fn with(self, space: &mut AddressSpace<F, M>, edit: &impl Edit<F>) -> Result<Progress, Error> {
        space.piece(self.tlb, self.operation, edit, self.budget, self.before)
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
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
    #[inline(never)]
    pub(super) fn apply_piece(
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
pub(super) enum Applied {
    /// All of it.
    All,
    /// What lies before this address.
    UpTo(u64),
    /// Nothing: another core holds, for a moment, a frame that is committed.
    Nothing,
}
