//! What an edit has taken away, once the TLBs have forgotten it.

use super::Slot;
use crate::commit::Ledger;
use crate::exit::{Dead, release_entry};
use crate::gate::{Exclusive, Frames};
use crate::{Descriptor, Entry, Format, Level, Memory, VirtRange};

/// The reservation that stands for a page whose content is given up.
pub(super) fn forgotten<F: Format>(descriptor: Descriptor<F>) -> Descriptor<F> {
    let Entry::Page(page) = descriptor.entry(Level::LAST) else { unreachable!("only pages are forgotten") };
    Descriptor::new(Entry::Reserved(page.untouched()), Level::LAST)
}

/// Empties every retired slot in the range, or restores its reservation, and drops the reference that it held. The TLBs
/// have forgotten them.
pub(super) fn sweep<F: Format>(
    memory: &Frames<impl Memory>,
    table: &mut Exclusive<F>,
    base: u64,
    range: VirtRange,
    forget: bool,
    ledger: &Ledger,
    dead: &mut Dead,
) {
    let level = table.level();
    for slot in Slot::of(level, base, range) {
        let index = slot.index;
        let descriptor = table.load(memory, index);
        if descriptor.is_retired() {
            sweep_slot(memory, table, index, forget, ledger, dead);
        } else if level != Level::LAST
            && descriptor.is_present()
            && let Some(mut child) = table.child(memory, index)
        {
            sweep(memory, &mut child, slot.start(), range, forget, ledger, dead);
        }
    }
}

/// The same of one slot, which is retired.
#[inline(always)]
pub(super) fn sweep_slot<F: Format>(
    memory: &Frames<impl Memory>,
    table: &mut Exclusive<F>,
    index: usize,
    forget: bool,
    ledger: &Ledger,
    dead: &mut Dead,
) {
    let descriptor = table.load(memory, index).restored();
    if forget {
        table.store(memory, index, forgotten(descriptor));
    } else {
        table.remove(memory, index);
    }
    release_entry(memory, descriptor, table.level(), ledger, dead);
}
