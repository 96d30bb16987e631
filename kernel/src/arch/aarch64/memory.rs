//! The kernel's view of physical memory: the direct map, whole-page operations, instruction caches.
//!
//! ```text
//! 0xFFFF_FF80_0000_0000  direct map: physical 0 to 256 GiB, RAM only, less the kernel image
//! 0xFFFF_FFC0_0000_0000  frame metadata: one u32 a frame, by absolute frame number
//! 0xFFFF_FFC8_0000_0000  frame metadata: 32 bytes a frame, by absolute frame number
//! 0xFFFF_FFD8_0000_0000  the device tree, read only
//! 0xFFFF_FFE0_0000_0000  devices
//! 0xFFFF_FFF0_0000_0000  kernel stacks
//! 0xFFFF_FFFF_8000_0000  kernel image
//! ```

use crate::arch::PhysRange;
use core::{
    arch::{asm, global_asm},
    sync::atomic::{AtomicU64, Ordering},
};
use graft_boot::IMAGE_BASE;
use graft_paging::{LINE, TableCounts};

/// Where physical address 0 appears in the direct map.
pub const DIRECT_BASE: u64 = 0xFFFF_FF80_0000_0000;
/// One past the last physical address that the direct map has room for.
pub const DIRECT_LIMIT: u64 = 256 << 30;
/// Reference counts, one `u32` a frame.
pub const REFERENCES_BASE: u64 = 0xFFFF_FFC0_0000_0000;
/// Table counts, 32 bytes a frame.
pub const COUNTS_BASE: u64 = 0xFFFF_FFC8_0000_0000;
/// Where the reference counts are, one `u32` a frame.
#[inline(always)]
pub const fn references() -> *mut u32 {
    REFERENCES_BASE as *mut u32
}

/// Where the counts of tables are, one element a frame.
#[inline(always)]
pub const fn counts() -> *const TableCounts {
    COUNTS_BASE as *const TableCounts
}

/// The device tree.
pub const DEVICE_TREE_BASE: u64 = 0xFFFF_FFD8_0000_0000;
/// Device registers.
pub const DEVICES_BASE: u64 = 0xFFFF_FFE0_0000_0000;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

static IMAGE_PHYSICAL: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static __image_end: u8;
}

pub(super) fn set_image_address(physical: u64) {
    IMAGE_PHYSICAL.store(physical, Ordering::Relaxed);
}

/// Where the kernel image is, bss included.
pub fn image() -> PhysRange {
    let start = IMAGE_PHYSICAL.load(Ordering::Relaxed);
    PhysRange { start, end: start + image_size() }
}

/// Bytes of the kernel image, bss included.
pub fn image_size() -> u64 {
    &raw const __image_end as u64 - IMAGE_BASE
}

/// The physical address of something in the kernel image.
pub fn image_to_physical(address: u64) -> u64 {
    address - IMAGE_BASE + image().start
}

/// Where the kernel finds a byte of RAM. Not for the kernel image, which the direct map leaves out: so
/// there is no writable alias of its text.
#[inline(always)]
pub const fn direct(physical: u64) -> *mut u8 {
    (DIRECT_BASE + physical) as *mut u8
}

global_asm!(include_str!("memory.s"));

// The address as a symbol of the kernel's file, for tools that watch the counts from outside.
global_asm!(".global frame_references", ".set frame_references, {}", const REFERENCES_BASE);

unsafe extern "C" {
    /// Fills a page with zeroes.
    ///
    /// # Safety
    ///
    /// `page` is a whole, aligned page of ordinary memory that nothing else uses.
    pub fn zero_page(page: *mut u8);

    /// Copies a page.
    ///
    /// # Safety
    ///
    /// Both are whole, aligned pages of ordinary memory, nothing else uses `to`, and nothing writes to
    /// `from` meanwhile (or who does so minds neither what is found there nor which bytes arrive).
    pub fn copy_page(to: *mut u8, from: *const u8);
}

/// Reads the eight descriptors in a line of 64 bytes.
///
/// A load of two registers is two single-copy atomic loads of 64 bits each (Arm ARM, "Requirements for single-copy
/// atomicity"). It takes half the instructions of eight atomic loads, which the compiler does not pair.
///
/// # Safety
///
/// `line` is aligned to 64 bytes, in a table: ordinary memory that cores and walkers access in aligned words.
#[inline(always)]
pub unsafe fn load_line(line: *const u64) -> [u64; LINE] {
    let (a, b, c, d, e, f, g, h);
    // SAFETY: as promised; nothing is stored.
    unsafe {
        asm!(
            "ldp {a}, {b}, [{line}]", "ldp {c}, {d}, [{line}, #16]",
            "ldp {e}, {f}, [{line}, #32]", "ldp {g}, {h}, [{line}, #48]",
            line = in(reg) line,
            a = out(reg) a, b = out(reg) b, c = out(reg) c, d = out(reg) d,
            e = out(reg) e, f = out(reg) f, g = lateout(reg) g, h = lateout(reg) h,
            options(readonly, nostack, preserves_flags)
        );
    }
    [a, b, c, d, e, f, g, h]
}

/// Writes the eight descriptors in a line of 64 bytes: as [`load_line`], a store of two registers is two single-copy
/// atomic ones.
///
/// # Safety
///
/// As for [`load_line`], and the caller may replace each of the descriptors.
#[inline(always)]
pub unsafe fn store_line(line: *mut u64, [a, b, c, d, e, f, g, h]: [u64; LINE]) {
    // SAFETY: as promised.
    unsafe {
        asm!(
            "stp {a}, {b}, [{line}]", "stp {c}, {d}, [{line}, #16]",
            "stp {e}, {f}, [{line}, #32]", "stp {g}, {h}, [{line}, #48]",
            line = in(reg) line,
            a = in(reg) a, b = in(reg) b, c = in(reg) c, d = in(reg) d,
            e = in(reg) e, f = in(reg) f, g = in(reg) g, h = in(reg) h,
            options(nostack, preserves_flags)
        );
    }
}

/// Whether [`claim_line`] can be used: `DC ZVA` is permitted and zeroes 64 bytes.
#[inline(always)]
pub fn claims_lines() -> bool {
    let other: u64;
    // DZP, which forbids it, and BS, in words as a power of two, are 4 (Arm ARM, "DCZID_EL0"). All of it in here, so
    // that a loop tests one register.
    // SAFETY: reads an identification register.
    unsafe {
        asm!(
            "mrs {other}, dczid_el0", "eor {other}, {other}, #4", "and {other}, {other}, #0x1F",
            other = out(reg) other,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    other == 0
}

/// Has a line of 64 bytes in the cache, zeroed, without fetching it.
///
/// # Safety
///
/// `line` is aligned to 64 bytes, in ordinary memory that nothing else uses, and the processor
/// [claims lines](claims_lines).
#[inline(always)]
pub unsafe fn claim_line(line: *mut u64) {
    // SAFETY: as promised.
    unsafe { asm!("dc zva, {}", in(reg) line, options(nostack, preserves_flags)) };
}

unsafe extern "C" {
    #[link_name = "probe"]
    fn probe_word(address: *const u32) -> u64;
    safe fn probe_instruction();
}

/// Reads a word that may not be there: `None` if the load faults.
///
/// # Safety
///
/// The address is aligned, and a read there does no harm.
pub unsafe fn probe(address: *const u32) -> Option<u32> {
    // SAFETY: as promised; a fault at the load is answered by `fault.rs`.
    u32::try_from(unsafe { probe_word(address) }).ok()
}

/// The one load in the kernel that may fault.
pub(super) fn probe_instruction_address() -> u64 {
    probe_instruction as *const () as u64
}

/// First half of making what was stored in pages fetchable as instructions: writes one of them back to where fetches
/// look. [`invalidate_instructions`] is the second half, once for all of them.
///
/// Arm ARM, "Ordering and completion of data and instruction cache instructions": clean to the point
/// of unification, barrier, invalidate instruction caches, barrier.
///
/// # Safety
///
/// It is a whole, aligned page of ordinary memory.
pub unsafe fn clean_for_fetches(page: *const u8) {
    let cache_type = cache_type();
    // IDC: fetches look where stores go.
    if cache_type & 1 << 28 == 0 {
        let line = 4_usize << (cache_type >> 16 & 0xF);
        for offset in (0..PAGE as usize).step_by(line) {
            // SAFETY: the address lies in the caller's page.
            unsafe { asm!("dc cvau, {}", in(reg) page.wrapping_add(offset), options(nostack, preserves_flags)) };
        }
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
}

/// Ends the use of everything that instruction caches hold, on every core and under every address. Pages that were
/// [cleaned](clean_for_fetches) before may become executable from here on.
///
/// All of the instruction caches rather than by address: a virtually indexed one would keep lines under the program's
/// address. The caller's core still needs the context synchronisation of its exception return, as does every other core
/// before it gets there.
pub fn invalidate_instructions() {
    // DIC: instruction caches keep nothing that a store has overtaken.
    let needed = cache_type() & 1 << 29 == 0;
    // SAFETY: barriers, and an invalidation that costs no more than time.
    unsafe {
        asm!("dsb ish", options(nostack, preserves_flags));
        if needed {
            asm!("ic ialluis", options(nostack, preserves_flags));
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}

fn cache_type() -> u64 {
    let cache_type: u64;
    // SAFETY: reads an identification register.
    unsafe {
        asm!("mrs {}, ctr_el0", out(reg) cache_type, options(nomem, nostack, preserves_flags));
    }
    cache_type
}

/// Writes a range back to memory itself, for a core that reads it without caches.
///
/// # Safety
///
/// The range is mapped memory of the kernel's.
pub unsafe fn clean_to_memory(start: *const u8, bytes: usize) {
    let line = 4_usize << (cache_type() >> 16 & 0xF);
    let end = start as usize + bytes;
    let mut address = start as usize & !(line - 1);
    while address < end {
        // SAFETY: cleaning and invalidating a line changes no byte of memory as this core sees it.
        unsafe { asm!("dc civac, {}", in(reg) address, options(nostack, preserves_flags)) };
        address += line;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
