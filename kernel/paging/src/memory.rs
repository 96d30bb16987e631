//! What the tree needs from its surroundings: frames with counts, and TLB invalidation.

use core::ops::Range;

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{Frame, VirtAddr, VirtRange};

/// What a frame is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A translation table.
    Table,
    /// A page of a program.
    Page,
}

/// Descriptors that lie in a cache line of 64 bytes.
pub const LINE: usize = 8;

/// No frame was left. The operation that returns this error has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl core::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("out of memory")
    }
}

impl core::error::Error for OutOfMemory {}

/// Physical memory: frames, their reference counts, and access to those that are tables.
///
/// A caller of the unsafe functions can overwrite and free live tables. The crate calls them where its types prove that
/// the frame is its own (`gate/frames.rs`); outside of it only tests have to call them.
///
/// # Safety
/// The tree's guarantees rest on these:
/// - [`allocate`](Memory::allocate) hands out frames that nothing else uses, until [`free`](Memory::free);
/// - [`load`](Memory::load) and [`store`](Memory::store), and the same of a line for each of its descriptors, are
///   single-copy atomic, at least relaxed, and a store is what the hardware walker reads after [`Tlb::publish`];
/// - [`references`](Memory::references) and [`counts`](Memory::counts) return the same, distinct location for a frame
///   every time;
/// - of the frames in use at most [`TABLES_MAX`](crate::TABLES_MAX) are tables, however they were allocated;
/// - two values are [the same](Memory::is_same) only if each has all frames of the other, and a clone is the same as
///   its original;
/// - [`invalidate_all`](Memory::invalidate_all) leaves nothing in any TLB that leads to a frame by a user address.
#[expect(unsafe_code, reason = "implementing it is a promise")]
pub unsafe trait Memory: Clone {
    /// A frame with undefined content and a reference count of 1.
    fn allocate(&self, purpose: Purpose) -> Option<Frame>;

    /// Takes back a frame.
    ///
    /// # Safety
    /// It was allocated for this purpose, nothing leads to it, and no TLB has anything of it.
    unsafe fn free(&self, frame: Frame, purpose: Purpose);

    /// Reads a descriptor.
    ///
    /// # Safety
    /// The frame is a table in use; `index` is below [`ENTRIES`](crate::ENTRIES).
    unsafe fn load(&self, table: Frame, index: usize) -> u64;

    /// Writes a descriptor.
    ///
    /// # Safety
    /// As for [`load`](Memory::load); and the table is the caller's alone, or the store is one of the two that a shared
    /// table permits.
    unsafe fn store(&self, table: Frame, index: usize, raw: u64);

    /// Reads the [`LINE`] descriptors from `first` on: each as [`load`](Memory::load) does, in any order, and not all
    /// at one moment.
    ///
    /// A memory that can read several in one instruction makes the copying of tables cheaper with it.
    ///
    /// # Safety
    /// As for [`load`](Memory::load), for each of them; `first` is a multiple of [`LINE`].
    #[inline(always)]
    unsafe fn load_line(&self, table: Frame, first: usize) -> [u64; LINE] {
        // SAFETY: the caller's promise.
        core::array::from_fn(|place| unsafe { self.load(table, first + place) })
    }

    /// Writes the [`LINE`] descriptors from `first` on: each as [`store`](Memory::store) does, in any order, and not
    /// all at one moment.
    ///
    /// # Safety
    /// As for [`store`](Memory::store), for each of them; `first` is a multiple of [`LINE`].
    #[inline(always)]
    unsafe fn store_line(&self, table: Frame, first: usize, raws: [u64; LINE]) {
        for (place, raw) in raws.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { self.store(table, first + place, raw) };
        }
    }

    /// Whether [`claim_line`](Memory::claim_line) does anything. The tree asks once for each table.
    #[inline(always)]
    fn claims_lines(&self) -> bool {
        false
    }

    /// Allocates the [`LINE`] descriptors from `first` on in the cache without fetching them. Their content is
    /// undefined until the caller writes them, which it does next.
    ///
    /// # Safety
    /// Nothing but the caller uses the frame; `first` is a multiple of [`LINE`] below [`ENTRIES`](crate::ENTRIES);
    /// [`claims_lines`](Memory::claims_lines) is true.
    #[inline(always)]
    unsafe fn claim_line(&self, _table: Frame, _first: usize) {}

    /// The frame's reference count: of the descriptors that lead to it.
    ///
    /// # Safety
    /// The frame is in use; and the caller changes the count with the number of descriptors.
    unsafe fn references(&self, frame: Frame) -> &AtomicU32;

    /// What is known about the subtree below a table.
    ///
    /// # Safety
    /// The frame is a table in use.
    unsafe fn counts(&self, table: Frame) -> &TableCounts;

    /// Fills a frame with zeroes.
    ///
    /// # Safety
    /// Nothing but the caller uses the frame.
    unsafe fn zero(&self, frame: Frame);

    /// Copies a frame's content.
    ///
    /// # Safety
    /// Nothing but the caller uses `to`, and nothing writes to `from` meanwhile.
    unsafe fn copy(&self, from: Frame, to: Frame);

    /// The page of zeroes that stands in for untouched memory; never freed, never written.
    fn zero_page(&self) -> Frame;

    /// Whether both are the same memory, so that a frame of one is the same frame of the other.
    fn is_same(&self, other: &Self) -> bool;

    /// Invalidates everything that any core has cached of any space, as [`Tlb::invalidate`] of all addresses would for
    /// each. For spaces that are dropped instead of destroyed.
    fn invalidate_all(&self);

    /// Commits that many more frames: from now on [`allocate`](Memory::allocate) leaves them alone, and
    /// [`allocate_committed`](Memory::allocate_committed) finds them. A number, not a list: O(1).
    ///
    /// The four functions of the commit charge are there for [guaranteed forks](crate::AddressSpace::fork_guaranteed),
    /// and for changes of ranges in pieces ([`Operation`](crate::Operation)), which commit their tables before the
    /// first piece. A memory that leaves them out refuses both.
    ///
    /// # Errors
    /// If fewer frames than that are free and not committed yet; nothing has changed then.
    fn commit(&self, _frames: u64) -> Result<(), OutOfMemory> {
        Err(OutOfMemory)
    }

    /// Takes back that part of what was committed.
    fn uncommit(&self, _frames: u64) {}

    /// As [`allocate`](Memory::allocate), out of the committed frames, which become one fewer. `None` if there is none.
    fn allocate_committed(&self, _purpose: Purpose) -> Option<Frame> {
        None
    }

    /// As [`free`](Memory::free), and commits the frame again in one step with it.
    ///
    /// # Safety
    /// As for [`free`](Memory::free).
    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the caller's promise.
        unsafe { self.free(frame, purpose) };
    }
}

/// What the hardware may have cached of a changed range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only page descriptors changed: entries of the last level suffice (Arm: `VALE1IS`).
    Pages,
    /// Table descriptors changed: walk caches too, and everything below (Arm: by ASID or by range, never the
    /// last-level forms; x86_64: `INVLPG` of every page, or the whole PCID).
    Tables,
}

/// TLB maintenance for one address space, on every core.
///
/// # Safety
/// The tree relies on these functions when it frees frames and when it takes write permission away. An implementation
/// promises what is said of each, for every space that it is passed with.
#[expect(unsafe_code, reason = "implementing it is a promise")]
pub unsafe trait Tlb {
    /// Makes stores into tables visible to every hardware walker, before any core relies on them (Arm: `DSB ISHST`, and
    /// `ISB` for the calling core).
    fn publish(&self);

    /// Invalidates everything that any core has cached of the range, as far as `reach` says. Earlier stores are visible
    /// to walkers first, and it returns when the invalidation has completed on every core (Arm: `DSB ISHST`, `TLBI
    /// …IS`, `DSB ISH`, `ISB`; x86_64: shootdown).
    fn invalidate(&self, range: VirtRange, reach: Reach);

    /// After stores that only gave permission to a page, in descriptors of any level: the access that faulted must
    /// succeed when it is tried again, after one more fault at the latest. What other cores have cached is only too
    /// strict; they fault, find nothing to do, and come here.
    ///
    /// Where a fault by itself discards what is cached for its address, [`publish`](Tlb::publish) is enough (Intel SDM
    /// volume 3, "Optional Invalidation"). The Arm architecture makes no such promise.
    #[inline(always)]
    fn upgrade(&self, page: VirtAddr) {
        self.invalidate(VirtRange::page(page), Reach::Tables);
    }
}

/// What lies below a table. Kept beside the frame, so that it follows the table into every space that shares it.
///
/// Only the exclusive owner of the table writes it, and every space that reaches the table may read it; relaxed is
/// enough, because ownership itself is handed over with acquire and release on the reference count.
#[derive(Debug, Default)]
#[repr(C, align(32))]
pub struct TableCounts {
    /// Demand-zero pages not yet backed, in pages.
    reserved: AtomicU64,
    /// Pages present, counted kinds only, in pages.
    pages: AtomicU32,
    /// Tables below this one, itself not included.
    tables: AtomicU32,
    /// Entries below that keep their table from being shared.
    unshareable: AtomicU32,
    /// Entries of this table itself that are not empty: how many, and bounds of where (start and end as 16 bits each).
    live: AtomicU32,
    bounds: AtomicU32,
}

impl TableCounts {
    pub(crate) fn get(&self) -> Counts {
        Counts {
            reserved: self.reserved.load(Ordering::Relaxed) as i64,
            pages: self.pages.load(Ordering::Relaxed).into(),
            tables: self.tables.load(Ordering::Relaxed).into(),
            unshareable: self.unshareable.load(Ordering::Relaxed).into(),
        }
    }

    /// For a table without entries.
    pub(crate) fn reset(&self) {
        self.set(Counts::ZERO);
        self.set_live(0, 0..0);
    }

    /// The same as another table's.
    #[inline(always)]
    pub(crate) fn copy_from(&self, other: &TableCounts) {
        self.set(other.get());
        self.live.store(other.live(), Ordering::Relaxed);
        self.bounds.store(other.bounds.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Where entries can be found: every other one is empty. Loops over tables that hold little stay short.
    #[inline(always)]
    pub(crate) fn bounds(&self) -> Range<usize> {
        let bounds = self.bounds.load(Ordering::Relaxed);
        (bounds & 0xffff) as usize..(bounds >> 16) as usize
    }

    /// Records where entries are left.
    #[inline(always)]
    pub(crate) fn set_bounds(&self, bounds: Range<usize>) {
        self.bounds.store(bounds.start as u32 | (bounds.end as u32) << 16, Ordering::Relaxed);
    }

    /// In the counts of a dead table, which nothing leads to: the link to the next dead table, in place of a count that
    /// is not needed any more.
    #[inline(always)]
    pub(crate) fn link(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// See [`link`](Self::link).
    #[inline(always)]
    pub(crate) fn set_link(&self, link: u64) {
        self.reserved.store(link, Ordering::Relaxed);
    }

    /// Counts an entry that was empty.
    pub(crate) fn add_live(&self, index: usize) {
        let (live, bounds) = (self.live(), self.bounds());
        let wider = if live == 0 { index..index + 1 } else { bounds.start.min(index)..bounds.end.max(index + 1) };
        self.set_live(live + 1, wider);
    }

    pub(crate) fn set(&self, counts: Counts) {
        self.reserved.store(counts.reserved as u64, Ordering::Relaxed);
        self.pages.store(counts.pages as u32, Ordering::Relaxed);
        self.tables.store(counts.tables as u32, Ordering::Relaxed);
        self.unshareable.store(counts.unshareable as u32, Ordering::Relaxed);
    }

    /// Adds a change. Counts that do not change are not accessed: the compiler knows most changes.
    #[inline(always)]
    pub(crate) fn add(&self, change: Counts) {
        let add = |count: &AtomicU32, change: i64| {
            if change != 0 {
                count.store(count.load(Ordering::Relaxed).wrapping_add(change as u32), Ordering::Relaxed);
            }
        };
        if change.reserved != 0 {
            let reserved = self.reserved.load(Ordering::Relaxed).wrapping_add(change.reserved as u64);
            self.reserved.store(reserved, Ordering::Relaxed);
        }
        add(&self.pages, change.pages);
        add(&self.tables, change.tables);
        add(&self.unshareable, change.unshareable);
    }

    /// Entries that are not empty.
    #[inline(always)]
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set_live(&self, live: u32, bounds: Range<usize>) {
        self.live.store(live, Ordering::Relaxed);
        self.set_bounds(bounds);
    }

    #[inline(always)]
    pub(crate) fn has_unshareable(&self) -> bool {
        self.unshareable.load(Ordering::Relaxed) != 0
    }
}

/// [`TableCounts`] as a value, or a change to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reserved: i64,
    pub(crate) pages: i64,
    pub(crate) tables: i64,
    pub(crate) unshareable: i64,
}

impl Counts {
    pub(crate) const ZERO: Counts = Counts { reserved: 0, pages: 0, tables: 0, unshareable: 0 };
}

impl core::ops::Add for Counts {
    type Output = Counts;

    #[inline(always)]
    fn add(self, other: Counts) -> Counts {
        Counts {
            reserved: self.reserved + other.reserved,
            pages: self.pages + other.pages,
            tables: self.tables + other.tables,
            unshareable: self.unshareable + other.unshareable,
        }
    }
}

impl core::ops::Sub for Counts {
    type Output = Counts;

    #[inline(always)]
    fn sub(self, other: Counts) -> Counts {
        Counts {
            reserved: self.reserved - other.reserved,
            pages: self.pages - other.pages,
            tables: self.tables - other.tables,
            unshareable: self.unshareable - other.unshareable,
        }
    }
}

impl core::ops::AddAssign for Counts {
    #[inline(always)]
    fn add_assign(&mut self, other: Counts) {
        *self = *self + other;
    }
}
