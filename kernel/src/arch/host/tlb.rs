//! TLB maintenance, which reaches every core at once: see `mmu.rs`.

use super::mmu;
use graft_paging::{Reach, VirtRange};
use std::sync::atomic::{Ordering, fence};

/// Descriptors that were invalid are now valid.
pub fn publish() {
    fence(Ordering::SeqCst);
}

/// Descriptors in a range have lost permission, or lead elsewhere.
pub fn invalidate(asid: u16, range: VirtRange, reach: Reach) {
    fence(Ordering::SeqCst);
    mmu::invalidate_range(asid, range, reach);
}

/// Everything, of every address space.
pub fn invalidate_all() {
    fence(Ordering::SeqCst);
    mmu::invalidate(|_, _| true);
}
