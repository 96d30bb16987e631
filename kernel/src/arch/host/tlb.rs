//! TLB maintenance. The host's cores translate by a walk each time: they keep nothing.

use graft_paging::{Reach, VirtRange};
use std::sync::atomic::{Ordering, fence};

/// Descriptors that were invalid are now valid.
pub fn publish() {
    fence(Ordering::SeqCst);
}

/// Descriptors in a range have lost permission, or lead elsewhere.
pub fn invalidate(_asid: u16, _range: VirtRange, _reach: Reach) {
    fence(Ordering::SeqCst);
}

/// Everything, of every address space.
pub fn invalidate_all() {
    fence(Ordering::SeqCst);
}
