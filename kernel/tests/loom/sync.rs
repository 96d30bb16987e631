//! What `kernel/src/sync.rs` is for the kernel.

pub use crate::lock::Mutex;
pub use loom::sync::atomic::{Ordering, fence};
use std::cell::OnceCell;
use std::ops::Deref;

/// Atomics of loom's that a constant can be, as the kernel's are: each is made when it is used for the first time. To
/// loom that is a store like any other, so it has to be before a second core knows of it.
macro_rules! atomics {
    ($($name:ident: $value:ty;)*) => {$(
        #[derive(Debug)]
        pub struct $name($value, OnceCell<loom::sync::atomic::$name>);

        // SAFETY: all threads of a model are one thread of the host, and making an atomic is no step of the model.
        unsafe impl Send for $name {}
        // SAFETY: as above.
        unsafe impl Sync for $name {}

        impl $name {
            pub const fn new(value: $value) -> Self {
                $name(value, OnceCell::new())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                self.1.get_or_init(|| loom::sync::atomic::$name::new(self.0))
            }
        }
    )*};
}

atomics! {
    AtomicU8: u8;
    AtomicU32: u32;
    AtomicU64: u64;
    AtomicUsize: usize;
}

/// What one core owns at a time: loom sees to it that whatever one core has done there comes before what the next one
/// does.
#[derive(Debug)]
pub struct Owned<T>(loom::cell::UnsafeCell<T>);

impl<T> Owned<T> {
    pub fn new(value: T) -> Self {
        Owned(loom::cell::UnsafeCell::new(value))
    }

    /// As `UnsafeCell::get`, and a use of it at this moment.
    pub fn get(&self) -> *mut T {
        self.0.with_mut(|value| value)
    }
}
