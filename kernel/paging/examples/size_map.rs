//! How large the code of a kernel's own map is, and nothing else: map, look up, unmap. Compare it with
//! `size_aarch64_paging`; the README says how. For a bare machine; on a host it does nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod program {
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use graft_paging::{AArch64, ENTRIES, Frame, KernelMap, KernelMemory, Level, Mapping, OutOfMemory};

    /// Tables are a run of frames that are mapped where they are.
    struct Tables {
        next: u64,
        end: u64,
    }

    fn word(table: Frame, index: usize) -> *mut u64 {
        core::ptr::with_exposed_provenance_mut::<u64>(table.address() as usize).wrapping_add(index)
    }

    // SAFETY: a program to be measured; nothing runs it.
    unsafe impl KernelMemory for Tables {
        fn root(&self) -> (Frame, Level) {
            (Frame(self.end), Level::ROOT)
        }
        fn reserve(&mut self, tables: u64) -> Result<(), OutOfMemory> {
            if self.end - self.next < tables { Err(OutOfMemory) } else { Ok(()) }
        }
        fn allocate(&mut self) -> Frame {
            self.next += 1;
            let table = Frame(self.next - 1);
            // SAFETY: a frame that nothing else uses.
            unsafe { word(table, 0).write_bytes(0, ENTRIES) };
            table
        }
        unsafe fn load(&self, table: Frame, index: usize) -> u64 {
            // SAFETY: a table's words are only accessed as atomics.
            unsafe { AtomicU64::from_ptr(word(table, index)) }.load(Relaxed)
        }
        unsafe fn store(&mut self, table: Frame, index: usize, raw: u64) {
            // SAFETY: as for `load`.
            unsafe { AtomicU64::from_ptr(word(table, index)) }.store(raw, Relaxed);
        }
        fn publish(&self) {}
        fn invalidate(&self, _address: u64, _bytes: u64) {}
    }

    #[unsafe(no_mangle)]
    extern "C" fn _start() -> ! {
        let [next, end, address, physical, bytes] = black_box([0; 5]);
        let mut map = KernelMap::<AArch64, Tables>::new(Tables { next, end });
        black_box(&mut map);
        black_box(map.map(address, physical, bytes, Mapping::ReadWrite).is_ok());
        // SAFETY: a program to be measured; nothing runs it.
        black_box(unsafe { map.unmap(address, bytes) }.is_ok());
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
