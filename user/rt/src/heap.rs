//! The heap: a buddy allocator on top of `map`, growing as it is used.
//!
//! Reserving memory costs no frame, so the heap grows in generous steps; only what is touched is
//! backed. A request that the kernel refuses makes the allocation fail, which `alloc`'s
//! collections turn into an error (`try_reserve`) or a panic with the size in it.

use core::alloc::Layout;

use buddy_system_allocator::{Heap, LockedHeapWithRescue};
use graft_abi::Permissions;

/// One more than the binary logarithm of the largest block: 256 GiB, more than any machine has.
const ORDER: usize = 39;

/// Bytes by which the heap grows at least.
const STEP: usize = 1 << 20;

#[global_allocator]
static HEAP: LockedHeapWithRescue<ORDER> = LockedHeapWithRescue::new(grow);

fn grow(heap: &mut Heap<ORDER>, layout: &Layout) {
    // A block is aligned to its size: twice the size holds one wherever the mapping begins.
    let block = layout.size().max(layout.align()).max(1);
    let Some(bytes) = block.checked_next_power_of_two().and_then(|block| block.checked_mul(2)) else { return };
    let bytes = bytes.max(STEP);
    // A refusal leaves the heap as it is; the allocation that asked for more then fails.
    if let Ok(address) = crate::memory::map(0, bytes, Permissions::ReadWrite) {
        // SAFETY: the kernel has just given this range to the program and nobody else knows it.
        unsafe { heap.add_to_heap(address, address + bytes) };
    }
}
