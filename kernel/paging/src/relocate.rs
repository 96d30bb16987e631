//! Moving a range to other addresses: fork within one space, then unmap.
//!
//! The new place adopts whole subtrees where old and new address agree below them, single pages elsewhere, and shares
//! them with the old place for a moment; then the old place is unmapped and every count is what it was. Other spaces
//! that share a table or a page go on sharing it. No content is copied, and nothing below an adopted table is visited.

use core::marker::PhantomData;

use crate::edit::{Cover, Decision, Edit, Needed, Slot, Stocks};
use crate::gate::{self, Frames, Location};
use crate::map::{Unmap, descend_or_refuse};
use crate::{AddressSpace, Descriptor, ENTRIES, Error, Format, Frame, LINE, Level, Memory, Tlb, VirtAddr, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Moves everything that is mapped or reserved in `from` to `to`, a free range of the same size. Holes move as
    /// holes.
    ///
    /// # Errors
    /// [`Error::Occupied`] if anything is mapped or reserved in `to`, or the ranges overlap; [`Error::OutOfMemory`];
    /// nothing has changed then.
    ///
    /// # Panics
    /// If the ranges differ in size.
    pub fn relocate(&mut self, tlb: &impl Tlb, from: VirtRange, to: VirtRange) -> Result<(), Error> {
        assert!(from.pages() == to.pages(), "a range moves to one of its own size");
        if let Some(overlap) = from.intersect(to) {
            return Err(Error::Occupied(VirtAddr::new(overlap.start()).expect("ranges are of user addresses")));
        }
        Self::check(from)?;
        let memory = self.memory.clone();
        let adopt = Adopt::new(&memory, self.root(), from, to);
        let unmap = Unmap(PhantomData::<F>);
        // Adopting frees nothing and shares only what lies wholly in `from`: the plan for the unmapping stays valid.
        let mut needed = self.plan(to, &adopt, None)?;
        needed += self.plan(from, &unmap, Some(to))?;
        self.relocate_planned(tlb, from, to, needed)
    }

    /// Carries out a planned move, at once.
    pub(crate) fn relocate_planned(
        &mut self,
        tlb: &impl Tlb,
        from: VirtRange,
        to: VirtRange,
        needed: Needed,
    ) -> Result<(), Error> {
        let memory = self.memory.clone();
        let adopt = Adopt::<F, M>::new(&memory, self.root(), from, to);
        let mut stock = Stocks::allocate(&memory, needed, self.commit)?;
        let ledger = self.commit.ledger();
        self.apply(tlb, to, &adopt, &mut stock, &ledger);
        self.apply(tlb, from, &Unmap(PhantomData::<F>), &mut stock, &ledger);
        // Dead tables whose pages were adopted one by one still hold references to them: clearing the tables takes the
        // pages' part out of the charge.
        self.dead.clear_within::<F>(&memory, &ledger);
        ledger.settle(&memory);
        stock.give_back(&memory);
        Ok(())
    }
}

pub(crate) struct Adopt<'a, F, M> {
    memory: &'a Frames<M>,
    root: Frame,
    from: VirtRange,
    to: VirtRange,
    format: PhantomData<F>,
}

impl<'a, F: Format, M: Memory> Adopt<'a, F, M> {
    pub(crate) fn new(memory: &'a Frames<M>, root: Frame, from: VirtRange, to: VirtRange) -> Self {
        Adopt { memory, root, from, to, format: PhantomData }
    }
}

impl<F: Format, M: Memory> Edit<F> for Adopt<'_, F, M> {
    /// What [`Adopt::uniform`] takes for the tables at both edges of a range, three levels each.
    fn look_cost(&self) -> u32 {
        8_000
    }

    fn decide(&self, descriptor: Descriptor<F>, slot: &Slot) -> Result<Decision<F>, Error> {
        if !descriptor.is_empty() {
            return descend_or_refuse(descriptor, slot);
        }
        let part = slot.range.intersect(self.to).expect("only slots in the range are asked about");
        let source = part.moved(self.to, self.from);
        match self.uniform(self.root, Level::ROOT, 0, source) {
            Some(empty) if empty.is_empty() => return Ok(Decision::Keep),
            Some(reservation) if slot.cover == Cover::Whole => return Ok(Decision::Store(reservation)),
            _ => {}
        }
        if slot.cover == Cover::Whole && source.start().is_multiple_of(slot.level.span()) {
            let origin = self.find(source, slot.level);
            let descriptor = self.memory.load::<F>(origin.table, origin.index);
            // It is a table, or a page. Memory that may not be shared moves page by page, and stays as writable as it
            // was.
            if slot.level == Level::LAST || !self.memory.counts(descriptor.output()).has_unshareable() {
                return Ok(Decision::Adopt(origin));
            }
        }
        Ok(Decision::Descend)
    }
}

impl<F: Format, M: Memory> Adopt<'_, F, M> {
    /// The entry of `level` that covers exactly this range. There is one: [`uniform`](Self::uniform) has found
    /// something present.
    fn find(&self, range: VirtRange, level: Level) -> Location {
        let address = VirtAddr::new(range.start()).expect("ranges are of user addresses");
        let (mut table, mut at) = (self.root, Level::ROOT);
        loop {
            let index = at.index(address);
            if at == level {
                return Location { table, level, index };
            }
            (table, at) = (self.memory.load::<F>(table, index).output(), at.below());
        }
    }

    /// The one descriptor, empty or reserved, that stands for all of a range in the old place; `None` if there is
    /// content in it, or not all of it is alike. `None` also if a table lies in a range that is larger than one level-3
    /// table covers: there is content below every table, and the time to find it would grow with the range.
    ///
    /// Parts of the range may lie in tables that relatives share, and a relative may read it for the first time between
    /// the plan and its application: a page of zeroes counts as what it was before. And where the new place begins
    /// close by, applying makes tables that cover an edge of the old place, too. That changes no answer: the search
    /// descends into a table at an edge.
    fn uniform(&self, table: Frame, level: Level, base: u64, range: VirtRange) -> Option<Descriptor<F>> {
        let first = (range.start().saturating_sub(base) / level.span()) as usize;
        let end = ENTRIES.min((range.end() - base).div_ceil(level.span()) as usize);
        let (mut index, mut common) = (first, None);
        while index < end {
            if common.is_none_or(Descriptor::is_empty) && index + LINE <= end && self.are_empty(table, index) {
                common = Some(Descriptor::EMPTY);
                index += LINE;
                continue;
            }
            let mut descriptor = gate::for_good(self.memory.load(table, index), level);
            if descriptor.is_present() {
                let slot = VirtRange::slot(base, level, index);
                let inside = slot.intersect(range) == Some(slot);
                if level == Level::LAST || (inside && range.pages() > ENTRIES as u64) {
                    return None;
                }
                descriptor = self.uniform(descriptor.output(), level.below(), slot.start(), range)?;
            }
            if *common.get_or_insert(descriptor) != descriptor {
                return None;
            }
            index += 1;
        }
        common
    }

    /// Whether the [`LINE`] entries from this one on, most of them in a table, are empty.
    #[inline(always)]
    fn are_empty(&self, table: Frame, first: usize) -> bool {
        (first..first + LINE).fold(0, |all, index| all | self.memory.load::<F>(table, index).raw()) == 0
    }
}
