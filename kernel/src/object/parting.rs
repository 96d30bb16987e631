//! What each core is about to let go of.

use crate::arch::MAX_CORES;
use crate::sync::AtomicUsize;
use core::cell::Cell;
use core::ptr;

/// What one core lets go of, in one cache line: the end of a process needs both.
#[repr(align(128))]
pub(super) struct Parting {
    /// What it has still to drop: the header of the first object of a list, or one of two marks.
    pub(super) grave: Cell<*mut ()>,
    /// The end that it has told and whose object it is about to let go of; 0 if none. See [`end`](super::end).
    pub(super) leaving: AtomicUsize,
}

// SAFETY: `grave` is used by the core with its index only, which is never interrupted in the kernel.
unsafe impl Sync for Parting {}

/// The core is dropping no object.
pub(super) const CLOSED: *mut () = ptr::null_mut();
/// The core is dropping an object, and none waits for that.
pub(super) const EMPTY: *mut () = ptr::without_provenance_mut(1);

pub(super) static PARTING: [Parting; MAX_CORES] =
    [const { Parting { grave: Cell::new(CLOSED), leaving: AtomicUsize::new(0) } }; MAX_CORES];
