//! What `kernel/src/object/parting.rs` is for the kernel, once for each execution.

use crate::arch::MAX_CORES;
use crate::sync::{AtomicUsize, Ordering};
use std::cell::Cell;
use std::ptr;

pub(super) struct Parting {
    pub(super) grave: Cell<*mut ()>,
    pub(super) leaving: AtomicUsize,
}

// SAFETY: `grave` is used by the core with its index only.
unsafe impl Sync for Parting {}

pub(super) const CLOSED: *mut () = ptr::null_mut();
pub(super) const EMPTY: *mut () = ptr::without_provenance_mut(1);

loom::lazy_static! {
    pub(super) static ref PARTING: [Parting; MAX_CORES] =
        [const { Parting { grave: Cell::new(CLOSED), leaving: AtomicUsize::new(0) } }; MAX_CORES];
}

/// Begins an execution.
pub fn begin() {
    PARTING.iter().for_each(|core| core.leaving.store(0, Ordering::Relaxed));
}
