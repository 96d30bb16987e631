//! The gate: every store into a table passes through here, and a store that changes a table's meaning needs proof that
//! no other space reaches the table.
//!
//! The proof is an [`Exclusive`]. There are three ways to one, and each makes it true:
//! the root of a space held by `&mut`, a frame fresh from the allocator, and a child with a
//! reference count of 1 of a table that is itself held exclusively. Sharing only ever happens through a parent (fork
//! and split add a reference while they hold `&mut` to one of the spaces above it), so a path on which every count is 1
//! cannot become shared while the space above it is held by `&mut`.

mod frames;
mod path;
mod stock;

pub(crate) use frames::{Frames, Fresh, Last};
pub(crate) use path::Path;
pub(crate) use stock::Stock;

use core::marker::PhantomData;
use core::ops::Range;

use crate::descriptor::{Line, Writability};
use crate::memory::Counts;
use crate::sync::{Ordering, fence};
use crate::{Descriptor, ENTRIES, Entry, Format, Frame, Kind, LINE, Level, Memory, Reach, TableCounts, Tlb, VirtRange};

/// An entry, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The table that holds it.
    pub(crate) table: Frame,
    /// The table's level.
    pub(crate) level: Level,
    /// Which entry of the table it is.
    pub(crate) index: usize,
}

/// What TLBs may hold of a descriptor that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) range: VirtRange,
    pub(crate) reach: Reach,
}

/// A table that only its holder reaches.
///
/// Not `Copy`: two of them for one table would be two proofs.
pub(crate) struct Exclusive<F> {
    frame: Frame,
    level: Level,
    format: PhantomData<F>,
}

impl<F: Format> Exclusive<F> {
    /// A root. The caller holds the space that owns it by `&mut`; roots are never shared.
    pub(crate) fn root(frame: Frame) -> Self {
        Exclusive { frame, level: Level::ROOT, format: PhantomData }
    }

    /// A table of `level` in a frame that came from the allocator and is linked nowhere; emptied.
    pub(crate) fn fresh(memory: &Frames<impl Memory>, frame: Fresh, level: Level) -> Self {
        memory.empty(&frame);
        memory.counts(frame.0).reset();
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// As [`fresh`](Self::fresh), for the copy of a table with these counts: the caller is about to [`put`](Self::put)
    /// every entry within their bounds, empty ones as well, so this does not empty those first.
    pub(crate) fn to_fill(memory: &Frames<impl Memory>, frame: Fresh, level: Level, counts: &TableCounts) -> Self {
        if counts.bounds() != (0..ENTRIES) {
            memory.empty(&frame);
        }
        memory.counts(frame.0).copy_from(counts);
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// As [`fresh`](Self::fresh), with the same descriptor, present or reserved, in every slot.
    pub(crate) fn filled(memory: &Frames<impl Memory>, frame: Fresh, level: Level, descriptor: Descriptor<F>) -> Self {
        let claims = memory.claims_lines();
        for first in (0..ENTRIES).step_by(LINE) {
            if claims {
                memory.claim_line(frame.0, first);
            }
            memory.store_line(frame.0, first, Line([descriptor; LINE]));
        }
        let counts = memory.counts(frame.0);
        let one = weight(memory, descriptor, level);
        counts.set(Counts {
            reserved: one.reserved * ENTRIES as i64,
            unshareable: one.unshareable * ENTRIES as i64,
            ..Counts::ZERO
        });
        counts.set_live(ENTRIES as u32, 0..ENTRIES);
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// The descriptor that leads to this table and forbids nothing.
    pub(crate) fn descriptor(&self) -> Descriptor<F> {
        Descriptor::new(Entry::Table(crate::Table { frame: self.frame, read_only: false }), Level::ROOT)
    }

    /// The table that entry `index` leads to, if this is the only reference to it.
    #[inline(always)]
    pub(crate) fn child(&self, memory: &Frames<impl Memory>, index: usize) -> Option<Self> {
        let descriptor = memory.load::<F>(self.frame, index);
        debug_assert!(descriptor.is_present() && self.level != Level::LAST);
        let frame = descriptor.output();
        is_sole(memory, frame).then(|| Exclusive { frame, level: self.level.below(), format: PhantomData })
    }

    #[inline(always)]
    pub(crate) fn frame(&self) -> Frame {
        self.frame
    }

    /// Gives up the table, with the references that its entries hold. Nothing leads to it: it was never linked, or it
    /// is a root.
    pub(crate) fn unlinked(self) -> Last {
        Last(self.frame)
    }

    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    #[inline(always)]
    pub(crate) fn load(&self, memory: &Frames<impl Memory>, index: usize) -> Descriptor<F> {
        memory.load::<F>(self.frame, index)
    }

    /// Replaces a descriptor that is not empty by another that is not. The old one leads to the same place or leads
    /// nowhere. To make a present descriptor lead elsewhere there is [`redirect`](Self::redirect).
    #[inline(always)]
    pub(crate) fn store(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(!descriptor.is_empty() && self.leads_nowhere_else(memory, index, descriptor));
        memory.store(self.frame, index, descriptor);
    }

    fn leads_nowhere_else(&self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) -> bool {
        let old = memory.load::<F>(self.frame, index);
        !old.is_present() || !descriptor.is_present() || old.output() == descriptor.output()
    }

    /// Makes a present descriptor lead to another frame: break, invalidate, make.
    ///
    /// A core that walks in between finds an invalid descriptor and faults; its handler waits for the lock on the
    /// space, finds the address mapped, and retries. Where the processor asks for no break, the descriptor leads to the
    /// new place at once, but read-only: otherwise one thread could write to the new place while another, on a core
    /// whose TLB still holds the old descriptor, reads the old place.
    pub(crate) fn redirect(
        &mut self,
        memory: &Frames<impl Memory>,
        tlb: &impl Tlb,
        index: usize,
        descriptor: Descriptor<F>,
        stale: Stale,
    ) {
        debug_assert!(memory.load::<F>(self.frame, index).is_present() && descriptor.is_present());
        let meanwhile =
            if F::BREAK_BEFORE_MAKE { descriptor.retired() } else { descriptor.write_protected(self.level) };
        memory.store(self.frame, index, meanwhile);
        tlb.invalidate(stale.range, stale.reach);
        memory.store(self.frame, index, descriptor);
        tlb.publish();
    }

    /// Stores into a table that nothing leads to yet and that is filled in one go; the filling ends with
    /// [`set_live`](Self::set_live). Also stores into the kernel's entries of a root.
    #[inline(always)]
    pub(crate) fn put(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        memory.store(self.frame, index, descriptor);
    }

    #[cfg(feature = "snapshot")]
    /// As [`put`](Self::put), into a table in use: what stood there has been retired and the TLBs have forgotten it, or
    /// it leads to the same place.
    pub(crate) fn refill(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(self.leads_nowhere_else(memory, index, descriptor));
        memory.store(self.frame, index, descriptor);
    }

    /// Records how many entries were [`put`](Self::put) or [refilled](Self::refill), and within which bounds.
    pub(crate) fn set_live(&mut self, memory: &Frames<impl Memory>, live: u32, bounds: Range<usize>) {
        memory.counts(self.frame).set_live(live, bounds);
    }

    /// Fills an empty slot.
    pub(crate) fn insert(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(!descriptor.is_empty() && memory.load::<F>(self.frame, index).is_empty());
        memory.store(self.frame, index, descriptor);
        memory.counts(self.frame).add_live(index);
    }

    /// Empties a slot.
    pub(crate) fn remove(&mut self, memory: &Frames<impl Memory>, index: usize) {
        debug_assert!(!memory.load::<F>(self.frame, index).is_empty());
        memory.store(self.frame, index, Descriptor::<F>::EMPTY);
        let counts = memory.counts(self.frame);
        counts.set_live(counts.live() - 1, counts.bounds());
    }

    /// Adds a change below this table to its counts.
    #[inline(always)]
    pub(crate) fn account(&mut self, memory: &Frames<impl Memory>, change: Counts) {
        memory.counts(self.frame).add(change);
    }
}

/// Write-protects an entry of a table that other spaces may share, and returns the protected entry.
///
/// One of the two stores that a frozen table permits; see [`for_good`]. The table is read-only from above wherever it
/// is shared, so no sharer can see a difference; and another core that does the same at the same time stores the same
/// value.
#[inline(always)]
pub(crate) fn write_protect<F: Format>(
    memory: &Frames<impl Memory>,
    at: Location,
    descriptor: Descriptor<F>,
) -> Descriptor<F> {
    let protected = descriptor.write_protected(at.level);
    if protected != descriptor {
        memory.store(at.table, at.index, protected);
    }
    protected
}

/// What a descriptor is for good in a table that other spaces may share: without write permission, and with the page of
/// zeroes read as the reservation that it stands for. No store that a frozen table permits changes it.
///
/// Other cores make those stores at any moment. So two loads of one entry may differ, and a plan must not: every
/// decision about an entry of a table that may be shared is made as if this value stood there.
pub(crate) fn for_good<F: Format>(descriptor: Descriptor<F>, level: Level) -> Descriptor<F> {
    if !descriptor.is_present() {
        return descriptor;
    }
    if level == Level::LAST
        && !descriptor.is_counted()
        && let Entry::Page(page) = descriptor.entry(level)
        && page.kind == Kind::Zero
    {
        return Descriptor::new(Entry::Reserved(page.untouched()), level);
    }
    descriptor.write_protected(level)
}

/// Puts the entries of `source` within `range`, empty ones as well, into `target`, a table of the same level, and
/// shares what they lead to: that gains a reference, and the entries lose write permission on both sides. Returns
/// whether any entry of the source had it.
#[inline(always)]
pub(crate) fn share_entries<F: Format>(
    memory: &Frames<impl Memory>,
    source: Frame,
    range: Range<usize>,
    target: &mut Exclusive<F>,
) -> bool {
    match target.level {
        Level::LAST => share_all::<F, ToPages>(memory, source, range, target.frame).is_any(ToPages::LEVEL),
        _ => share_all::<F, ToTables>(memory, source, range, target.frame).is_any(ToTables::LEVEL),
    }
}

/// What the descriptors of a table lead to: something that the compiler knows in the loops that share them.
trait Leads {
    /// Stands for all levels with the same descriptors.
    const LEVEL: Level;

    /// Whether the frame that a descriptor leads to counts this reference.
    fn is_shared<F: Format>(descriptor: Descriptor<F>) -> bool;
}

/// The descriptors of levels 0 to 2.
struct ToTables;

impl Leads for ToTables {
    const LEVEL: Level = Level::ROOT;

    #[inline(always)]
    fn is_shared<F: Format>(descriptor: Descriptor<F>) -> bool {
        descriptor.is_present()
    }
}

/// The descriptors of level 3.
struct ToPages;

impl Leads for ToPages {
    const LEVEL: Level = Level::LAST;

    #[inline(always)]
    fn is_shared<F: Format>(descriptor: Descriptor<F>) -> bool {
        descriptor.is_counted()
    }
}

/// [`share_entries`] of a table whose kind is known.
#[inline(always)]
fn share_all<F: Format, L: Leads>(
    memory: &Frames<impl Memory>,
    source: Frame,
    range: Range<usize>,
    target: Frame,
) -> Writability<F> {
    // Most upper tables hold a few entries.
    if range.len() < LINE {
        let mut seen = Writability::NONE;
        share_singly::<F, L>(memory, source, range, target, &mut seen);
        seen
    } else {
        share_lines::<F, L>(memory, source, range, target)
    }
}

/// The descriptor that the copy of a table gets for one of the original. If what it leads to is shared, the original is
/// write-protected as well. `seen` collects which descriptors were writable.
#[inline(always)]
fn share_entry<F: Format, L: Leads>(
    memory: &Frames<impl Memory>,
    source: Frame,
    index: usize,
    descriptor: Descriptor<F>,
    seen: &mut Writability<F>,
) -> Descriptor<F> {
    if !L::is_shared(descriptor) {
        // It stays as it is: empty, a reservation, the page of zeroes, foreign memory.
        return descriptor;
    }
    retain(memory, descriptor.output());
    *seen = seen.with(descriptor);
    let protected = descriptor.write_protected(L::LEVEL);
    // Stored whether it changes or not: a test costs more than the store. Other cores whose spaces share the source can
    // only be storing the same value.
    memory.store(source, index, protected);
    protected
}

/// [`share_entries`] one by one.
#[inline(always)]
fn share_singly<F: Format, L: Leads>(
    memory: &Frames<impl Memory>,
    source: Frame,
    range: Range<usize>,
    target: Frame,
    seen: &mut Writability<F>,
) {
    for index in range {
        let descriptor = memory.load(source, index);
        memory.store(target, index, share_entry::<F, L>(memory, source, index, descriptor, seen));
    }
}

/// [`share_entries`] of many: the hot loop of fork and split, about ten instructions an entry. It works line by line,
/// and one test decides about eight entries that are all pages, or all tables.
#[inline(never)]
fn share_lines<F: Format, L: Leads>(
    memory: &Frames<impl Memory>,
    source: Frame,
    range: Range<usize>,
    target: Frame,
) -> Writability<F> {
    let claims = memory.claims_lines();
    let (mut seen, mut first) = (Writability::NONE, range.start.next_multiple_of(LINE));
    share_singly::<F, L>(memory, source, range.start..first, target, &mut seen);
    while first + LINE <= range.end {
        let line: Line<F> = memory.load_line(source, first);
        if claims {
            memory.claim_line(target, first);
        }
        // Only a line of shared entries alone is stored back as a whole: where a relative has shown the page of zeroes
        // since the load, that entry must stay. Shared entries can only have lost their write permission.
        if L::is_shared(line.in_common()) {
            let protected = Line(line.0.map(|descriptor| descriptor.write_protected(L::LEVEL)));
            let writable = Writability::of(line);
            if writable.is_any(L::LEVEL) {
                memory.store_line(source, first, protected);
            }
            memory.store_line(target, first, protected);
            // Last, so that the cache line of the counts does not evict one of the others while they are needed.
            line.0.into_iter().for_each(|descriptor| retain(memory, descriptor.output()));
            seen = seen.and(writable);
        } else {
            let mut index = first;
            let copied = line.0.map(|descriptor| {
                index += 1;
                share_entry::<F, L>(memory, source, index - 1, descriptor, &mut seen)
            });
            memory.store_line(target, first, Line(copied));
        }
        first += LINE;
    }
    share_singly::<F, L>(memory, source, first..range.end, target, &mut seen);
    seen
}

/// Shows the page of zeroes where a level-3 table, shared or not, has a reservation.
///
/// The other store that a frozen table permits, see [`for_good`]: a reservation reads as zeroes, so no sharer can tell
/// the difference, the counts stay as they are (a zero page counts as reserved), and two cores that do it at once store
/// the same value. If a read broke the sharing instead, it would cost one table for each process that reads.
pub(crate) fn show_zero_page<F: Format>(
    memory: &Frames<impl Memory>,
    table: Frame,
    index: usize,
    descriptor: Descriptor<F>,
) {
    memory.store(table, index, descriptor);
}

/// Before the store that links a fresh table or page: every core and every walker that follows the link sees what was
/// stored into the frame before. Without this fence the descriptor may become visible first, and with it what the frame
/// held for its former owner (the walker follows a dependency, so its own reads are in order).
#[inline(always)]
pub(crate) fn complete() {
    fence(Ordering::Release);
}

/// Whether this is the only reference to a frame.
///
/// Acquire pairs with the release in [`release`]: a core that sees 1 also sees everything that former sharers did
/// before they dropped their references, in particular the write permissions they took away.
#[inline(always)]
pub(crate) fn is_sole(memory: &Frames<impl Memory>, frame: Frame) -> bool {
    memory.references(frame).load(Ordering::Acquire) == 1
}

/// Adds a reference to a frame that the caller reaches through one that exists.
///
/// Relaxed, as for `Arc`: the new reference travels to other cores through something that synchronises (a lock, the
/// scheduler).
#[inline(always)]
pub(crate) fn retain(memory: &Frames<impl Memory>, frame: Frame) {
    memory.references(frame).fetch_add(1, Ordering::Relaxed);
}

/// Drops a reference; if it was the last, the caller now owns the frame.
#[inline(always)]
pub(crate) fn release(memory: &Frames<impl Memory>, frame: Frame) -> Option<Last> {
    if memory.references(frame).fetch_sub(1, Ordering::Release) != 1 {
        return None;
    }
    fence(Ordering::Acquire);
    Some(Last(frame))
}

/// What a descriptor adds to the counts of the tables above it.
pub(crate) fn weight<F: Format>(memory: &Frames<impl Memory>, descriptor: Descriptor<F>, level: Level) -> Counts {
    let entry = descriptor.entry(level);
    let unshareable = entry.is_unshareable().into();
    match entry {
        Entry::Empty => Counts::ZERO,
        Entry::Reserved(_) => Counts { reserved: level.pages() as i64, unshareable, ..Counts::ZERO },
        Entry::Table(table) => {
            let below = memory.counts(table.frame).get();
            Counts { tables: below.tables + 1, ..below }
        }
        Entry::Page(page) if page.kind.is_counted() => Counts { pages: 1, unshareable, ..Counts::ZERO },
        Entry::Page(page) if page.kind == Kind::Zero => Counts { reserved: 1, ..Counts::ZERO },
        Entry::Page(_) => Counts { unshareable, ..Counts::ZERO },
    }
}
