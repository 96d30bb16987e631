//! TLB maintenance, broadcast to every core in the inner-shareable domain.
//!
//! Each operation is the whole sequence of the Arm ARM, "TLB maintenance instructions", for stores
//! to descriptors made before the call:
//!
//! ```text
//! DSB ISHST   the stores are visible to the table walks of every core
//! TLBI …IS    entries go, on every core
//! DSB ISH     they are gone, and what used them has finished
//! ISB         this core forgets what it fetched through them
//! ```
//!
//! `DSB ISH` waits for accesses of other cores that used an old translation, which is what makes it
//! right to drop a reference to a frame afterwards, and not before.

use crate::arch::invalidation::{self, Instruction};
use aarch64_cpu::registers::{ID_AA64ISAR0_EL1, Readable};
use core::arch::asm;
use graft_paging::{PAGE_BITS, Reach, VirtRange};

/// Descriptors that were invalid are now valid: a core that faults and retries will see them.
///
/// No invalidation: TLBs do not hold invalid descriptors (Arm ARM, "Translation faults are not cached").
#[inline(always)]
pub fn publish() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Descriptors in a range have lost permission, or lead elsewhere; how far that reaches, `reach` says.
#[inline(always)]
pub fn invalidate(asid: u16, range: VirtRange, reach: Reach) {
    if range.pages() == 1 {
        between_barriers(|| execute(invalidation::of_page(asid, range.start() >> PAGE_BITS, reach)));
    } else if range == VirtRange::ALL {
        between_barriers(|| execute(invalidation::of_space(asid)));
    } else {
        invalidate_several(asid, range, reach);
    }
}

#[inline(never)]
fn invalidate_several(asid: u16, range: VirtRange, reach: Reach) {
    between_barriers(|| invalidation::invalidate(asid, range, reach, has_ranges, execute));
}

#[inline(always)]
fn between_barriers(invalidate: impl FnOnce()) {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    invalidate();
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

#[inline(always)]
fn execute(instruction: Instruction) {
    // SAFETY: an invalidation costs time, never correctness. RVAE1IS, written by its encoding, is asked for only where
    // there is FEAT_TLBIRANGE.
    unsafe {
        match instruction {
            Instruction::Leaf(page) => asm!("tlbi vale1is, {}", in(reg) page, options(nostack, preserves_flags)),
            Instruction::Page(page) => asm!("tlbi vae1is, {}", in(reg) page, options(nostack, preserves_flags)),
            Instruction::Pages(pages) => {
                asm!("sys #0, c8, c2, #1, {}", in(reg) pages, options(nostack, preserves_flags))
            }
            Instruction::Space(asid) => asm!("tlbi aside1is, {}", in(reg) asid, options(nostack, preserves_flags)),
        }
    }
}

/// Everything, of every address space and of the kernel.
pub fn invalidate_all() {
    // SAFETY: an invalidation costs time, never correctness.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// FEAT_TLBIRANGE.
fn has_ranges() -> bool {
    ID_AA64ISAR0_EL1.get() >> 56 & 0xF >= 2
}
