//! Exit: dropping references, and what nobody refers to any more.

use crate::commit::{Entries, Ledger, Repaid, Unpaid, frames_behind};
use crate::gate::{self, Exclusive, Frames, Last};
use crate::{AddressSpace, Format, Level, Memory, Purpose, Reach, Tlb, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Ends the space. No core may run in it any more, nor hold its root in a translation-table base register.
    ///
    /// Drops one reference to every shared table it reaches and copies nothing.
    pub fn destroy(mut self, tlb: &impl Tlb) {
        // Drop after flush: a walk cache may still lead into these tables.
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
        if let Some(root) = self.take_root() {
            self.dismantle(root);
        }
    }

    fn dismantle(&self, root: Exclusive<F>) {
        let ledger = self.commit.ledger();
        free_table(&self.memory, root, &ledger);
        ledger.settle(&self.memory);
    }
}

/// A space that is dropped is destroyed, at the price of everything that the TLBs know.
impl<F: Format, M: Memory> Drop for AddressSpace<F, M> {
    fn drop(&mut self) {
        if let Some(root) = self.take_root() {
            self.memory.invalidate_all();
            self.dismantle(root);
        }
    }
}

/// Drops the reference that a present descriptor of this level held. Every TLB has forgotten the descriptor.
#[inline(always)]
pub(crate) fn release_entry<F: Format>(memory: &Frames<impl Memory>, raw: u64, level: Level, ledger: &Ledger) {
    match ledger {
        Ledger::Unpaid => release::<F>(memory, raw, level, &Unpaid),
        paid => release_paid_entry::<F>(memory, raw, level, paid),
    }
}

#[cold]
fn release_paid_entry<F: Format>(memory: &Frames<impl Memory>, raw: u64, level: Level, ledger: &Ledger) {
    match ledger {
        Ledger::Unpaid => {}
        Ledger::Paid(dropped) => release::<F>(memory, raw, level, dropped),
        Ledger::Repaid => release::<F>(memory, raw, level, &Repaid),
    }
}

/// Frees a table that its holder alone reaches, after the references that its entries hold.
pub(crate) fn free_table<F: Format>(memory: &Frames<impl Memory>, table: Exclusive<F>, ledger: &Ledger) {
    let (level, table) = (table.level(), table.unlinked());
    match ledger {
        Ledger::Unpaid => free::<F>(memory, table, level, &Unpaid),
        Ledger::Paid(dropped) => free::<F>(memory, table, level, dropped),
        Ledger::Repaid => free::<F>(memory, table, level, &Repaid),
    }
}

#[inline(always)]
fn release<F: Format>(memory: &Frames<impl Memory>, raw: u64, level: Level, entries: &impl Entries) {
    if level == Level::LAST && !F::is_counted(raw) {
        return;
    }
    let frame = F::output(raw);
    // Asked while this reference stands, and what hangs below is frozen: afterwards it is somebody else's.
    let frames = entries.weigh(|| {
        let present = if F::is_retired(raw) { F::restore(raw) } else { raw };
        frames_behind::<F>(memory, present, level)
    });
    match gate::release(memory, frame) {
        None => entries.dropped(frames),
        Some(page) if level == Level::LAST => entries.free(memory, page, Purpose::Page),
        Some(table) => free::<F>(memory, table, level.below(), entries),
    }
}

/// The children's counts decide, not this table's: a child may have gained another owner when a table above it was split.
fn free<F: Format>(memory: &Frames<impl Memory>, table: Last, level: Level, entries: &impl Entries) {
    for index in memory.counts(table.frame()).bounds() {
        let raw = memory.load(table.frame(), index);
        // Also where it has been retired: it still holds its reference.
        if level == Level::LAST || F::is_present(raw) || F::is_retired(raw) {
            release::<F>(memory, raw, level, entries);
        }
    }
    entries.free(memory, table, Purpose::Table);
}
