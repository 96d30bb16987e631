//! Dropping references: one, or those of a table.

use core::ops::Range;

use super::Dead;
use super::dead::DeadTable;
use crate::commit::{Charge, Dropped, Ledger, Paid, Policy, Repaid, Source, Unpaid, frames_behind};
use crate::descriptor::Line;
use crate::gate::{self, Exclusive, Frames, Last};
use crate::{Descriptor, Format, Frame, LINE, Level, Memory, Purpose};

/// An entry whose reference was the last to a table.
pub(super) struct DeadChild {
    /// That table.
    pub(super) frame: Last,
    /// The entry behind it, to go on with.
    pub(super) next: usize,
}

/// Drops the references that these entries of a table hold, one after the other, until one was the last to its table.
#[inline(always)]
pub(super) fn release_until_table<F: Format, P: Policy>(
    memory: &Frames<impl Memory>,
    table: Frame,
    level: Level,
    bounds: Range<usize>,
    dropped: &Dropped,
) -> Option<DeadChild> {
    let mut index = bounds.start;
    while index < bounds.end {
        if index.is_multiple_of(LINE) && index + LINE <= bounds.end {
            let line: Line<F> = memory.load_line(table, index);
            if line.in_common().is_present() {
                for descriptor in line.0 {
                    index += 1;
                    if let Some(frame) = release::<F, P>(memory, descriptor, level, dropped) {
                        return Some(DeadChild { frame, next: index });
                    }
                }
                continue;
            }
            if line.is_empty() {
                index += LINE;
                continue;
            }
        }
        loop {
            let descriptor = memory.load::<F>(table, index);
            index += 1;
            // Also where it has been retired, likewise.
            if (descriptor.is_present() || descriptor.is_retired())
                && let Some(frame) = release::<F, P>(memory, descriptor, level, dropped)
            {
                return Some(DeadChild { frame, next: index });
            }
            if index.is_multiple_of(LINE) || index == bounds.end {
                break;
            }
        }
    }
    None
}

/// Drops the reference that a present descriptor of this level held. Every TLB has forgotten the descriptor. A table
/// whose last reference it was joins the dead.
#[inline(always)]
pub(crate) fn release_entry<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    ledger: &Ledger,
    dead: &mut Dead,
) {
    let last = match ledger.charge {
        Charge::Unpaid => release::<F, Unpaid>(memory, descriptor, level, &ledger.dropped),
        Charge::Paid => release_paid(memory, descriptor, level, &ledger.dropped),
        Charge::Repaid => release_repaid(memory, descriptor, level),
    };
    if let Some(frame) = last {
        dead.push(memory, DeadTable { frame, level: level.below() }, ledger.charge);
    }
}

/// The same, at once. For the original of a table or a page that has been copied, with frames from this source: it has
/// one reference to each of the entries that the copy has, too, so that nothing but a path of dead tables can hang on
/// it.
#[inline(always)]
pub(crate) fn release_copied<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    source: Source,
) {
    let last = match source {
        Source::Free => release::<F, Unpaid>(memory, descriptor, level, &Dropped::none()),
        Source::Committed => release_repaid(memory, descriptor, level),
    };
    if let Some(frame) = last {
        free_dead::<F>(memory, DeadTable { frame, level: level.below() }, source);
    }
}

#[cold]
fn release_paid<F: Format>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    dropped: &Dropped,
) -> Option<Last> {
    release::<F, Paid>(memory, descriptor, level, dropped)
}

#[cold]
fn release_repaid<F: Format>(memory: &Frames<impl Memory>, descriptor: Descriptor<F>, level: Level) -> Option<Last> {
    release::<F, Repaid>(memory, descriptor, level, &Dropped::none())
}

/// Frees a table that its holder alone reaches, after the references that its entries hold. Its frame came from this
/// source.
pub(crate) fn free_table<F: Format>(memory: &Frames<impl Memory>, table: Exclusive<F>, source: Source) {
    let level = table.level();
    free_dead::<F>(memory, DeadTable { frame: table.unlinked(), level }, source);
}

#[cold]
fn free_dead<F: Format>(memory: &Frames<impl Memory>, table: DeadTable, source: Source) {
    let mut dead = Dead::NONE;
    dead.push(memory, table, source.charge());
    dead.clear_all::<F>(memory);
}

/// Drops a reference. Answers with the table whose last one it was.
#[inline(always)]
pub(super) fn release<F: Format, P: Policy>(
    memory: &Frames<impl Memory>,
    descriptor: Descriptor<F>,
    level: Level,
    dropped: &Dropped,
) -> Option<Last> {
    if level == Level::LAST && !descriptor.is_counted() {
        return None;
    }
    let frame = descriptor.output();
    // Asked while this reference stands, and what hangs below is frozen: afterwards it is another owner's.
    let frames = P::weigh(|| {
        let present = if descriptor.is_retired() { descriptor.restored() } else { descriptor };
        frames_behind(memory, present, level)
    });
    match gate::release(memory, frame) {
        None => {
            P::note(dropped, frames);
            None
        }
        Some(page) if level == Level::LAST => {
            P::free(memory, page, Purpose::Page);
            None
        }
        table => table,
    }
}
