//! What belongs to one core: its stack, its index, and room to report a fault.
//!
//! `TPIDR_EL1` holds the address of the core's [`CoreLocal`] from `prepare_core` on.

use super::{fault::FaultFrame, memory};
use aarch64_cpu::registers::{TPIDR_EL1, Writeable};
use core::{arch::asm, cell::UnsafeCell, mem::offset_of};
use graft_boot::{IMAGE_BASE, MAX_CORES, STACK_SIZE, STACK_STRIDE, STACKS_BASE};

/// Bytes of the stack on which a fault of the kernel itself is reported.
const EMERGENCY_STACK: usize = 16 << 10;

unsafe extern "C" {
    /// The level-0 table that maps nothing.
    static EMPTY_ROOT: u8;
}

/// One core's own data, laid out for the vectors.
#[repr(C, align(64))]
pub(super) struct CoreLocal {
    /// Top of the kernel stack.
    stack_top: u64,
    /// The core's index, which the vectors load with the former.
    index: u64,
    /// Top of `emergency_stack`.
    emergency_top: u64,
    /// What stands in `TTBR0_EL1` while no program runs: beside what every trap needs, it costs no cache line.
    empty_root: u64,
    /// Registers at the last exception from EL1.
    fault: FaultFrame,
    /// Used when the kernel stack may be what is broken.
    emergency_stack: EmergencyStack,
}

#[repr(align(16))]
struct EmergencyStack(#[expect(dead_code, reason = "used through the stack pointer only")] [u8; EMERGENCY_STACK]);

impl CoreLocal {
    pub(super) const STACK_TOP: usize = offset_of!(CoreLocal, stack_top);
    pub(super) const FAULT: usize = offset_of!(CoreLocal, fault);
    pub(super) const EMERGENCY_TOP: usize = offset_of!(CoreLocal, emergency_top);
}

#[repr(transparent)]
struct Slot(UnsafeCell<CoreLocal>);

// SAFETY: each slot is used by the core with its index only.
unsafe impl Sync for Slot {}

static CORES: [Slot; MAX_CORES] = [const {
    Slot(UnsafeCell::new(CoreLocal {
        stack_top: 0,
        index: 0,
        emergency_top: 0,
        empty_root: 0,
        fault: FaultFrame::ZEROED,
        emergency_stack: EmergencyStack([0; EMERGENCY_STACK]),
    }))
}; MAX_CORES];

/// Makes the calling core the one with this index.
pub(super) fn adopt(index: usize) {
    let local = CORES[index].0.get();
    // SAFETY: the slot belongs to the calling core, which does not use it yet.
    unsafe {
        (*local).stack_top = STACKS_BASE + (index as u64 + 1) * STACK_STRIDE;
        (*local).index = index as u64;
        (*local).empty_root = memory::image_to_physical(&raw const EMPTY_ROOT as u64);
        (*local).emergency_top = &raw const (*local).emergency_stack as u64 + EMERGENCY_STACK as u64;
    }
    TPIDR_EL1.set(local as u64);
}

/// The index of the calling core: 0 for the one that booted, without gaps.
#[inline(always)]
pub fn core_index() -> usize {
    let index: u64;
    // SAFETY: TPIDR_EL1 points to this core's `CoreLocal`, an element of an array of `MAX_CORES`, whose index never
    // changes after `adopt`. With the promise no use of the index as one of such an array needs a check.
    unsafe {
        asm!("mrs {0}, tpidr_el1", "ldr {0}, [{0}, #{offset}]", out(reg) index,
            offset = const offset_of!(CoreLocal, index), options(nostack, preserves_flags, pure, readonly));
        core::hint::assert_unchecked(index < MAX_CORES as u64);
    }
    index as usize
}

/// The physical address of the table that maps nothing.
#[inline(always)]
pub(super) fn empty_root() -> u64 {
    let root: u64;
    // SAFETY: TPIDR_EL1 points to this core's `CoreLocal`, where `adopt` has stored it for good.
    unsafe {
        asm!("mrs {0}, tpidr_el1", "ldr {0}, [{0}, #{offset}]", out(reg) root,
            offset = const offset_of!(CoreLocal, empty_root), options(nostack, preserves_flags, pure, readonly));
    }
    root
}

/// Whether a frame record at `address` can be the kernel's: it lies on a core's stack, an emergency stack
/// or the one that the first core starts on.
pub(super) fn is_kernel_stack(address: u64) -> bool {
    let offset = address.wrapping_sub(STACKS_BASE);
    let on_stack = offset < MAX_CORES as u64 * STACK_STRIDE && offset % STACK_STRIDE >= STACK_STRIDE - STACK_SIZE;
    let in_image = (IMAGE_BASE..IMAGE_BASE + memory::image_size() - 16).contains(&address);
    on_stack && address % STACK_STRIDE <= STACK_STRIDE - 16 || in_image
}

/// Whether nothing is mapped at `address` because it lies below a core's stack.
pub(super) fn is_stack_guard(address: u64) -> bool {
    let offset = address.wrapping_sub(STACKS_BASE);
    offset < MAX_CORES as u64 * STACK_STRIDE && offset % STACK_STRIDE < STACK_STRIDE - STACK_SIZE
}

/// Leaves the stack used so far for the core's own, which has a guard below it, and goes on with `next`.
pub fn run_on_own_stack(next: extern "C" fn() -> !) -> ! {
    let top = STACKS_BASE + (core_index() as u64 + 1) * STACK_STRIDE;
    // SAFETY: the stack is mapped and not in use; nothing on the old one is used again.
    unsafe {
        asm!("mov sp, {top}", "mov x29, xzr", "mov x30, xzr", "br {next}",
            top = in(reg) top, next = in(reg) next, options(noreturn))
    }
}
