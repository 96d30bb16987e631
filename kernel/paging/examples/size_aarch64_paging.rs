//! The same as `size_map` with `aarch64-paging`: map, unmap, on tables that come from the same place.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use aarch64_paging::Mapping;
    use aarch64_paging::descriptor::{El1Attributes, PhysicalAddress};
    use aarch64_paging::paging::{Constraints, El1And0, MemoryRegion, PageTable, Translation, VaRange};
    use core::alloc::{GlobalAlloc, Layout};
    use core::hint::black_box;
    use core::ptr::NonNull;

    /// Tables are a run of frames that are mapped where they are.
    struct Tables {
        next: usize,
    }

    fn table(address: usize) -> NonNull<PageTable<El1Attributes>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).expect("frame 0 is no table")
    }

    impl Translation<El1Attributes> for Tables {
        fn allocate_table(&mut self) -> (NonNull<PageTable<El1Attributes>>, PhysicalAddress) {
            let address = self.next;
            self.next += 4096;
            let table = table(address);
            // SAFETY: a frame that nothing else uses.
            unsafe { table.cast::<u64>().write_bytes(0, 512) };
            (table, PhysicalAddress(address))
        }
        unsafe fn deallocate_table(&mut self, _: NonNull<PageTable<El1Attributes>>) {}
        fn physical_to_virtual(&self, pa: PhysicalAddress) -> NonNull<PageTable<El1Attributes>> {
            table(pa.0)
        }
    }

    /// The crate can make tables of the heap. These come from elsewhere.
    struct NoHeap;

    // SAFETY: it hands nothing out.
    unsafe impl GlobalAlloc for NoHeap {
        unsafe fn alloc(&self, _: Layout) -> *mut u8 {
            core::ptr::null_mut()
        }
        unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
    }

    #[global_allocator]
    static NO_HEAP: NoHeap = NoHeap;

    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        let [next, address, physical, bytes] = black_box([0; 4]);
        let mut map = Mapping::with_asid_and_va_range(Tables { next }, 0, 0, El1And0, VaRange::Upper);
        black_box(&mut map);
        let region = MemoryRegion::new(address, address.wrapping_add(bytes));
        let attributes = El1Attributes::VALID | El1Attributes::ACCESSED | El1Attributes::INNER_SHAREABLE;
        let any = Constraints::empty();
        black_box(map.map_range(&region, PhysicalAddress(physical), attributes, any).is_ok());
        black_box(map.map_range(&region, PhysicalAddress(0), El1Attributes::empty(), any).is_ok());
        core::mem::forget(map);
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
