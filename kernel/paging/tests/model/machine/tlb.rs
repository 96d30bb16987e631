//! What cores cache of walks: everything that they may, until an invalidation that architecturally reaches it.

use graft_paging::{Frame, Reach, Tlb, VirtAddr, VirtRange};
use std::rc::Rc;

use super::{Machine, PAGE, Point, index};
use crate::mmu::{Architecture, Rights, Step};

/// What a core caches of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cached {
    /// The page that the walk was for. A table's descriptor, too, is kept for this page alone: a walk cache may hold it
    /// many times over, and an invalidation of one page need not reach what was cached for its neighbours.
    start: u64,
    /// Level of the table it leads to; 4 for a page.
    pub(super) level: usize,
    /// The table or page it leads to.
    pub(super) frame: Frame,
    /// Rights combined over the whole walk.
    rights: Rights,
    /// Where the last descriptor was read.
    pub(super) source: (Frame, usize),
}

impl Cached {
    fn covers(&self, address: u64) -> bool {
        self.start <= address && address - self.start < PAGE
    }

    fn overlaps(&self, range: VirtRange) -> bool {
        self.start < range.end() && range.start() < self.start + PAGE
    }
}

#[derive(Default)]
pub(super) struct Core {
    /// The running space: its ASID and root.
    pub(super) active: Option<(u16, Frame)>,
    /// What is cached, by ASID.
    pub(super) cached: Vec<(u16, Cached)>,
}

impl<A: Architecture> Machine<A> {
    /// Lets a core run in a space, as a context switch does.
    pub fn activate(&self, core: usize, space: Option<(u16, Frame)>) {
        self.cores.borrow_mut()[core].active = space;
        self.speculate();
    }

    pub fn active(&self, core: usize) -> Option<(u16, Frame)> {
        self.cores.borrow()[core].active
    }

    /// Every core walks every address from the root and from all that it has cached, and keeps what it finds.
    pub(super) fn speculate(&self) {
        for core in self.cores.borrow_mut().iter_mut() {
            let Some((asid, root)) = core.active else { continue };
            for &address in &self.universe {
                self.walk(asid, root, address, &mut core.cached);
            }
        }
    }

    /// Adds everything that a walk of `address` could cache to `cached`.
    pub(super) fn walk(&self, asid: u16, root: Frame, address: u64, cached: &mut Vec<(u16, Cached)>) {
        let top = Cached { start: 0, level: 0, frame: root, rights: Rights::ALL, source: (root, 0) };
        let mut starts: Vec<Cached> = vec![top];
        starts.extend(cached.iter().filter(|(a, c)| *a == asid && c.level < 4 && c.covers(address)).map(|(_, c)| *c));
        while let Some(from) = starts.pop() {
            let slot = (from.frame, index(address, from.level));
            let (frame, rights) = match A::step(self.word(slot.0, slot.1).get(), from.level) {
                Step::Invalid => continue,
                Step::Table(frame, rights) | Step::Page(frame, rights) => (frame, rights),
            };
            let level = from.level + 1;
            let start = address & !(PAGE - 1);
            let found = Cached { start, level, frame, rights: from.rights.and(rights), source: slot };
            if !cached.contains(&(asid, found)) {
                cached.push((asid, found));
                if level < 4 {
                    starts.push(found);
                }
            }
        }
    }

    /// Every translation of `address` that the core could use now; `None` stands for a translation fault.
    pub fn answers(&self, core_number: usize, address: u64) -> Vec<Option<(Frame, Rights)>> {
        self.speculate();
        let mut cores = self.cores.borrow_mut();
        let core = &mut cores[core_number];
        let (asid, root) = core.active.expect("a program runs on this core");
        self.walk(asid, root, address, &mut core.cached);
        let mut answers: Vec<_> = core
            .cached
            .iter()
            .filter(|(a, c)| *a == asid && c.level == 4 && c.covers(address))
            .map(|(_, c)| Some((c.frame, c.rights)))
            .collect();
        drop(cores);
        if !self.dead_ends(core_number, address).is_empty() {
            answers.push(None);
        }
        answers
    }

    /// The levels at which a walk of `address` can end in an invalid descriptor: from the root, or from any entry that
    /// the core has cached. Such walks are never cached, but they can happen.
    pub fn dead_ends(&self, core: usize, address: u64) -> Vec<usize> {
        let core = &self.cores.borrow()[core];
        let (asid, root) = core.active.expect("a program runs on this core");
        let cached = core.cached.iter().filter(|(a, c)| *a == asid && c.level < 4 && c.covers(address));
        let starts = std::iter::once((root, 0)).chain(cached.map(|(_, c)| (c.frame, c.level)));
        let ends = |&(frame, level): &(Frame, usize)| {
            A::step(self.word(frame, index(address, level)).get(), level) == Step::Invalid
        };
        let mut levels: Vec<usize> = starts.filter(ends).map(|(_, level)| level).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// What every core has cached, to go back to.
    pub fn caches(&self) -> Vec<Vec<(u16, Cached)>> {
        self.cores.borrow().iter().map(|core| core.cached.clone()).collect()
    }

    /// Goes back to what every core had cached.
    pub fn set_caches(&self, caches: Vec<Vec<(u16, Cached)>>) {
        for (core, cached) in self.cores.borrow_mut().iter_mut().zip(caches) {
            core.cached = cached;
        }
    }

    /// Invalidates what is cached of a range under an address space identifier, on one core or on all.
    pub fn forget(&self, core: Option<usize>, asid: u16, range: VirtRange, reach: Reach) {
        for (number, each) in self.cores.borrow_mut().iter_mut().enumerate() {
            if core.is_some_and(|core| core != number) {
                continue;
            }
            each.cached.retain(|(cached_asid, cached)| {
                let page = cached.level == 4;
                let reached = if page {
                    cached.overlaps(range)
                } else if A::PAGE_INVALIDATION_REACHES_WALK_CACHES {
                    true
                } else {
                    reach == Reach::Tables && cached.overlaps(range)
                };
                *cached_asid != asid || !reached
            });
        }
        self.speculate();
    }

    /// What the processor does on its own when it reports a fault.
    pub fn faulted(&self, core: usize, address: u64) {
        if A::FAULT_INVALIDATES {
            let core = &mut self.cores.borrow_mut()[core];
            let active = core.active.map(|(asid, _)| asid);
            core.cached.retain(|(asid, c)| Some(*asid) != active || !c.covers(address));
        }
    }
}

/// TLB maintenance for one address space identifier, exactly as strong as the trait demands and no stronger.
pub struct AsidTlb<A> {
    pub machine: Rc<Machine<A>>,
    pub asid: u16,
}

#[expect(unsafe_code, reason = "implementing Tlb is a promise")]
// SAFETY: what an invalidation must reach is gone from the caches of all cores when it returns.
unsafe impl<A: Architecture> Tlb for AsidTlb<A> {
    fn publish(&self) {}

    fn upgrade(&self, page: VirtAddr) {
        if !A::FAULT_INVALIDATES {
            self.invalidate(VirtRange::page(page), Reach::Tables);
        }
    }

    fn invalidate(&self, range: VirtRange, reach: Reach) {
        self.machine.interleave(Point::Change);
        self.machine.invalidations.set(self.machine.invalidations.get() + 1);
        self.machine.forget(None, self.asid, range, reach);
    }
}
