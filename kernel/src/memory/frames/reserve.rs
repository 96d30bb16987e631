//! The reserve: the last free frames, which are for the pages of processes that are in no job.
//!
//! Those are the servers, the shell and what starts them, and what they lack when others have used up the memory is
//! mostly a page that they have had since they began, and that a snapshot or a fork shares with them. Without it they
//! would be ended. A call that is refused for want of memory is told so, and the caller decides.
//!
//! The limit is where frames leave the depot, as with those that are committed, and costs an ordinary allocation
//! nothing.

use crate::arch::{self, MAX_CORES};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of so many frames of the machine's one is kept back; not more than so many, and none of fewer than these.
const PART: u64 = 128;
const MOST: u64 = 2048;
const LEAST: u64 = 4096;

static SIZE: AtomicU64 = AtomicU64::new(0);
/// Which cores may take from it at this moment, each for what it does in the kernel without interrupts.
static OPEN: [AtomicBool; MAX_CORES] = [const { AtomicBool::new(false) }; MAX_CORES];

/// Keeps back a part of so many frames.
pub(super) fn set_aside(frames: u64) {
    let size = if frames < LEAST { 0 } else { (frames / PART).min(MOST) };
    SIZE.store(size, Ordering::Relaxed);
}

/// Frames that are kept back.
pub(super) fn size() -> u64 {
    SIZE.load(Ordering::Relaxed)
}

/// Whether the calling core may take them now.
pub(super) fn is_open() -> bool {
    OPEN[arch::core_index()].load(Ordering::Relaxed)
}

/// Does something that may take frames that are kept back.
#[cold]
pub fn with_reserve<R>(does: impl FnOnce() -> R) -> R {
    let open = &OPEN[arch::core_index()];
    open.store(true, Ordering::Relaxed);
    let result = does();
    open.store(false, Ordering::Relaxed);
    result
}
