//! What is cut off a tree and not freed at once: each core has a list of it, which its threads free in pieces.

#![forbid(unsafe_code)]

use crate::arch::{self, MAX_CORES};
use crate::lock::Mutex;
use crate::memory::kernel_memory::{Debris, KernelMemory};
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};

/// What each core has left to be freed. Its own threads free it: the one whose call has left it, or the last one of a
/// process that has ended.
static LEFT: [Left; MAX_CORES] =
    [const { Left { any: AtomicBool::new(false), debris: Mutex::new(Debris::none(KernelMemory)) } }; MAX_CORES];

#[repr(align(64))]
struct Left {
    any: AtomicBool,
    debris: Mutex<Debris>,
}

/// Leaves debris to this core.
#[inline(always)]
pub fn leave(debris: Debris) {
    if !debris.is_empty() {
        leave_some(debris);
    }
}

#[cold]
fn leave_some(debris: Debris) {
    let left = &LEFT[arch::core_index()];
    left.debris.lock().append(debris);
    left.any.store(true, Ordering::Relaxed);
}

/// Whether something has been left to this core.
#[inline(always)]
pub fn has_left() -> bool {
    LEFT[arch::core_index()].any.load(Ordering::Relaxed)
}

/// Takes over what has been left to this core.
pub fn take_left() -> Debris {
    let left = &LEFT[arch::core_index()];
    left.any.store(false, Ordering::Relaxed);
    mem::replace(&mut *left.debris.lock(), Debris::none(KernelMemory))
}
