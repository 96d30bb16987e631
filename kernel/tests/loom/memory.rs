//! What `kernel/src/memory` is for the kernel.

/// Frames for objects: an object that is gone stays where it was until the next execution, and its atomics with it.
pub mod frames {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::cell::{Cell, RefCell};
    use std::ptr::NonNull;

    // SAFETY: a power of two, and the size a multiple of it.
    const FRAME: Layout = unsafe { Layout::from_size_align_unchecked(4096, 4096) };

    thread_local! {
        static IN_USE: Cell<usize> = const { Cell::new(0) };
        static FREED: RefCell<Vec<NonNull<u8>>> = const { RefCell::new(Vec::new()) };
    }

    pub fn allocate_object() -> Option<NonNull<u8>> {
        IN_USE.set(IN_USE.get() + 1);
        // SAFETY: the layout has a size.
        NonNull::new(unsafe { alloc_zeroed(FRAME) })
    }

    /// # Safety
    /// The frame comes from `allocate_object`, and nothing in it is used any more.
    pub unsafe fn free_object(object: NonNull<u8>) {
        IN_USE.set(IN_USE.get() - 1);
        FREED.with_borrow_mut(|freed| {
            assert!(!freed.contains(&object), "an object ends twice");
            freed.push(object);
        });
    }

    /// Frames of objects.
    pub fn in_use() -> usize {
        IN_USE.get()
    }

    /// Begins an execution.
    pub fn begin() {
        IN_USE.set(0);
        for frame in FREED.take() {
            // SAFETY: allocated with this layout, and freed once.
            unsafe { dealloc(frame.as_ptr(), FRAME) };
        }
    }
}
