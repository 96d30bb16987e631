//! Exit: dropping references, and what nobody refers to any more.

use crate::gate;
use crate::{AddressSpace, Format, Frame, Level, Memory, Purpose, Reach, Tlb, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Ends the space. No core may run in it any more, nor hold its root in a translation-table base register.
    ///
    /// Drops one reference to every shared table it reaches and copies nothing.
    pub fn destroy(self, tlb: &impl Tlb) {
        // Drop after flush: a walk cache may still lead into these tables.
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
        if gate::release(&self.memory, self.root()) {
            free_table::<F>(&self.memory, self.root(), Level::ROOT);
        }
    }
}

/// Drops the reference that a present descriptor of this level held. Every TLB has forgotten the descriptor.
pub(crate) fn release_entry<F: Format>(memory: &impl Memory, raw: u64, level: Level) {
    let frame = F::output(raw);
    if level != Level::LAST {
        if gate::release(memory, frame) {
            free_table::<F>(memory, frame, level.below());
        }
    } else if F::is_counted(raw) && gate::release(memory, frame) {
        memory.free(frame, Purpose::Page);
    }
}

/// Frees a table whose last reference is gone, after the references that its entries hold.
///
/// The children's counts decide, not this table's: a child may have gained another owner when a table above it was split.
pub(crate) fn free_table<F: Format>(memory: &impl Memory, table: Frame, level: Level) {
    let bounds = memory.counts(table).bounds();
    if level == Level::LAST {
        for index in bounds {
            // Also where it has been retired: it still holds its reference.
            let raw = memory.load(table, index);
            if F::is_counted(raw) && gate::release(memory, F::output(raw)) {
                memory.free(F::output(raw), Purpose::Page);
            }
        }
    } else {
        for index in bounds {
            let raw = memory.load(table, index);
            if (F::is_present(raw) || F::is_retired(raw)) && gate::release(memory, F::output(raw)) {
                free_table::<F>(memory, F::output(raw), level.below());
            }
        }
    }
    memory.free(table, Purpose::Table);
}
