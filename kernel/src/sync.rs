//! Atomics, barriers and a lock, for protocols between cores that a model checker runs as they are
//! (`kernel/tests/loom`), with its own in the place of these.

pub use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub use spin::Mutex;
