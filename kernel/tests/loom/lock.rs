//! A lock with the interface of the kernel's, which is explored by itself: one that blocks, so that waiting for it is
//! no step of a model.

use std::cell::{OnceCell, UnsafeCell};
use std::ops::{Deref, DerefMut};

/// A value that one core uses at a time.
#[derive(Debug)]
pub struct Mutex<T> {
    word: OnceCell<loom::sync::Mutex<()>>,
    value: UnsafeCell<T>,
}

// SAFETY: the word lets one core in at a time. It is made by the first one, which is no step of the model, and all
// threads of a model are one thread of the host.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Mutex<T> {}

/// What shows that a core holds a lock, and gives it back.
pub struct MutexGuard<'a, T> {
    value: &'a mut T,
    _word: loom::sync::MutexGuard<'a, ()>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { word: OnceCell::new(), value: UnsafeCell::new(value) }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        let word = self.word.get_or_init(|| loom::sync::Mutex::new(())).lock().expect("no core fails with a lock");
        // SAFETY: the word is held.
        MutexGuard { value: unsafe { &mut *self.value.get() }, _word: word }
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    pub fn as_ptr(&self) -> *const T {
        self.value.get()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}
