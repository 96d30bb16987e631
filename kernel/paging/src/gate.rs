//! The gate: every store into a table passes through here, and a store that changes a table's meaning needs proof that
//! no other space reaches the table.
//!
//! The proof is an [`Exclusive`]. There are three ways to one, and each makes it true:
//! the root of a space held by `&mut`, a frame fresh from the allocator, and a child with a
//! reference count of 1 of a table that is itself held exclusively. Sharing only ever happens through a parent (fork
//! and split add a reference while they hold `&mut` to one of the spaces above it), so a path on which every count is 1
//! cannot become shared while the space above it is held by `&mut`.

mod exclusive;
mod frames;
mod path;
mod share;
mod stock;

pub(crate) use exclusive::Exclusive;
pub(crate) use frames::{Frames, Fresh, Last};
pub(crate) use path::{Around, Path};
pub(crate) use share::share_entries;
pub(crate) use stock::Stock;

use crate::memory::Counts;
use crate::sync::{Ordering, fence};
use crate::{Descriptor, Entry, Format, Frame, Kind, Level, Memory, Reach, VirtRange};

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
