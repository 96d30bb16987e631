//! A machine on the host: frames, cores, and TLBs that keep everything they may keep.
//!
//! At each store of a descriptor every core walks every address that programs use, from the root and from every
//! walk-cache entry it holds, and keeps what it finds until an invalidation that architecturally reaches it. So the TLB
//! holds every answer that any real TLB could give, and each access is judged against all of them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};

use graft_paging::{Frame, LINE, Memory, OutOfMemory, Purpose, Reach, TableCounts, Tlb, VirtAddr, VirtRange};

use crate::mmu::{Architecture, Rights, Step};

/// Number of the first frame, so that frame numbers and indices cannot be confused.
const BASE: u64 = 0x8_0000;
pub const CORES: usize = 4;
/// What a frame holds before anything is stored there.
const UNDEFINED: u64 = 0xdead_dead_dead_dead;

/// What a core caches of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cached {
    /// The page that the walk was for. A table's descriptor, too, is kept for this page alone: a walk cache may hold it
    /// many times over, and an invalidation of one page need not reach what was cached for its neighbours.
    start: u64,
    /// Level of the table it leads to; 4 for a page.
    level: usize,
    /// The table or page it leads to.
    frame: Frame,
    /// Rights combined over the whole walk.
    rights: Rights,
    /// Where the last descriptor was read.
    source: (Frame, usize),
}

impl Cached {
    fn covers(&self, address: u64) -> bool {
        self.start <= address && address - self.start < PAGE
    }

    fn overlaps(&self, range: VirtRange) -> bool {
        self.start < range.end() && range.start() < self.start + PAGE
    }
}

/// Bytes in a page.
const PAGE: u64 = 4096;

fn index(address: u64, level: usize) -> usize {
    (address >> (39 - 9 * level)) as usize % 512
}

/// Where another core may get ahead of the operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before a load of a descriptor that may change, in a table that other spaces share: an earlier load may have
    /// returned something else.
    Load,
    /// Before a store, an allocation, an invalidation or a change of the charge.
    Change,
}

/// What other cores do in other spaces in the middle of an operation: no lock between spaces prevents it.
pub trait Bystander {
    fn act(&self, point: Point);
}

#[derive(Default)]
struct Core {
    /// The running space: its ASID and root.
    active: Option<(u16, Frame)>,
    /// What is cached, by ASID.
    cached: Vec<(u16, Cached)>,
}

pub struct Machine<A> {
    words: Vec<Cell<u64>>,
    references: Vec<AtomicU32>,
    counts: Vec<TableCounts>,
    in_use: Vec<Cell<Option<Purpose>>>,
    free: RefCell<Vec<u64>>,
    cores: RefCell<[Core; CORES]>,
    /// Addresses that programs use; only these need to be walked.
    pub universe: Vec<u64>,
    /// Which entries of a table lie on the way to these addresses.
    interesting: [bool; 512],
    /// Allocations until one fails.
    pub fail_after: Cell<Option<u32>>,
    /// Whether one has failed.
    pub refused: Cell<bool>,
    /// Allocations so far.
    pub allocations: Cell<u32>,
    pub invalidations: Cell<u32>,
    /// Frames set aside for copies to come, less those that copies under way have taken out already.
    pub committed: Cell<isize>,
    /// Frames that only a space that has committed them can get: memory is short.
    withheld: Cell<usize>,
    /// For each frame the descriptor that led there last, if that was a table's.
    links: Vec<Cell<Option<(Frame, usize)>>>,
    /// What acts at every [`Point`].
    bystander: RefCell<Option<Weak<dyn Bystander>>>,
    /// The model itself is reading: these loads are not part of any operation.
    looking: Cell<bool>,
    /// The first failure.
    violation: RefCell<Option<String>>,
    architecture: std::marker::PhantomData<A>,
}

impl<A: Architecture> Machine<A> {
    /// A table descriptor that leads to no memory: present, and accessed.
    pub const TRAP: u64 = 0x7777_7000 | 1 << 5 | 1;

    pub fn new(frames: usize, universe: Vec<u64>) -> Self {
        let mut interesting = [false; 512];
        for &address in &universe {
            for level in 0..4 {
                interesting[index(address, level)] = true;
            }
        }
        Machine {
            words: (0..frames * 512).map(|_| Cell::new(0)).collect(),
            references: (0..frames).map(|_| AtomicU32::new(0)).collect(),
            counts: (0..frames).map(|_| TableCounts::default()).collect(),
            in_use: (0..frames).map(|_| Cell::new(None)).collect(),
            // Frame 0 is the page of zeroes; low numbers first.
            links: (0..frames).map(|_| Cell::new(None)).collect(),
            free: RefCell::new((1..frames as u64).rev().collect()),
            cores: RefCell::default(),
            universe,
            interesting,
            fail_after: Cell::new(None),
            refused: Cell::new(false),
            allocations: Cell::new(0),
            invalidations: Cell::new(0),
            committed: Cell::new(0),
            withheld: Cell::new(0),
            bystander: RefCell::new(None),
            looking: Cell::new(false),
            violation: RefCell::new(None),
            architecture: std::marker::PhantomData,
        }
    }

    pub fn set_bystander(&self, bystander: Weak<dyn Bystander>) {
        *self.bystander.borrow_mut() = Some(bystander);
    }

    /// A point at which another core may get ahead.
    pub fn interleave(&self, point: Point) {
        if self.looking.get() {
            return;
        }
        let bystander = self.bystander.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(bystander) = bystander {
            bystander.act(point);
        }
    }

    /// Reads a tree for the model, in one moment of the machine.
    pub fn look<R>(&self, look: impl FnOnce() -> R) -> R {
        let before = self.looking.replace(true);
        let result = look();
        self.looking.set(before);
        result
    }

    pub fn violate(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub fn verdict(&self) -> Result<(), String> {
        self.violation.borrow().clone().map_or(Ok(()), Err)
    }

    /// References to a frame, as they are counted.
    pub fn count(&self, frame: Frame) -> u32 {
        self.references[self.number(frame)].load(Ordering::Relaxed)
    }

    /// Frames that are free and not committed.
    pub fn available(&self) -> usize {
        let free = self.free.borrow().len() as isize - self.committed.get();
        (free.max(0) as usize).saturating_sub(self.withheld.get())
    }

    /// Leaves so many frames available, or all of them.
    pub fn squeeze(&self, left: Option<usize>) {
        self.withheld.set(0);
        self.withheld.set(left.map_or(0, |left| self.available().saturating_sub(left)));
    }

    fn take(&self, purpose: Purpose) -> Option<Frame> {
        let number = self.free.borrow_mut().pop()? as usize;
        self.in_use[number].set(Some(purpose));
        self.references[number].store(1, Ordering::Relaxed);
        self.links[number].set(None);
        for word in 0..512 {
            self.words[number * 512 + word].set(UNDEFINED);
        }
        Some(Frame(BASE + number as u64))
    }

    pub fn frames_in_use(&self) -> usize {
        self.in_use.iter().filter(|frame| frame.get().is_some()).count()
    }

    /// A frame that the allocator does not own.
    pub fn foreign_frame(&self) -> Frame {
        Frame(BASE + self.in_use.len() as u64 + 16)
    }

    pub fn is_foreign(&self, frame: Frame) -> bool {
        frame.0 >= BASE + self.in_use.len() as u64
    }

    fn is_memory(&self, frame: Frame) -> bool {
        frame.0.checked_sub(BASE).is_some_and(|number| number < self.in_use.len() as u64)
    }

    fn number(&self, frame: Frame) -> usize {
        assert!(self.is_memory(frame), "{frame:?} is not memory");
        (frame.0 - BASE) as usize
    }

    pub fn word(&self, frame: Frame, word: usize) -> &Cell<u64> {
        &self.words[self.number(frame) * 512 + word]
    }

    /// Whether the table, or one above it, has other references. `true` also where it is not known what leads to it.
    fn is_within_reach_of_others(&self, table: Frame) -> bool {
        if self.count(table) > 1 {
            return true;
        }
        match self.links[self.number(table)].get() {
            None => false,
            Some((above, index)) => {
                let leads_here = A::table(self.word(above, index).get()) == Some(table);
                !leads_here || self.is_within_reach_of_others(above)
            }
        }
    }

    /// Lets a core run in a space, as a context switch does.
    pub fn activate(&self, core: usize, space: Option<(u16, Frame)>) {
        self.cores.borrow_mut()[core].active = space;
        self.speculate();
    }

    pub fn active(&self, core: usize) -> Option<(u16, Frame)> {
        self.cores.borrow()[core].active
    }

    /// Every core walks every address from the root and from all that it has cached, and keeps what it finds.
    fn speculate(&self) {
        for core in self.cores.borrow_mut().iter_mut() {
            let Some((asid, root)) = core.active else { continue };
            for &address in &self.universe {
                self.walk(asid, root, address, &mut core.cached);
            }
        }
    }

    /// Adds everything that a walk of `address` could cache to `cached`.
    fn walk(&self, asid: u16, root: Frame, address: u64, cached: &mut Vec<(u16, Cached)>) {
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

    /// A frozen table may only lose write permission, or show the page of zeroes where nothing was.
    fn check_frozen(&self, table: Frame, entry: usize, old: u64, new: u64) {
        if self.references[self.number(table)].load(Ordering::Relaxed) <= 1 {
            return;
        }
        let zero_page = old & 1 == 0 && A::is_read_only_page_of(new, Frame(BASE));
        let harmless = A::loses_write_only(old, new) || zero_page;
        if !harmless {
            self.violate(format!("a store into a shared table: {table:?}[{entry}] {old:#x} -> {new:#x}"));
        }
    }

    /// Break before make: a descriptor must not become another one while a TLB may hold the old one.
    fn check_break_before_make(&self, table: Frame, entry: usize, new: u64) {
        if !A::BREAK_BEFORE_MAKE || new & 1 == 0 {
            return;
        }
        let output = (new & 0x0000_ffff_ffff_f000) / 4096;
        for (number, core) in self.cores.borrow().iter().enumerate() {
            for (asid, cached) in &core.cached {
                if cached.source == (table, entry) && cached.frame.0 != output {
                    self.violate(format!(
                        "no break before make: {table:?}[{entry}] becomes {new:#x} while core {number} holds {cached:x?} for ASID {asid}"
                    ));
                }
            }
        }
    }
}

/// A machine as the spaces on it hold it.
pub struct Shared<A>(pub Rc<Machine<A>>);

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<A> std::ops::Deref for Shared<A> {
    type Target = Machine<A>;

    fn deref(&self) -> &Machine<A> {
        &self.0
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: `allocate` hands out indices from a free list, each once until it is freed; words are cells of one thread, so
// loads and stores cannot tear; references and counts are distinct vector elements that never move.
unsafe impl<A: Architecture> Memory for Shared<A> {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        self.interleave(Point::Change);
        self.allocations.set(self.allocations.get() + 1);
        if let Some(left) = self.fail_after.get() {
            if left == 0 {
                self.refused.set(true);
                return None;
            }
            self.fail_after.set(Some(left - 1));
        }
        if self.available() == 0 {
            return None;
        }
        self.take(purpose)
    }

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        self.interleave(Point::Change);
        if frames != 0 && self.fail_after.get() == Some(0) {
            self.refused.set(true);
            return Err(OutOfMemory);
        }
        if self.available() < frames as usize {
            return Err(OutOfMemory);
        }
        self.committed.set(self.committed.get() + frames as isize);
        Ok(())
    }

    fn uncommit(&self, frames: u64) {
        self.interleave(Point::Change);
        self.committed.set(self.committed.get() - frames as isize);
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        self.interleave(Point::Change);
        if self.committed.get() <= 0 {
            return None;
        }
        self.committed.set(self.committed.get() - 1);
        let frame = self.take(purpose);
        if frame.is_none() {
            self.violate("a committed frame was not there".into());
        }
        frame
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the caller's promise.
        unsafe { self.free(frame, purpose) };
        self.committed.set(self.committed.get() + 1);
    }

    unsafe fn free(&self, frame: Frame, purpose: Purpose) {
        let number = self.number(frame);
        if self.in_use[number].replace(None) != Some(purpose) {
            self.violate(format!("{frame:?} freed twice, or as something it was not"));
            return;
        }
        for (number, core) in self.cores.borrow().iter().enumerate() {
            if let Some((asid, cached)) = core.cached.iter().find(|(_, c)| c.frame == frame) {
                self.violate(format!("{frame:?} freed while core {number} may use it: {cached:x?}, ASID {asid}"));
            }
            if core.active.is_some_and(|(_, root)| root == frame) {
                self.violate(format!("the root {frame:?} freed under core {number}"));
            }
        }
        self.free.borrow_mut().push(number as u64);
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        // Only where it makes a difference: what other cores do at other points might as well happen a little later.
        if self.interesting[index]
            && A::may_change_while_shared(self.word(table, index).get())
            && self.is_within_reach_of_others(table)
        {
            self.interleave(Point::Load);
        }
        self.word(table, index).get()
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        if self.interesting[index] {
            self.interleave(Point::Change);
        }
        let old = self.word(table, index).get();
        self.check_frozen(table, index, old, raw);
        self.check_break_before_make(table, index, raw);
        self.word(table, index).set(raw);
        // Not every word is a descriptor: frames that are set aside are chained through their first words.
        if let Some(below) = A::table(raw).filter(|&below| self.is_memory(below)) {
            self.links[self.number(below)].set(Some((table, index)));
        }
        if self.interesting[index] {
            self.speculate();
        }
    }

    fn claims_lines(&self) -> bool {
        true
    }

    unsafe fn claim_line(&self, table: Frame, first: usize) {
        (first..first + LINE).for_each(|word| self.word(table, word).set(UNDEFINED));
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.references[self.number(frame)]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.counts[self.number(table)]
    }

    unsafe fn zero(&self, frame: Frame) {
        (0..512).for_each(|word| self.word(frame, word).set(0));
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        (0..512).for_each(|word| self.word(to, word).set(self.word(from, word).get()));
    }

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {
        self.interleave(Point::Change);
        self.cores.borrow_mut().iter_mut().for_each(|core| core.cached.clear());
        self.speculate();
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
