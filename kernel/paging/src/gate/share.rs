//! Sharing what the entries of a table lead to with a copy of the table: the hot loop of fork and split.

use core::ops::Range;

use super::{Exclusive, Frames, retain};
use crate::descriptor::{Line, Writability};
use crate::{Descriptor, Format, Frame, LINE, Level, Memory};

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
