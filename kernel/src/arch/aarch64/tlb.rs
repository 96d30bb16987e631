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

use aarch64_cpu::registers::{ID_AA64ISAR0_EL1, Readable};
use core::{arch::asm, ops::Range};

/// Descriptors that were invalid are now valid: a core that faults and retries will see them.
///
/// No invalidation: TLBs do not hold invalid descriptors (Arm ARM, "Translation faults are not cached").
#[inline(always)]
pub fn publish() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

macro_rules! invalidate {
    ($operation:literal, $argument:expr) => {
        // SAFETY: an invalidation costs time, never correctness.
        unsafe {
            asm!("dsb ishst", concat!("tlbi ", $operation, ", {}"), "dsb ish", "isb", in(reg) $argument,
                options(nostack, preserves_flags));
        }
    };
}

/// The argument of the by-address forms: ASID in bits 63–48, VA\[55:12\] in bits 43–0.
const fn by_address(asid: u16, address: u64) -> u64 {
    (asid as u64) << 48 | address >> 12 & 0xFFF_FFFF_FFFF
}

/// The leaf for one page changed. Walk caches keep what led to it.
#[inline(always)]
pub fn invalidate_leaf(asid: u16, address: u64) {
    invalidate!("vale1is", by_address(asid, address));
}

/// Any descriptor on the way to one page changed, and no other page below it is affected.
#[inline(always)]
pub fn invalidate_walk(asid: u16, address: u64) {
    invalidate!("vae1is", by_address(asid, address));
}

/// Everything about an address space.
#[inline(always)]
pub fn invalidate_asid(asid: u16) {
    invalidate!("aside1is", u64::from(asid) << 48);
}

/// Everything, of every address space and of the kernel.
pub fn invalidate_all() {
    // SAFETY: an invalidation costs time, never correctness.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Descriptors of any level that lead to pages of a range changed. Page-aligned.
///
/// A few pages go one by one, more by range where the core has FEAT_TLBIRANGE; otherwise the whole address
/// space goes.
pub fn invalidate_range(asid: u16, range: Range<u64>) {
    const FEW: u64 = 8;
    if range.end - range.start <= FEW << 12 {
        // SAFETY: a barrier.
        unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
        range.step_by(1 << 12).for_each(|page| invalidate_page(asid, page));
        // SAFETY: barriers.
        unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
    } else if ID_AA64ISAR0_EL1.get() >> 56 & 0xF >= 2 {
        invalidate_pages(asid, range);
    } else {
        invalidate_asid(asid);
    }
}

/// Without barriers, for use between them.
fn invalidate_page(asid: u16, address: u64) {
    // SAFETY: an invalidation costs time, never correctness.
    unsafe { asm!("tlbi vae1is, {}", in(reg) by_address(asid, address), options(nostack, preserves_flags)) };
}

/// Arm ARM, `TLBI RVAE1IS`: one instruction covers (NUM + 1) · 2^(5·SCALE + 1) pages from BaseADDR.
///
/// The range is taken apart from its small end: at each scale as many units as make the rest a
/// multiple of the next scale's, an odd page on its own. What exceeds the largest scale goes by ASID.
fn invalidate_pages(asid: u16, range: Range<u64>) {
    const UNIT_BITS: u32 = 5;
    let mut page = range.start >> 12;
    let mut left = (range.end - range.start) >> 12;
    if left > 1 << (UNIT_BITS * 4) {
        return invalidate_asid(asid);
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    if left & 1 == 1 {
        invalidate_page(asid, page << 12);
        page += 1;
        left -= 1;
    }
    let mut scale = 0;
    while left > 0 {
        let units = left >> (UNIT_BITS * scale + 1) & 0x1F;
        if units > 0 {
            const GRANULE_4K: u64 = 1 << 46;
            let argument =
                u64::from(asid) << 48 | GRANULE_4K | u64::from(scale) << 44 | (units - 1) << 39 | page & 0x1F_FFFF_FFFF;
            // SAFETY: FEAT_TLBIRANGE is there; this is TLBI RVAE1IS by its encoding.
            unsafe { asm!("sys #0, c8, c2, #1, {}", in(reg) argument, options(nostack, preserves_flags)) };
            let pages = units << (UNIT_BITS * scale + 1);
            page += pages;
            left -= pages;
        }
        scale += 1;
    }
    // SAFETY: barriers.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}
