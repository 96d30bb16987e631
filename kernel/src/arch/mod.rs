//! What an architecture brings: this page is the contract, and the rest of the kernel uses no name that it does not
//! list.
//!
//! Three rules. Outside this room there is no register, no assembly, no exception class and no descriptor bit. This
//! room imports nothing from the rest of the kernel; what it must call back it is given (`given.rs`, `entries`). Every
//! law below is kept by every architecture: [`aarch64`](https://developer.arm.com/documentation/ddi0487) on the boards,
//! `host` where threads are cores and an allocation is memory.
//!
//! | name | law |
//! |---|---|
//! | [`Context`] | the registers of a thread that is not running. [`new_user`](Context::new_user) begins one in user space with interrupts on; [`copy_to`](Context::copy_to) gives another thread the same; [`call_number`](Context::call_number) and [`arguments`](Context::arguments) are what a call was made with; [`rewind`](Context::rewind) makes the call come again and precedes every result, because a result may lie where the number was; [`advance`](Context::advance) takes it back. [`message`](Context::message), [`lent`](Context::lent), [`deadline`](Context::deadline), [`set_message`](Context::set_message) and [`set_handle`](Context::set_handle) are for calls that carry one. [`to_words`](Context::to_words) and [`set_words`](Context::set_words) are what a supervisor sees and changes: never the mode |
//! | [`Context::ENTRY_ALIGNMENT`], [`Context::STACK_ALIGNMENT`] | of a first instruction, and of a stack pointer there |
//! | [`resume`] | leaves the kernel for a thread. The core comes back through the two functions that `entries` is given: one answers calls, one every other [`Trap`] |
//! | [`Trap`], [`Failure`], [`Cause`] | why a thread has entered the kernel, in neutral words. An access that a descriptor denied is never decided here: the tree may have an answer |
//! | [`Format`] | the descriptors that this processor's tables are made of |
//! | [`is_kernel_half`] | which addresses no program may ever use |
//! | `core_index`, [`MAX_CORES`] | the calling core's number: from 0, without gaps, the same for as long as the machine runs |
//! | `stall` | nothing on boards. The host may hold the core up here, as a host does with a processor of a virtual machine: between two steps of a protocol, so that its tests meet orders that are rare |
//! | `aside` | calls a function as if it changed no register but its result's, so that a call that is rarely made has none saved where it is not made |
//! | `relax`, `wait_for_interrupt` | a core that waits for another; a core that has nothing to do. An interrupt that is pending ends the wait even if it came before |
//! | `memory::direct` | where the kernel finds a byte of RAM, at the same address for good |
//! | `memory::references`, `memory::counts` | two arrays with an element for each frame of RAM, zero at first |
//! | `memory::zero_page`, `memory::copy_page` | whole pages; user registers are what they were |
//! | `memory::load_line`, `memory::store_line` | eight descriptors, each as one relaxed atomic access, in any order |
//! | `memory::claims_lines`, `memory::claim_line` | whether a line can be put into the cache before it is written, without fetching it; puts it there. What the line then holds is undefined |
//! | `memory::synchronise_instructions` | afterwards a fetch finds what was stored, on every core |
//! | `mmu::activate`, `mmu::deactivate` | which tables this core translates user addresses through, and under which identifier; afterwards none |
//! | `mmu::asid_bits` | how many identifiers there are. One that is used for another space may hit what a TLB has kept: `memory/asid.rs` sees to that |
//! | `tlb::publish` | new descriptors are visible to walks |
//! | `tlb::invalidate`, `tlb::invalidate_all` | no core uses what the descriptors were, nor is in the middle of an access that used it |
//! | `interrupts` | `acknowledge` and `finish` one after the other on one core; `wake` makes another core take one, and it sees what was stored before |
//! | `interrupts::lines`, `set_trigger`, `mask`, `unmask` | the lines of devices, from 0. What comes on a line while it is masked is not lost: it comes when the line is unmasked, an edge once, a level if it is still high |
//! | `timer` | `now` in nanoseconds never runs back; `counts` are cheaper, for differences, which `to_nanoseconds` turns into those; `set_deadline` interrupts at the moment or after, never before; `clear` takes it back |
//! | `floating_point` | off until `enable`; `save`, `restore` and `scrub` whole states |
//! | `power::exit`, `power::reset` | ends the machine with a code, or starts it anew |
//!
//! For boards alone: `prepare_first_core`, `run_on_own_stack`, `start_core` and its neighbours bring the cores here;
//! `kernel_map` maps RAM and devices for the kernel (its tables are `graft_paging::KernelMap`'s), `memory::probe` reads
//! a word that may not be there; `FaultFrame`, `frame_pointer`, `backtrace` and `symbol` are for a report of the
//! kernel's own fault, `stop_others` and `stop` for what follows it, `write_to_debugger` for when there is no console.

#[cfg(target_os = "none")]
mod given;
mod trap;
mod trigger;

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod aarch64;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
pub use aarch64::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::*;

/// From AArch64's syndrome register to a trap.
#[path = "aarch64/exception.rs"]
#[cfg(any(test, target_os = "none"))]
mod exception;
/// Arithmetic of AArch64 that the host tests, and that the comparison of architectures uses.
#[path = "aarch64/invalidation.rs"]
pub mod invalidation;

#[cfg(target_os = "none")]
pub(crate) use exception::decode;
pub use trap::{Cause, Failure, Trap};
pub use trigger::Trigger;

/// Whether no program may ever use this address: it lies in the upper half, which both architectures keep for the
/// kernel.
pub const fn is_kernel_half(address: u64) -> bool {
    address >> 63 == 1
}

// The call interface promises no address that the processor would not translate.
const _: () = assert!(graft_abi::USER_END as u64 <= 1 << graft_paging::ADDRESS_BITS);

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysRange {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
}

impl PhysRange {
    /// Bytes.
    pub const fn size(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` lies within.
    pub const fn contains(self, other: PhysRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}
