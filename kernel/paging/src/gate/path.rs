//! A path down the tree, and which of its tables no other space reaches.

use core::marker::PhantomData;

use super::{Exclusive, Frames, is_sole};
use crate::commit::Commit;
use crate::memory::Counts;
use crate::{AddressSpace, Descriptor, Format, Frame, Level, Memory, VirtAddr, VirtRange};

/// The descriptor that decides about an address.
pub(crate) struct Deciding<F: Format> {
    /// A page, a reservation or empty.
    pub(crate) descriptor: Descriptor<F>,
    /// Level of the table that holds it.
    pub(crate) level: Level,
    /// Whether a table descriptor above refuses stores.
    pub(crate) read_only: bool,
}

/// A path from the root down to the descriptor that decides about an address, and which of its tables are shared.
///
/// Holds the space by `&mut`, so that its findings stay true: a count of 1 below a path of ones cannot rise.
pub(crate) struct Path<'a, F: Format, M: Memory> {
    pub(crate) memory: &'a Frames<M>,
    /// The tables by level, meaningful down to `level`.
    pub(crate) tables: [Frame; Level::COUNT],
    /// Level of the table that holds the descriptor.
    pub(crate) level: Level,
    /// The descriptor: a page, a reservation or empty.
    pub(crate) descriptor: Descriptor<F>,
    /// Whether a table descriptor on the path refuses stores.
    pub(crate) read_only: bool,
    /// First level whose table has other references; it and everything below are frozen.
    pub(crate) shared: Option<Level>,
    pub(crate) address: VirtAddr,
    /// Whether the space is under a guarantee.
    pub(crate) commit: Commit,
    space: PhantomData<(&'a mut (), F)>,
}

impl<'a, F: Format, M: Memory> Path<'a, F, M> {
    #[inline(always)]
    pub(crate) fn new(space: &'a mut AddressSpace<F, M>, address: VirtAddr) -> Self {
        Self::descend(&space.memory, space.root(), address, space.commit)
    }

    /// For reading only: the caller holds the space by `&`, and gets no proof of exclusive ownership. So no count is
    /// looked at.
    #[inline(always)]
    pub(crate) fn peek(space: &'a AddressSpace<F, M>, address: VirtAddr) -> Deciding<F> {
        let (mut table, mut read_only) = (space.root(), false);
        for number in 0..Level::LAST.number() {
            let level = Level::new(number as u8).expect("a level of the tree");
            let descriptor = space.memory.load::<F>(table, level.index(address));
            if !descriptor.is_present() {
                return Deciding { descriptor, level, read_only };
            }
            table = descriptor.output();
            read_only |= descriptor.is_read_only_table();
        }
        let descriptor = space.memory.load::<F>(table, Level::LAST.index(address));
        Deciding { descriptor, level: Level::LAST, read_only }
    }

    #[inline(always)]
    fn descend(memory: &'a Frames<M>, root: Frame, address: VirtAddr, commit: Commit) -> Self {
        let mut tables = [root; Level::COUNT];
        let (mut read_only, mut shared) = (false, None);
        for number in 0..Level::LAST.number() {
            let level = Level::new(number as u8).expect("a level of the tree");
            let descriptor = memory.load::<F>(tables[number], level.index(address));
            if !descriptor.is_present() {
                return Path {
                    memory,
                    tables,
                    level,
                    descriptor,
                    read_only,
                    shared,
                    address,
                    commit,
                    space: PhantomData,
                };
            }
            tables[number + 1] = descriptor.output();
            read_only |= descriptor.is_read_only_table();
            if shared.is_none() && !is_sole(memory, descriptor.output()) {
                shared = Some(level.below());
            }
        }
        let level = Level::LAST;
        let descriptor = memory.load::<F>(tables[level.number()], level.index(address));
        Path { memory, tables, level, descriptor, read_only, shared, address, commit, space: PhantomData }
    }

    /// Which entry of the path's table of this level is on the path.
    #[inline(always)]
    pub(crate) fn index(&self, level: Level) -> usize {
        level.index(self.address)
    }

    /// The lowest table that is not shared.
    #[inline(always)]
    pub(crate) fn lowest(&mut self) -> Exclusive<F> {
        let level = match self.shared {
            Some(shared) => shared.above(),
            None => self.level,
        };
        Exclusive { frame: self.tables[level.number()], level, format: PhantomData }
    }

    /// Takes the read-only marks off the descriptors that lead to unshared tables.
    #[inline(always)]
    pub(crate) fn open(&mut self) {
        if !self.read_only {
            return;
        }
        let lowest = self.lowest().level;
        let mut level = Level::ROOT;
        while level < lowest {
            let (table, index) = (self.tables[level.number()], self.index(level));
            let descriptor = self.memory.load::<F>(table, index);
            if descriptor.is_read_only_table() {
                self.memory.store(table, index, descriptor.write_enabled(level));
            }
            level = level.below();
        }
    }

    /// Adds a change to the counts of every unshared table.
    #[inline(always)]
    pub(crate) fn account(&mut self, change: Counts) {
        for number in 0..=self.lowest().level.number() {
            self.memory.counts(self.tables[number]).add(change);
        }
    }
}

/// The tables around a small range that no other space reaches: from the root down to the first in which the range
/// covers a whole entry, or more than one, or part of one that leads to no such table. Only the root around a range
/// that no table of level 3 can hold.
///
/// Holds the space by `&mut`, as a [`Path`] does.
pub(crate) struct Around<'a, F: Format, M: Memory> {
    space: &'a mut AddressSpace<F, M>,
    tables: Tables,
    level: Level,
}

/// Tables by level, meaningful down to some level.
type Tables = [Frame; Level::COUNT];

impl<'a, F: Format, M: Memory> Around<'a, F, M> {
    #[inline(always)]
    pub(crate) fn new(space: &'a mut AddressSpace<F, M>, range: VirtRange) -> Self {
        let (tables, level) = Self::descend(&space.memory, space.root(), range);
        Around { space, tables, level }
    }

    /// For reading only, as [`Path::peek`]: the lowest of them, and its level.
    #[inline(always)]
    pub(crate) fn peek(space: &AddressSpace<F, M>, range: VirtRange) -> (Frame, Level) {
        let (tables, level) = Self::descend(&space.memory, space.root(), range);
        (tables[level.number()], level)
    }

    #[inline(always)]
    fn descend(memory: &Frames<M>, root: Frame, range: VirtRange) -> (Tables, Level) {
        let most = (range.start() ^ (range.end() - 1)).max(range.end() - range.start());
        if most >= Level::LAST.above().span() {
            return ([root; Level::COUNT], Level::ROOT);
        }
        Self::descend_to_last(memory, root, most, range.first())
    }

    // Once for all operations: an operation that makes several kinds of them would fetch it anew for each.
    #[inline(never)]
    fn descend_to_last(memory: &Frames<M>, root: Frame, most: u64, address: VirtAddr) -> (Tables, Level) {
        let (mut tables, mut level) = ([root; Level::COUNT], Level::ROOT);
        while most < level.span() {
            let descriptor = memory.load::<F>(tables[level.number()], level.index(address));
            if !descriptor.is_present() || !is_sole(memory, descriptor.output()) {
                break;
            }
            level = level.below();
            tables[level.number()] = descriptor.output();
        }
        (tables, level)
    }

    /// The space, to look at.
    #[inline(always)]
    pub(crate) fn space(&self) -> &AddressSpace<F, M> {
        self.space
    }

    /// Level of the lowest of them.
    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The one of this level.
    #[inline(always)]
    pub(crate) fn table(&mut self, level: Level) -> Exclusive<F> {
        debug_assert!(level <= self.level);
        Exclusive { frame: self.tables[level.number()], level, format: PhantomData }
    }
}
