//! A cluster of cores with their caches: what an instruction fetch or an access to data misses.

use crate::LINE_SHIFT;
use crate::cache::{Cache, Geometry, Touched};
use crate::tlb::{Asid, Page, Scope, Tlb};
use crate::walk::{Memory, Regime, Walk};
use std::ops::{AddAssign, Sub};

/// What was missed, since the caches were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that loads and stores missed in a core's L1 data cache.
    pub l1d: u64,
    /// Of these, lines that missed in L2, too, and came from memory.
    pub l2d: u64,
    /// Lines that fetches missed in a core's L1 instruction cache.
    pub l1i: u64,
    /// Of these, lines that missed in L2, too.
    pub l2i: u64,
    /// Translations that were in no TLB entry: walks.
    pub tlb: u64,
    /// Lines that walks read and did not find in L2.
    pub l2w: u64,
    /// Lines that `DC ZVA` zeroed and that were not in the core's L1 data cache: they are made there, nothing is
    /// fetched and nothing waits, so they are no misses.
    pub zeroed: u64,
}

impl Counts {
    /// The names of the counts, in the order of [`Counts::values`].
    pub const NAMES: [&str; 7] = ["l1d", "l2d", "l1i", "l2i", "tlb", "l2w", "zeroed"];

    /// All counts.
    pub fn values(&self) -> [u64; 7] {
        let Counts { l1d, l2d, l1i, l2i, tlb, l2w, zeroed } = *self;
        [l1d, l2d, l1i, l2i, tlb, l2w, zeroed]
    }

    /// Counts with these values, in the order of [`Counts::NAMES`].
    pub fn of([l1d, l2d, l1i, l2i, tlb, l2w, zeroed]: [u64; 7]) -> Counts {
        Counts { l1d, l2d, l1i, l2i, tlb, l2w, zeroed }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, earlier: Counts) -> Counts {
        let (mut difference, earlier) = (self.values(), earlier.values());
        difference.iter_mut().zip(earlier).for_each(|(value, earlier)| *value -= earlier);
        Counts::of(difference)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        let (mut sum, more) = (self.values(), more.values());
        sum.iter_mut().zip(more).for_each(|(value, more)| *value += more);
        *self = Counts::of(sum);
    }
}

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
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// Tables of three levels (39 bits) at 0x10000: pages 0 to 3 of the lower half lead to 0x80000 and on, and the
    /// block behind them to 0x200000.
    struct Tables {
        descriptors: BTreeMap<u64, u64>,
        read: RefCell<Vec<u64>>,
    }

    const REGIME: Regime = Regime { lower: 0x10000, upper: 0, control: 25 };

    impl Tables {
        fn new() -> Tables {
            let pages = (0..4).map(|page| (0x12000 + 8 * page, (0x80000 + 0x1000 * page) | (1 << 11) | 3));
            let upper = [(0x10000, 0x11003), (0x11000, 0x12003), (0x11008, 0x20_0000 | (1 << 11) | 1)];
            Tables { descriptors: pages.chain(upper).collect(), read: RefCell::default() }
        }
    }

    impl Memory for Tables {
        fn descriptor(&self, address: u64) -> u64 {
            self.read.borrow_mut().push(address);
            self.descriptors.get(&address).copied().unwrap_or(0)
        }
    }

    fn load(cluster: &mut Cluster, tables: &Tables, address: u64) {
        let physical = if address < 0x20_0000 { 0x80000 + address } else { address };
        cluster.access(0, Access::Load, address, physical, &REGIME, tables);
    }

    #[test]
    fn a_line_is_missed_once_and_hit_after() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        for address in [0, 8, 63, 64, 0] {
            load(&mut cluster, &tables, address);
        }
        let Counts { l1d, l2d, tlb, l2w, .. } = cluster.counts();
        // Three tables were read, a line of each.
        assert_eq!((l1d, l2d, tlb, l2w), (2, 2, 1, 3));
        assert_eq!(cluster.unwalked(), 0);
        cluster.empty();
        load(&mut cluster, &tables, 0);
        assert_eq!(cluster.counts(), Counts { l1d: 1, l2d: 1, tlb: 1, l2w: 3, ..Counts::default() });
    }

    #[test]
    fn what_two_ways_cannot_hold_comes_from_l2_again() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        // Lines of one set of L1D lie 16 KiB apart; all are in the block of 2 MiB.
        for _ in 0..2 {
            (0..3).for_each(|way| load(&mut cluster, &tables, 0x20_0000 + way * 0x4000));
        }
        let Counts { l1d, l2d, tlb, .. } = cluster.counts();
        assert_eq!((l1d, l2d, tlb), (6, 3, 1));
    }

    #[test]
    fn a_line_that_leaves_l2_leaves_the_data_caches() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        let mut lines = |addresses: &[u64]| {
            let before = cluster.counts();
            addresses.iter().for_each(|address| load(&mut cluster, &tables, *address));
            let counts = cluster.counts() - before;
            (counts.l1d, counts.l2d)
        };
        // Lines of one set of L2 lie 64 KiB apart and share a set of L1D. The first stays in L1D, as it is used again
        // and again, but in L2 sixteen others are newer.
        let mut addresses = vec![0x20_0000];
        for way in 1..=16 {
            addresses.extend([0x20_0000 + way * 0x1_0000, 0x20_0000]);
        }
        assert_eq!(lines(&addresses), (18, 18), "the first one was missed again when it had left L2");
    }

    #[test]
    fn walks_begin_at_the_lowest_table_that_is_known() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        load(&mut cluster, &tables, 0);
        load(&mut cluster, &tables, 0x1000);
        assert_eq!(tables.read.take(), [0x10000, 0x11000, 0x12000, 0x12008]);
        load(&mut cluster, &tables, 0x20_0000);
        assert_eq!(tables.read.take(), [0x11008]);
        assert_eq!(cluster.counts().tlb, 3);
    }

    #[test]
    fn fetches_lose_a_translation_that_made_room_for_one_of_data() {
        // Pages of one set of the TLB lie 1 MiB apart. The first is that of the instructions.
        let mut tables = Tables::new();
        let places: Vec<u64> = (0..5).map(|way| way << 20).collect();
        for place in &places {
            tables.descriptors.insert(0x11000 + 8 * (place >> 21), 0x12003 + 0x1000 * (place >> 21));
            let descriptor = 0x12000 + 0x1000 * (place >> 21) + 8 * (place >> 12 & 511);
            tables.descriptors.insert(descriptor, (0x80000 + place) | (1 << 11) | 3);
        }
        let mut cluster = Cluster::new(1);
        let fetch = |cluster: &mut Cluster| {
            let before = cluster.counts().tlb;
            cluster.fetch(0, 0, 0x80000, &REGIME, &tables);
            cluster.counts().tlb - before
        };
        assert_eq!((fetch(&mut cluster), fetch(&mut cluster)), (1, 0));
        for place in &places[1..] {
            cluster.access(0, Access::Load, *place, 0x80000 + place, &REGIME, &tables);
        }
        assert_eq!((fetch(&mut cluster), cluster.unwalked()), (1, 0));
    }

    #[test]
    fn an_invalidation_of_the_last_level_leaves_the_tables_known() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        let mut again = |last_level| {
            load(&mut cluster, &tables, 0);
            tables.read.take();
            cluster.invalidate(None, Scope::Address { address: 0, asid: Some(0), last_level });
            load(&mut cluster, &tables, 0);
            tables.read.take()
        };
        assert_eq!(again(true), [0x12000]);
        assert_eq!(again(false), [0x10000, 0x11000, 0x12000]);
    }

    #[test]
    fn a_store_takes_the_line_from_other_cores() {
        let (mut cluster, tables) = (Cluster::new(2), Tables::new());
        let mut access = |core, kind| {
            let before = cluster.counts();
            cluster.access(core, kind, 0, 0x80000, &REGIME, &tables);
            (cluster.counts() - before).l1d
        };
        let sequence = [(0, Access::Load), (1, Access::Load), (0, Access::Load), (1, Access::Store), (0, Access::Load)];
        assert_eq!(sequence.map(|(core, kind)| access(core, kind)), [1, 1, 0, 0, 1]);
    }

    #[test]
    fn a_zeroed_line_is_made_in_the_cache_and_no_miss() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        let mut zero = |address| cluster.access(0, Access::Zero, address, 0x80000 + address, &REGIME, &tables);
        [0, 64, 0].into_iter().for_each(&mut zero);
        load(&mut cluster, &tables, 64);
        let Counts { l1d, l2d, zeroed, .. } = cluster.counts();
        assert_eq!((l1d, l2d, zeroed), (0, 0, 2));
    }

    #[test]
    fn fetches_fill_the_instruction_cache_alone() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        (0..2).for_each(|_| cluster.fetch(0, 0, 0x80000, &REGIME, &tables));
        load(&mut cluster, &tables, 0);
        let Counts { l1i, l2i, l1d, l2d, tlb, .. } = cluster.counts();
        assert_eq!((l1i, l2i, l1d, l2d, tlb), (1, 1, 1, 0, 1));
        cluster.empty_instruction_caches(Some(0));
        cluster.fetch(0, 0, 0x80000, &REGIME, &tables);
        assert_eq!((cluster.counts().l1i, cluster.counts().l2i), (2, 1));
    }

    #[test]
    fn an_access_that_the_tables_do_not_explain_is_told() {
        let (mut cluster, tables) = (Cluster::new(1), Tables::new());
        cluster.access(0, Access::Load, 0x9000, 0x1000, &REGIME, &tables);
        assert_eq!(cluster.unwalked(), 1, "no descriptor");
        cluster.access(0, Access::Load, 0x1000, 0x99000, &REGIME, &tables);
        assert_eq!(cluster.unwalked(), 2, "another frame");
    }
}
