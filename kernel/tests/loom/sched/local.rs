//! One core: the thread that it runs, and its sleepers.

use crate::arch::MAX_CORES;
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::heap::Heap;
use crate::object::thread::Thread;
use crate::sync::{AtomicU64, Ordering};
use std::cell::Cell;

pub struct Core {
    pub own: Own,
    pub(super) sleepers: Mutex<Heap<Ref<Thread>>>,
    pub(super) first_wake: AtomicU64,
}

pub struct Own {
    pub current: Current,
}

/// The thread that a core runs.
pub struct Current(Cell<Option<Ref<Thread>>>);

impl Current {
    pub fn get(&self) -> Option<Ref<Thread>> {
        let thread = self.0.take();
        let another = thread.clone();
        self.0.set(thread);
        another
    }

    pub fn set(&self, thread: Option<Ref<Thread>>) {
        self.0.set(thread);
    }
}

// SAFETY: `own` is used by the core with this index only; everything else is atomic or locked.
unsafe impl Sync for Core {}

loom::lazy_static! {
    pub static ref CORES: [Core; MAX_CORES] = [const {
        Core {
            own: Own { current: Current(Cell::new(None)) },
            sleepers: Mutex::new(Heap::new()),
            first_wake: AtomicU64::new(super::NEVER),
        }
    }; MAX_CORES];
}

impl Core {
    pub(super) fn leave(&self) -> Option<Ref<Thread>> {
        self.own.current.0.take()
    }

    pub(super) fn set_timer(&self) {}

    /// Whether it has sleepers.
    pub fn has_sleepers(&self) -> bool {
        self.sleepers.lock().first_key().is_some()
    }
}

/// Begins an execution.
pub fn begin() {
    for core in CORES.iter() {
        assert!(!core.has_sleepers());
        core.first_wake.store(super::NEVER, Ordering::Relaxed);
    }
}
