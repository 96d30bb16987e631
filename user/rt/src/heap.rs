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

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use buddy_system_allocator::Heap;
use graft_abi::{MAP_BASE, Permissions, STACK_TOP};

use crate::sync::{Mutex, MutexGuard};

/// One more than the binary logarithm of the largest block: 256 GiB, more than any machine has.
const ORDER: usize = 39;

/// Where the first chunk is.
const HEAP_BASE: usize = STACK_TOP;

/// Bytes of a chunk at least. The allocator writes to a page for every halving of a block: small
/// chunks keep small programs small.
const CHUNK: usize = 64 << 10;

#[global_allocator]
static HEAP: Shared = Shared(Mutex::new(Growing { heap: Heap::new(), next: HEAP_BASE }));

/// The heap of all threads. One that finds it locked waits in the kernel: the holder may have a lower priority on the
/// same core, and to look again and again would keep it from going on.
struct Shared(Mutex<Growing>);

/// A heap and where its next chunk may begin.
pub(crate) struct Growing {
    heap: Heap<ORDER>,
    next: usize,
}

/// Keeps all other threads out of the heap. Meanwhile the caller must not use it either.
pub(crate) fn lock() -> MutexGuard<'static, Growing> {
    HEAP.0.lock()
}

// SAFETY: blocks come from the allocator, one at a time.
unsafe impl GlobalAlloc for Shared {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.lock().allocate(layout).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller passes what `alloc` answered for this layout.
            unsafe { self.0.lock().heap.dealloc(block, layout) };
        }
    }
}

impl Growing {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if let Ok(block) = self.heap.alloc(layout) {
            return Some(block);
        }
        // A refusal leaves the heap as it is; this allocation then fails.
        let block = layout.size().max(layout.align()).checked_next_power_of_two()?;
        let bytes = block.max(CHUNK);
        let (address, bytes) = self.below_mappings(bytes).or_else(|| anywhere(bytes))?;
        // SAFETY: the kernel has just mapped this range for the program, and nothing else in the program has its
        // address.
        unsafe { self.heap.add_to_heap(address, address + bytes) };
        self.heap.alloc(layout).ok()
    }

    /// A chunk in the heap's own range.
    fn below_mappings(&mut self, bytes: usize) -> Option<(usize, usize)> {
        let address = self.next.checked_next_multiple_of(bytes)?;
        let end = address.checked_add(bytes).filter(|end| *end <= MAP_BASE)?;
        crate::memory::map(address, bytes, Permissions::ReadWrite).ok()?;
        self.next = end;
        Some((address, bytes))
    }
}

/// A chunk where the kernel has room, twice as large, so that an aligned block is in it.
fn anywhere(bytes: usize) -> Option<(usize, usize)> {
    let bytes = bytes.checked_mul(2)?;
    Some((crate::memory::map(0, bytes, Permissions::ReadWrite).ok()?, bytes))
}
