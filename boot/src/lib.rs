//! From power-on to the kernel: exception levels, first tables, caches and MMU on, all cores.
//!
//! ```text
//!  loader ──► header.s   arm64 Image header             MMU off, wherever the loader put us
//!             entry.s    EL3, EL2 or EL1 ─► EL1
//!             tables.s   bss zeroed, first tables
//!             mmu.s      caches and MMU on ───────────► upper half, the address linked for
//!                                                        │
//!             kernel_main(device tree, image)        ◄───┤ first core
//!             secondary_main(core index)             ◄───┘ the others, when started
//! ```
//!
//! Everything up to the jump is position independent: addresses come from `adr` and `adrp`, never
//! from a literal, so the same bytes run at any page-aligned address that a loader picks. Nothing
//! before the jump takes a lock or uses an atomic: with the MMU off all memory is Device-nGnRnE and
//! exclusives have no monitor to work with (Arm ARM, "Synchronization and semaphores").

#![cfg_attr(not(test), no_std)]

mod cores;

pub use cores::{AFFINITY_MASK, Indices, Withdrawal};

/// Most cores that are used; a machine's further cores stay off.
pub const MAX_CORES: usize = 8;

/// First address of the kernel image, as in `link.ld`.
pub const IMAGE_BASE: u64 = 0xFFFF_FFFF_8000_0000;

/// First address of the window that holds the kernel stacks, one per core.
///
/// Each core has [`STACK_STRIDE`] bytes of it; only the upper [`STACK_SIZE`] of these are mapped. What
/// lies below is the guard: a stack that overflows causes a translation fault and does not reach its neighbour.
pub const STACKS_BASE: u64 = 0xFFFF_FFF0_0000_0000;
/// Bytes from one core's stack to the next.
pub const STACK_STRIDE: u64 = 64 << 10;
/// Bytes of each core's stack that are mapped.
pub const STACK_SIZE: u64 = 32 << 10;

/// Every core's index, which the kernel offers before it starts the core.
///
/// A core finds its index, and with it its stack, by looking its own affinity up. It does so with the MMU on, so that
/// neither side needs cache maintenance.
#[unsafe(no_mangle)]
pub static CORE_INDICES: Indices<MAX_CORES> = Indices::new();

#[cfg(target_os = "none")]
mod assembly {
    use super::*;
    use core::arch::global_asm;
    use graft_paging::{AArch64, Frame, KernelEntry, Leaf, Level, Mapping};

    /// The descriptor of a page at physical address 0.
    const fn page(mapping: Mapping) -> u64 {
        AArch64::kernel_descriptor(KernelEntry::Leaf(Leaf { frame: Frame(0), mapping }), Level::LAST)
    }

    global_asm!(include_str!("header.s"));
    global_asm!(include_str!("entry.s"));
    global_asm!(
        include_str!("tables.s"),
        TABLE = const AArch64::kernel_descriptor(KernelEntry::Table(Frame(0)), Level::ROOT),
        TEXT = const page(Mapping::ReadExecute),
        READ_ONLY = const page(Mapping::ReadOnly),
        READ_WRITE = const page(Mapping::ReadWrite),
    );
    global_asm!(
        include_str!("mmu.s"),
        MAIR = const AArch64::MAIR,
        AFFINITY_MASK = const AFFINITY_MASK,
        OFFERED = const cores::OFFERED,
        MAX_CORES = const MAX_CORES,
        STACKS_BASE = const STACKS_BASE,
        STACK_STRIDE = const STACK_STRIDE,
    );

    unsafe extern "C" {
        safe fn secondary_entry();
    }

    /// Where a core that was switched off begins, as an address in the image as linked.
    ///
    /// Firmware wants the physical address, with the MMU off, at any exception level.
    pub fn secondary_entry_address() -> u64 {
        secondary_entry as *const () as u64
    }
}

#[cfg(target_os = "none")]
pub use assembly::secondary_entry_address;
