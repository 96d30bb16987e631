//! Memory: one allocation of the host's, whose first byte is physical address 0.

use graft_paging::{LINE, TableCounts};
use std::alloc::{Layout, alloc_zeroed};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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
    mark_stored(page);
    // SAFETY: the caller's promise.
    unsafe { page.write_bytes(0, PAGE as usize) }
}

/// Copies a page.
///
/// # Safety
/// Both are whole, aligned pages of ordinary memory, and nothing else uses `to`.
pub unsafe fn copy_page(to: *mut u8, from: *const u8) {
    mark_stored(to);
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

/// What the instruction caches would make of each frame. No real one is as bad as this: every store stays out of its
/// sight until the frame has been cleaned, and the caches emptied.
static FETCHES: [AtomicU8; (SIZE / PAGE) as usize] = [const { AtomicU8::new(FRESH) }; (SIZE / PAGE) as usize];
/// They find what was stored.
const FRESH: u8 = 0;
/// They find what was there before.
const STALE: u8 = 1;
/// They find what was there before, in the caches alone.
const CLEANED: u8 = 2;

fn fetches_of(byte: *const u8) -> &'static AtomicU8 {
    &FETCHES[(byte.addr() - direct(0).addr()) / PAGE as usize]
}

/// Notes that something was stored in a page.
pub(super) fn mark_stored(byte: *const u8) {
    fetches_of(byte).store(STALE, Ordering::Relaxed);
}

/// Ends the test where an instruction is fetched from a page that has not been made fetchable since it was stored.
pub(super) fn claim_fetchable(byte: *const u8) {
    let state = fetches_of(byte).load(Ordering::Relaxed);
    assert_eq!(state, FRESH, "a fetch finds what the frame held before");
}

/// Writes a page back to where fetches look.
///
/// # Safety
/// It is a whole, aligned page of ordinary memory.
pub unsafe fn clean_for_fetches(page: *const u8) {
    let _ = fetches_of(page).compare_exchange(STALE, CLEANED, Ordering::Relaxed, Ordering::Relaxed);
}

/// Ends the use of everything that instruction caches hold.
pub fn invalidate_instructions() {
    for fetches in &FETCHES {
        let _ = fetches.compare_exchange(CLEANED, FRESH, Ordering::Relaxed, Ordering::Relaxed);
    }
}
