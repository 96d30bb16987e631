//! AArch64, EL1: exceptions, translation, TLBs, caches, interrupts, time, power.
//!
//! The kernel runs with interrupts masked from its first instruction to its last. A trap from EL0
//! enters on the core's one kernel stack, does its work and resumes some thread's [`Context`];
//! an exception from EL1 is a bug in the kernel (see `fault.rs`).

mod aside;
mod backtrace;
mod context;
mod core_local;
mod cores;
mod fault;
pub mod floating_point;
mod gicv2;
mod gicv3;
pub mod interrupts;
pub mod kernel_map;
pub mod memory;
pub mod mmu;
pub mod power;
mod registers;
mod semihosting;
mod symbols;
pub mod timer;
pub mod tlb;
mod vectors;

pub use aside::aside;
pub use backtrace::{backtrace, frame_pointer};
pub use context::{Context, resume};
pub use core_local::{core_index, run_on_own_stack};
pub use cores::{
    PATIENCE, StartMethod, is_this_core, online as online_cores, release as release_cores, start_core, stop,
    stop_others, wait_for_first_core,
};
pub use fault::FaultFrame;
pub use graft_boot::MAX_CORES;
pub use graft_paging::AArch64 as Format;
pub use semihosting::write as write_to_debugger;
pub use symbols::find as symbol;
pub(crate) use vectors::entries;

/// Prepares the first core for Rust code that may panic: vectors and what belongs to a core.
pub fn prepare_first_core(image: u64) {
    memory::set_image_address(image);
    registers::prepare_core(0);
    cores::enter_first_core();
}

/// Nothing, see the contract.
#[inline(always)]
pub fn stall() {}

/// A hint that this core only waits for another one.
#[inline(always)]
pub fn relax() {
    // SAFETY: a hint (Arm ARM, "YIELD").
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
}

/// Stops the core until an interrupt is pending, masked or not.
///
/// The barrier completes every earlier store first, so that nothing waits in a buffer while the core
/// sleeps.
#[inline(always)]
pub fn wait_for_interrupt() {
    aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
    aarch64_cpu::asm::wfi();
}
