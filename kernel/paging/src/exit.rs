//! Exit: dropping references, and what nobody refers to any more.

use crate::gate;
use crate::{AddressSpace, ENTRIES, Format, Frame, Level, Memory, Purpose, Reach, Tlb, VirtRange};

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// Ends the space. No core may run in it any more, nor hold its root in a translation-table base register.
    ///
    /// Drops one reference to every shared table it reaches and copies nothing.
    pub fn destroy(self, tlb: &impl Tlb) {
        // Drop after flush: a walk cache may still lead into these tables.
        tlb.invalidate(VirtRange::ALL, Reach::Tables);
        self.abandon();
    }

    /// Ends a space that no core ever ran in, so that no TLB knows it.
    pub(crate) fn abandon(self) {
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
    let mut left = memory.counts(table).live();
    for index in 0..ENTRIES {
        if left == 0 {
            break;
        }
        let raw = memory.load(table, index);
        if raw == 0 {
            continue;
        }
        left -= 1;
        // A retired entry below a retired table still holds its reference.
        if F::is_present(raw) || F::is_retired(raw) {
            release_entry::<F>(memory, raw, level);
        }
    }
    memory.free(table, Purpose::Table);
}
