//! How large the code of an address space is that is mapped and unmapped, and neither forked nor shared: the same as
//! `size_map`, with all that keeps a range's edges right when a relative does share it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use core::cell::Cell;
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
    use graft_paging::{
        AArch64, AddressSpace, ENTRIES, Foreign, Frame, Memory, Permissions, Purpose, Reach, TableCounts, Tlb,
        VirtRange,
    };

    /// Tables are a run of frames that are mapped where they are; references and counts lie in two arrays.
    #[derive(Clone, Copy)]
    struct Tables<'a> {
        next: &'a Cell<u64>,
        end: u64,
        references: *const AtomicU32,
        counts: *const TableCounts,
    }

    fn word(table: Frame, index: usize) -> *mut u64 {
        core::ptr::with_exposed_provenance_mut::<u64>(table.address() as usize).wrapping_add(index)
    }

    // SAFETY: a program to be measured; nothing runs it.
    unsafe impl Memory for Tables<'_> {
        fn allocate(&self, _: Purpose) -> Option<Frame> {
            let frame = (self.next.get() < self.end).then_some(Frame(self.next.get()))?;
            self.next.set(frame.0 + 1);
            // SAFETY: a frame that nothing else uses.
            unsafe { self.references(frame) }.store(1, Relaxed);
            Some(frame)
        }
        unsafe fn free(&self, _: Frame, _: Purpose) {}
        unsafe fn load(&self, table: Frame, index: usize) -> u64 {
            // SAFETY: a table's words are only accessed as atomics.
            unsafe { AtomicU64::from_ptr(word(table, index)) }.load(Relaxed)
        }
        unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
            // SAFETY: as for `load`.
            unsafe { AtomicU64::from_ptr(word(table, index)) }.store(raw, Relaxed);
        }
        unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
            // SAFETY: the array has a place for each frame.
            unsafe { &*self.references.add(frame.0 as usize) }
        }
        unsafe fn counts(&self, table: Frame) -> &TableCounts {
            // SAFETY: as for `references`.
            unsafe { &*self.counts.add(table.0 as usize) }
        }
        unsafe fn zero(&self, frame: Frame) {
            // SAFETY: a whole frame, the caller's alone.
            unsafe { word(frame, 0).write_bytes(0, ENTRIES) };
        }
        unsafe fn copy(&self, from: Frame, to: Frame) {
            // SAFETY: two whole frames; `to` is the caller's alone.
            unsafe { word(to, 0).copy_from_nonoverlapping(word(from, 0), ENTRIES) };
        }
        fn zero_page(&self) -> Frame {
            Frame(0)
        }
        fn is_same(&self, other: &Self) -> bool {
            core::ptr::eq(self.next, other.next)
        }
        fn invalidate_all(&self) {}
    }

    struct NoTlb;

    // SAFETY: a program to be measured; nothing runs it.
    unsafe impl Tlb for NoTlb {
        fn publish(&self) {}
        fn invalidate(&self, _: VirtRange, _: Reach) {}
    }

    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        let [next, end, address, physical, bytes] = black_box([0; 5]);
        let (references, counts) = black_box((core::ptr::null(), core::ptr::null()));
        let next = Cell::new(next);
        let memory = Tables { next: &next, end, references, counts };
        if let Ok(mut space) = AddressSpace::<AArch64, _>::new(memory)
            && let Some(range) = VirtRange::new(address, bytes)
        {
            black_box(&mut space);
            let first = Frame::containing(physical);
            // SAFETY: a program to be measured; nothing runs it.
            let mapped = unsafe { space.map_frames(&NoTlb, range, first, Permissions::ReadWrite, Foreign::Normal) };
            black_box(mapped.is_ok());
            black_box(space.unmap(&NoTlb, range).is_ok());
            core::mem::forget(space);
        }
        loop {
            core::hint::spin_loop();
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }
}
