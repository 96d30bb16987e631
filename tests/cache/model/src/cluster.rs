//! A cluster of cores with their caches: what an instruction fetch or an access to data misses.

use crate::LINE_SHIFT;
use crate::cache::{Cache, Geometry, Touched};
use crate::counts::Counts;
use crate::tlb::{Asid, Page, Scope, Tlb};
use crate::walk::{Memory, Regime, Walk};

/// What a core does with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Load,
    /// A store, or an atomic operation: other cores' copies of the line become invalid.
    Store,
    /// A `DC ZVA`: a store to the whole line.
    Zero,
}

/// Cores with their caches and TLBs, and the L2 cache that they share. Everything is empty in the beginning.
#[derive(Clone, Debug)]
pub struct Cluster {
    cores: Vec<Core>,
    l2: Cache,
    counts: Counts,
    unwalked: u64,
}

#[derive(Clone, Debug)]
struct Core {
    l1d: Cache,
    l1i: Cache,
    pages: Tlb,
    tables: Tlb,
    /// The pages of the last fetch and of the last access to data, which need no search.
    last: [Option<u64>; 2],
}

/// Places in [`Core::last`].
const FETCH: usize = 0;
const DATA: usize = 1;
/// Bits of an address within a page.
const PAGE_SHIFT: u32 = 12;

impl Cluster {
    /// A cluster of so many cores.
    pub fn new(cores: usize) -> Cluster {
        let core = Core {
            l1d: Cache::new(Geometry::L1D),
            l1i: Cache::new(Geometry::L1I),
            pages: Tlb::of_pages(),
            tables: Tlb::of_tables(),
            last: [None; 2],
        };
        let l2 = Cache::new(Geometry::L2);
        Cluster { cores: vec![core; cores], l2, counts: Counts::default(), unwalked: 0 }
    }

    /// What was missed so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many accesses succeeded although the tables have no translation for them: then the model lacks something
    /// that the emulated processor knows.
    pub fn unwalked(&self) -> u64 {
        self.unwalked
    }

    /// Empties every cache and TLB, and forgets the counts.
    pub fn empty(&mut self) {
        for core in &mut self.cores {
            core.l1d.empty();
            core.l1i.empty();
            core.invalidate(Scope::All);
        }
        self.l2.empty();
        (self.counts, self.unwalked) = Default::default();
    }

    /// A core fetches instructions of one line.
    #[inline]
    pub fn fetch(&mut self, core: usize, address: u64, physical: u64, regime: &Regime, memory: &impl Memory) {
        self.translate(core, FETCH, address, physical, regime, memory);
        let line = physical >> LINE_SHIFT;
        if let Touched::Miss { .. } = self.cores[core].l1i.touch(line) {
            self.counts.l1i += 1;
            self.counts.l2i += self.l2_miss(line);
        }
    }

    /// A core loads from or stores to one line.
    #[inline]
    pub fn access(
        &mut self,
        core: usize,
        access: Access,
        address: u64,
        physical: u64,
        regime: &Regime,
        memory: &impl Memory,
    ) {
        self.translate(core, DATA, address, physical, regime, memory);
        let line = physical >> LINE_SHIFT;
        if access != Access::Load && self.cores.len() > 1 {
            self.cores.iter_mut().enumerate().filter(|(other, _)| *other != core).for_each(|(_, other)| {
                other.l1d.remove(line);
            });
        }
        if let Touched::Miss { .. } = self.cores[core].l1d.touch(line) {
            let from_memory = self.l2_miss(line);
            match access {
                Access::Zero => self.counts.zeroed += 1,
                Access::Load | Access::Store => {
                    self.counts.l1d += 1;
                    self.counts.l2d += from_memory;
                }
            }
        }
    }

    /// Instruction caches lose everything: those of all cores, or one core's.
    pub fn empty_instruction_caches(&mut self, core: Option<usize>) {
        let theirs = self.cores.iter_mut().enumerate().filter(|(number, _)| core.is_none_or(|core| core == *number));
        theirs.for_each(|(_, core)| core.l1i.empty());
    }

    /// TLBs lose translations: those of all cores, or one core's.
    pub fn invalidate(&mut self, core: Option<usize>, scope: Scope) {
        let theirs = self.cores.iter_mut().enumerate().filter(|(number, _)| core.is_none_or(|core| core == *number));
        theirs.for_each(|(_, core)| core.invalidate(scope));
    }

    /// The core's address space is another one from now on.
    pub fn switch(&mut self, core: usize) {
        self.cores[core].last = [None; 2];
    }

    /// 1 if a line was not in L2, which it is now. L2 contains what the L1 data caches contain (TRM 7.1), so a line
    /// that makes room leaves these, too.
    fn l2_miss(&mut self, line: u64) -> u64 {
        let Touched::Miss { evicted } = self.l2.touch(line) else { return 0 };
        if let Some(evicted) = evicted {
            self.cores.iter_mut().for_each(|core| core.l1d.remove(evicted));
        }
        1
    }

    #[inline]
    fn translate(
        &mut self,
        core: usize,
        side: usize,
        address: u64,
        physical: u64,
        regime: &Regime,
        memory: &impl Memory,
    ) {
        let page = address >> PAGE_SHIFT;
        if self.cores[core].last[side] == Some(page) {
            return;
        }
        self.cores[core].last[side] = Some(page);
        let leads_there = |page: &Page| page.frame == physical >> page.shift;
        if self.cores[core].pages.find(address, regime.asid()).as_ref().is_some_and(leads_there) {
            return;
        }
        self.counts.tlb += 1;
        match self.walk(core, address, regime, memory) {
            Some(page) if leads_there(&page) => self.cores[core].pages.add(page),
            _ => self.unwalked += 1,
        }
        // What made room may be the other side's page.
        self.cores[core].last[1 - side] = None;
    }

    /// Walks the tables from the lowest that the walk cache knows. Each descriptor is read through L2.
    fn walk(&mut self, core: usize, address: u64, regime: &Regime, memory: &impl Memory) -> Option<Page> {
        let asid = regime.asid();
        let (root, top) = regime.start(address);
        let known = self.cores[core].tables.find(address, asid);
        let (mut table, mut shift) = match known {
            // A table that is known by the bits above it translates the nine bits below.
            Some(Page { frame, shift, .. }) if shift <= top => (frame, shift - 9),
            _ => (root, top),
        };
        loop {
            let (place, step) = Walk::step(memory, table, shift, address, asid);
            self.counts.l2w += self.l2_miss(place >> LINE_SHIFT);
            match step {
                Walk::Table(next) => {
                    self.cores[core].tables.add(Page {
                        number: address >> shift,
                        shift,
                        frame: next,
                        asid: Asid::Of(asid),
                    });
                    (table, shift) = (next, shift - 9);
                }
                Walk::Page(page) => return Some(page),
                Walk::Invalid => return None,
            }
        }
    }
}

impl Core {
    fn invalidate(&mut self, scope: Scope) {
        self.last = [None; 2];
        self.pages.invalidate(scope);
        if !matches!(scope, Scope::Address { last_level: true, .. }) {
            self.tables.invalidate(scope);
        }
    }
}

#[cfg(test)]
mod tests;
