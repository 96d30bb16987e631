//! The kernel's protocols between cores, under loom: every interleaving and every value that a load may return.
//!
//! The files are the kernel's own, compiled a second time with loom's atomics. `make loom` runs them; otherwise this
//! crate is empty.
#![cfg(loom)]

#[path = "../../src/memory/asid.rs"]
#[expect(dead_code, reason = "the kernel uses the rest of it")]
mod asid;

#[cfg(test)]
mod identifiers;

/// What `kernel/src/sync.rs` is for the kernel.
mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering};

    /// A lock with the interface of the kernel's.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no thread panics with the lock")
        }
    }
}
