//! The host in place of a machine: threads are cores, an allocation is memory.
//!
//! A core is a host thread that has called [`adopt`]. Interrupts between cores are a flag and an unparked thread.

mod context;
pub mod floating_point;
pub mod interrupts;
pub mod memory;
pub mod mmu;
pub mod power;
pub mod processor;
pub mod timer;
pub mod tlb;

pub(crate) use context::entries;
pub use context::{Context, Entries};
pub use graft_boot::MAX_CORES;
pub use graft_paging::AArch64 as Format;
pub use processor::resume;

use std::cell::Cell;
use std::thread_local;

thread_local! {
    static CORE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Makes the calling thread the core with this index.
pub fn adopt(index: usize) {
    assert!(index < MAX_CORES);
    CORE.set(Some(index));
    interrupts::adopt(index);
}

/// The index of the calling core.
///
/// # Panics
/// The thread is no core.
pub fn core_index() -> usize {
    CORE.get().expect("a host thread becomes a core by `adopt`")
}

/// Now and then, lets other cores go first for a while.
pub fn stall() {
    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }
    if cfg!(miri) {
        return;
    }
    // Not the same sequence for every core, nor for every test.
    let step = STEPS.get().wrapping_add(1);
    STEPS.set(step);
    let number = (step ^ (CORE.get().unwrap_or(0) as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    if number.is_multiple_of(512) {
        std::thread::sleep(std::time::Duration::from_micros(30));
    } else if number.is_multiple_of(16) {
        std::thread::yield_now();
    }
}

/// Calls a function: a host counts no instructions.
///
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

/// A hint that this core only waits for another one.
pub fn relax() {
    std::thread::yield_now();
}

/// Stops the core until an interrupt is pending.
pub fn wait_for_interrupt() {
    interrupts::wait();
}
