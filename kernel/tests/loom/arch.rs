//! What `kernel/src/arch` is for the kernel.

use std::cell::Cell;

pub const MAX_CORES: usize = 3;

loom::thread_local! {
    static CORE: Cell<usize> = Cell::new(0);
}

/// Makes the calling thread a core.
pub fn adopt(index: usize) {
    CORE.with(|core| core.set(index));
}

pub fn core_index() -> usize {
    CORE.with(Cell::get)
}

/// # Safety
/// As the function's with these arguments.
pub unsafe fn aside<T>(
    function: unsafe extern "C" fn(*const T, u64) -> *const (),
    subject: *const T,
    argument: u64,
) -> *const () {
    // SAFETY: the caller's.
    unsafe { function(subject, argument) }
}

pub fn relax() {
    loom::thread::yield_now();
}

pub fn stall() {}

/// A thread's registers: what its call has been answered with.
#[derive(Debug, Default)]
pub struct Context {
    pub results: [u64; 2],
}

impl Context {
    pub fn set_result(&mut self, result: u64) {
        self.results[0] = result;
    }

    pub fn set_results(&mut self, results: [u64; 2]) {
        self.results = results;
    }

    pub fn advance(&mut self) {}
}

pub mod interrupts {
    /// A thread that runs meets the mark of its process by itself, at the latest when this arrives.
    pub fn wake(_core: usize) {}
}

pub mod timer {
    /// Every moment is over that a thread has been given as a deadline.
    pub fn now() -> u64 {
        1_000
    }
}
