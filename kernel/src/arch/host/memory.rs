//! Memory: one allocation of the host's, whose first byte is physical address 0.

use graft_paging::{LINE, TableCounts};
use std::alloc::{Layout, alloc_zeroed};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in a page.
pub const PAGE: u64 = 4096;
/// Bytes of memory that the machine has.
pub const SIZE: u64 = 64 << 20;

struct Arena {
    memory: *mut u8,
    references: *mut u32,
    counts: *const TableCounts,
}

// SAFETY: the addresses never change, and what they lead to is shared as the kernel shares a machine's memory.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

fn arena() -> &'static Arena {
    static ARENA: OnceLock<Arena> = OnceLock::new();
    ARENA.get_or_init(|| Arena {
        memory: zeroed(SIZE),
        references: zeroed(SIZE / PAGE * size_of::<u32>() as u64).cast(),
        counts: zeroed(SIZE / PAGE * size_of::<TableCounts>() as u64).cast(),
    })
}

/// Memory that is never given back.
fn zeroed(bytes: u64) -> *mut u8 {
    let layout = Layout::from_size_align(bytes as usize, PAGE as usize).expect("whole pages");
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    assert!(!memory.is_null(), "the host has no memory");
    memory.expose_provenance();
    memory
}

/// Where the kernel finds a byte of RAM.
pub fn direct(physical: u64) -> *mut u8 {
    arena().memory.wrapping_add(physical as usize)
}

/// Where the reference counts are, one `u32` a frame.
pub fn references() -> *mut u32 {
    arena().references
}

/// Where the counts of tables are, one element a frame.
pub fn counts() -> *const TableCounts {
    arena().counts
}

/// Fills a page with zeroes.
///
/// # Safety
/// `page` is a whole, aligned page of ordinary memory that nothing else uses.
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { page.write_bytes(0, PAGE as usize) }
}

/// Copies a page.
///
/// # Safety
/// Both are whole, aligned pages of ordinary memory, and nothing else uses `to`.
pub unsafe fn copy_page(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's promise.
    unsafe { to.copy_from_nonoverlapping(from, PAGE as usize) }
}

/// Reads the eight descriptors in a line of 64 bytes.
///
/// # Safety
/// `line` is aligned to 64 bytes, in a table, whose words are accessed as atomics.
pub unsafe fn load_line(line: *const u64) -> [u64; LINE] {
    // SAFETY: the caller's promise.
    std::array::from_fn(|place| unsafe { AtomicU64::from_ptr(line.add(place).cast_mut()) }.load(Ordering::Relaxed))
}

/// Writes the eight descriptors in a line of 64 bytes.
///
/// # Safety
/// As for [`load_line`], and the caller may replace each of the descriptors.
pub unsafe fn store_line(line: *mut u64, raws: [u64; LINE]) {
    for (place, raw) in raws.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { AtomicU64::from_ptr(line.add(place)) }.store(raw, Ordering::Relaxed);
    }
}

/// Whether [`claim_line`] can be used: so that it is tested.
pub fn claims_lines() -> bool {
    true
}

/// Leaves a line of 64 bytes with content that must not be relied on.
///
/// # Safety
/// `line` is aligned to 64 bytes, in memory that nothing else uses.
pub unsafe fn claim_line(line: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { store_line(line, [u64::MAX; LINE]) };
}

/// Writes a page back to where fetches look: nothing is fetched here.
///
/// # Safety
/// It is a whole, aligned page of ordinary memory.
pub unsafe fn clean_for_fetches(_page: *const u8) {}

/// Ends the use of everything that instruction caches hold.
pub fn invalidate_instructions() {}
