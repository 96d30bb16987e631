//! The heap: a buddy allocator on top of `map`, growing as it is used.
//!
//! ```text
//!   program │ stack │ HEAP_BASE: chunk, chunk, chunk … ─▶          │ MAP_BASE: what the kernel places
//! ```
//!
//! Chunks are aligned to their size, so that each is one block of the allocator, and begin where the
//! program's own level-2 table still reaches. Reserving memory costs no frame: only what is touched
//! is backed. A request that the kernel refuses makes the allocation fail, which `alloc`'s
//! collections turn into an error (`try_reserve`) or a panic with the size in it.

use core::alloc::Layout;
use core::sync::atomic::{AtomicUsize, Ordering};

use buddy_system_allocator::{Heap, LockedHeapWithRescue};
use graft_abi::{MAP_BASE, Permissions, STACK_TOP};

/// One more than the binary logarithm of the largest block: 256 GiB, more than any machine has.
const ORDER: usize = 39;

/// Where the first chunk is.
const HEAP_BASE: usize = STACK_TOP;

/// Bytes of a chunk at least. The allocator writes to a page for every halving of a block: small
/// chunks keep small programs small.
const CHUNK: usize = 64 << 10;

/// Where the next chunk may begin.
static NEXT: AtomicUsize = AtomicUsize::new(HEAP_BASE);

#[global_allocator]
static HEAP: LockedHeapWithRescue<ORDER> = LockedHeapWithRescue::new(grow);

fn grow(heap: &mut Heap<ORDER>, layout: &Layout) {
    let Some(block) = layout.size().max(layout.align()).checked_next_power_of_two() else { return };
    let bytes = block.max(CHUNK);
    // A refusal leaves the heap as it is; the allocation that asked for more then fails.
    if let Some((address, bytes)) = below_mappings(bytes).or_else(|| anywhere(bytes)) {
        // SAFETY: the kernel has just given this range to the program and nobody else knows it.
        unsafe { heap.add_to_heap(address, address + bytes) };
    }
}

/// A chunk in the heap's own range.
fn below_mappings(bytes: usize) -> Option<(usize, usize)> {
    // The heap's lock is held: nobody else is here.
    let address = NEXT.load(Ordering::Relaxed).checked_next_multiple_of(bytes)?;
    let end = address.checked_add(bytes).filter(|end| *end <= MAP_BASE)?;
    crate::memory::map(address, bytes, Permissions::ReadWrite).ok()?;
    NEXT.store(end, Ordering::Relaxed);
    Some((address, bytes))
}

/// A chunk where the kernel has room, twice as large, so that an aligned block is in it.
fn anywhere(bytes: usize) -> Option<(usize, usize)> {
    let bytes = bytes.checked_mul(2)?;
    Some((crate::memory::map(0, bytes, Permissions::ReadWrite).ok()?, bytes))
}
