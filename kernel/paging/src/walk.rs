//! Looking at a tree without changing it: every descriptor in the order of addresses, and the gaps between.

use core::cell::Cell;
use core::ops::ControlFlow;

use crate::gate::Frames;
use crate::{AddressSpace, Descriptor, ENTRIES, Entry, Format, Frame, Level, Memory, VirtAddr};

/// A descriptor in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit<F: Format> {
    /// First address that it covers.
    pub address: VirtAddr,
    /// Level of the table that holds it.
    pub level: Level,
    /// That table.
    pub table: Frame,
    /// The descriptor 64 bits.
    pub descriptor: Descriptor<F>,
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
    /// In how many ways the roots reach the table that holds the descriptor: the product of the references of all
    /// tables on this path.
    pub paths: u64,
}

/// Where a tour is: at the descriptor of this level that covers what begins at this address. Places are in the order in
/// which a tour comes by.
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

impl<F: Format> Visit<F> {
    /// Where a tour goes on that is to begin with this descriptor.
    pub const fn place(&self) -> Place {
        Place { address: self.address.get(), level: self.level }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Shows every descriptor that is not empty, a table before what is below it, down to level `deepest`.
    ///
    /// Begins with the first that is not before `from`, so that an interrupted tour goes on where it stopped; stops
    /// before `end`, or when the visitor breaks.
    pub fn visit<B>(
        &self,
        from: Place,
        end: u64,
        deepest: Level,
        mut visitor: impl FnMut(Visit<F>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let tour = Tour { memory: &self.memory, from, end, deepest, left: Cell::new(u32::MAX), interrupted: |_| None };
        tour.of::<F>(self.root(), &mut visitor)
    }

    /// As [`visit`](Self::visit), with no look at more than `most` descriptors, empty ones included: then it breaks
    /// with the place to go on at. It makes progress where `most` is not less than a tree has levels.
    pub fn visit_some(
        &self,
        from: Place,
        end: u64,
        deepest: Level,
        most: u32,
        mut visitor: impl FnMut(Visit<F>) -> ControlFlow<Place>,
    ) -> ControlFlow<Place> {
        let tour = Tour { memory: &self.memory, from, end, deepest, left: Cell::new(most), interrupted: Some };
        tour.of::<F>(self.root(), &mut visitor)
    }

    /// The lowest user address at or above `from` from which `bytes` bytes are neither mapped nor reserved.
    /// `from` and `bytes` are multiples of the page size.
    ///
    /// Full level-3 tables are passed over by their count, so that a large process costs one step for each 2 MiB.
    pub fn find_gap(&self, from: VirtAddr, bytes: u64) -> Option<VirtAddr> {
        match self.search_gap(from, bytes, u32::MAX) {
            Search::Found(start) => Some(start),
            _ => None,
        }
    }

    /// As [`find_gap`](Self::find_gap), with a look at about as many descriptors as `most` says, or as lie before the
    /// next that is not empty.
    pub fn search_gap(&self, from: VirtAddr, bytes: u64, most: u32) -> Search {
        let mut gap = Gap { start: from.get(), bytes, left: most };
        let end = F::USER_ENTRIES as u64 * Level::ROOT.span();
        let mut stop = gap.search::<F>(&self.memory, self.root(), Level::ROOT, 0);
        if stop.is_continue() {
            gap.left = u32::MAX;
            stop = gap.occupied(end, end);
        }
        let start = VirtAddr::new(gap.start);
        match (stop, start) {
            (ControlFlow::Break(Stop::Large), Some(start)) => Search::Found(start),
            (ControlFlow::Break(Stop::Later), Some(start)) => Search::Later(start),
            _ => Search::Nowhere,
        }
    }
}

/// What a search for a gap has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The gap begins here.
    Found(VirtAddr),
    /// There is none.
    Nowhere,
    /// There is none before this address, from where the search is to go on.
    Later(VirtAddr),
}

/// The candidate of a search for a gap.
struct Gap {
    start: u64,
    bytes: u64,
    /// Descriptors that may still be looked at.
    left: u32,
}

/// Why a search stops.
enum Stop {
    /// The gap is large enough.
    Large,
    /// It has taken long enough.
    Later,
}

impl Gap {
    /// Something lies at `start..end`: breaks if the gap before it is large enough.
    fn occupied(&mut self, start: u64, end: u64) -> ControlFlow<Stop> {
        if start.saturating_sub(self.start) >= self.bytes {
            return ControlFlow::Break(Stop::Large);
        }
        self.start = self.start.max(end);
        if self.left == 0 { ControlFlow::Break(Stop::Later) } else { ControlFlow::Continue(()) }
    }

    fn search<F: Format>(
        &mut self,
        memory: &Frames<impl Memory>,
        table: Frame,
        level: Level,
        base: u64,
    ) -> ControlFlow<Stop> {
        self.left = self.left.saturating_sub(1);
        if level == Level::LAST && memory.counts(table).live() == ENTRIES as u32 {
            return self.occupied(base, base + ENTRIES as u64 * level.span());
        }
        let first = self.start.saturating_sub(base) / level.span();
        let bounds = memory.counts(table).bounds();
        for index in bounds.start.max(first as usize)..bounds.end.min(level.entries::<F>()) {
            self.left = self.left.saturating_sub(1);
            let descriptor = memory.load::<F>(table, index);
            let start = base + index as u64 * level.span();
            match descriptor.entry(level) {
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

struct Tour<'a, M, B> {
    memory: &'a Frames<M>,
    from: Place,
    end: u64,
    deepest: Level,
    /// Descriptors that may still be looked at.
    left: Cell<u32>,
    /// What the tour answers that stops at a place because there are no more.
    interrupted: fn(Place) -> Option<B>,
}

impl<M: Memory, B> Tour<'_, M, B> {
    fn of<F: Format>(&self, root: Frame, visitor: &mut impl FnMut(Visit<F>) -> ControlFlow<B>) -> ControlFlow<B> {
        self.table(root, Level::ROOT, 0, Above { writable: true, paths: 1 }, visitor)
    }

    fn table<F: Format>(
        &self,
        table: Frame,
        level: Level,
        base: u64,
        above: Above,
        visitor: &mut impl FnMut(Visit<F>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = self.from.address.saturating_sub(base) / level.span();
        let bounds = self.memory.counts(table).bounds();
        for index in bounds.start.max(first as usize)..bounds.end {
            let start = base + index as u64 * level.span();
            if start >= self.end {
                break;
            }
            if self.left.get() == 0
                && let Some(answer) = (self.interrupted)(Place { address: start, level })
            {
                return ControlFlow::Break(answer);
            }
            self.left.set(self.left.get().saturating_sub(1));
            let descriptor = self.memory.load(table, index);
            let entry = descriptor.entry(level);
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
                    descriptor,
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
                self.table::<F>(below, level.below(), start, above, visitor)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn references(&self, frame: Frame) -> u32 {
        self.memory.count(frame)
    }
}
