//! A move in pieces: two edits, one after the other.

use core::marker::PhantomData;

use super::apply::Applied;
use super::{Operation, Phase};
use crate::edit::Planned;
use crate::map::Unmap;
use crate::relocate::Adopt;
use crate::{AddressSpace, Budget, Error, Format, Memory, Progress, Tlb, VirtAddr, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
    pub(super) fn move_at_once(
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

    pub(super) fn move_piece(
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
}

/// A move is to another place of the same size.
fn check_places(from: VirtRange, to: VirtRange) -> Result<(), Error> {
    assert!(from.pages() == to.pages(), "a range moves to one of its own size");
    match from.intersect(to) {
        Some(overlap) => Err(Error::Occupied(VirtAddr::new(overlap.start()).expect("ranges are of user addresses"))),
        None => Ok(()),
    }
}
