//! Looking at a tree without changing it: every descriptor in the order of addresses, and the gaps between.

use core::ops::ControlFlow;

use crate::gate::Frames;
use crate::{AddressSpace, ENTRIES, Entry, Format, Frame, Level, Memory, VirtAddr};

/// A descriptor in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// First address that it covers.
    pub address: VirtAddr,
    /// Level of the table that holds it.
    pub level: Level,
    /// That table.
    pub table: Frame,
    /// The raw 64 bits.
    pub raw: u64,
    /// What they mean.
    pub entry: Entry,
    /// References to what it leads to; 0 where none are counted.
    pub references: u32,
    /// Whether this descriptor and all above it let stores through.
    pub writable_now: bool,
    /// For a table: pages present below it.
    pub pages_below: u32,
    /// For a table: tables below it.
    pub tables_below: u32,
    /// In how many ways the roots reach the table that holds the descriptor: the product of the references of all tables on this path.
    pub paths: u64,
}

/// Where a tour is: at the descriptor of this level that covers what begins at this address. Places are in the order in which a tour comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// First address that the descriptor covers.
    pub address: u64,
    /// Level of the table that holds it.
    pub level: Level,
}

impl Place {
    /// Before everything.
    pub const START: Place = Place { address: 0, level: Level::ROOT };
}

impl Visit {
    /// Where a tour goes on that is to begin with this descriptor.
    pub const fn place(&self) -> Place {
        Place { address: self.address.get(), level: self.level }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Shows every descriptor that is not empty, a table before what is below it, down to level `deepest`.
    ///
    /// Begins with the first that is not before `from`, so that an interrupted tour goes on where it stopped; stops before `end`, or when the visitor breaks.
    pub fn visit<B>(
        &self,
        from: Place,
        end: u64,
        deepest: Level,
        mut visitor: impl FnMut(Visit) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let tour = Tour { memory: &self.memory, from, end, deepest };
        let above = Above { writable: true, paths: 1 };
        tour.table::<F, B>(self.root(), Level::ROOT, 0, above, &mut visitor)
    }

    /// The lowest user address at or above `from` from which `bytes` bytes are neither mapped nor reserved.
    /// `from` and `bytes` are multiples of the page size.
    ///
    /// Full level-3 tables are passed over by their count, so that a large process costs one step for each 2 MiB.
    pub fn find_gap(&self, from: VirtAddr, bytes: u64) -> Option<VirtAddr> {
        let mut gap = Gap { start: from.get(), bytes };
        let end = F::USER_ENTRIES as u64 * Level::ROOT.span();
        if gap.search::<F>(&self.memory, self.root(), Level::ROOT, 0).is_continue() {
            gap.occupied(end, end).break_value()?;
        }
        VirtAddr::new(gap.start)
    }
}

/// The candidate of a search for a gap.
struct Gap {
    start: u64,
    bytes: u64,
}

impl Gap {
    /// Something lies at `start..end`: breaks if the gap before it is large enough.
    fn occupied(&mut self, start: u64, end: u64) -> ControlFlow<()> {
        if start.saturating_sub(self.start) >= self.bytes {
            return ControlFlow::Break(());
        }
        self.start = self.start.max(end);
        ControlFlow::Continue(())
    }

    fn search<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        table: Frame,
        level: Level,
        base: u64,
    ) -> ControlFlow<()> {
        if level == Level::LAST && memory.counts(table).live() == ENTRIES as u32 {
            return self.occupied(base, base + ENTRIES as u64 * level.span());
        }
        let first = self.start.saturating_sub(base) / level.span();
        for index in first as usize..level.entries::<F>() {
            let raw = memory.load(table, index);
            let start = base + index as u64 * level.span();
            match F::decode(raw, level) {
                Entry::Empty => {}
                Entry::Table(below) => self.search::<F>(memory, below.frame, level.below(), start)?,
                Entry::Reserved(_) | Entry::Page(_) => self.occupied(start, start + level.span())?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// What the way to a table says about all of it.
#[derive(Clone, Copy)]
struct Above {
    writable: bool,
    paths: u64,
}

struct Tour<'a, M> {
    memory: &'a Frames<M>,
    from: Place,
    end: u64,
    deepest: Level,
}

impl<M: Memory> Tour<'_, M> {
    fn table<F: Format, B>(
        &self,
        table: Frame,
        level: Level,
        base: u64,
        above: Above,
        visitor: &mut impl FnMut(Visit) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = self.from.address.saturating_sub(base) / level.span();
        let bounds = self.memory.counts(table).bounds();
        for index in bounds.start.max(first as usize)..bounds.end {
            let start = base + index as u64 * level.span();
            if start >= self.end {
                break;
            }
            let raw = self.memory.load(table, index);
            let entry = F::decode(raw, level);
            let (below, references, writable) = match entry {
                Entry::Empty => continue,
                Entry::Reserved(_) => (None, 0, false),
                Entry::Table(below) => (Some(below.frame), self.references(below.frame), !below.read_only),
                Entry::Page(page) if page.kind.is_counted() => (None, self.references(page.frame), page.writable),
                Entry::Page(page) => (None, 0, page.writable),
            };
            let writable_now = above.writable && writable;
            if (Place { address: start, level }) >= self.from {
                let counts = below.map(|below| self.memory.counts(below).get()).unwrap_or_default();
                visitor(Visit {
                    address: VirtAddr::new(start).expect("the tree covers user addresses"),
                    level,
                    table,
                    raw,
                    entry,
                    references,
                    writable_now,
                    pages_below: counts.pages as u32,
                    tables_below: counts.tables as u32,
                    paths: above.paths,
                })?;
            }
            if let Some(below) = below
                && level < self.deepest
            {
                // No more than there are frames, at every level: arbitrary tables may say anything, so saturate.
                let paths = above.paths.saturating_mul(references.max(1).into());
                let above = Above { writable: writable_now, paths };
                self.table::<F, B>(below, level.below(), start, above, visitor)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn references(&self, frame: Frame) -> u32 {
        self.memory.count(frame)
    }
}
