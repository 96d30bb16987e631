//! What a kernel brings, for both architectures: frames in a direct map, TLB maintenance, a lock, and the answer to a
//! page fault.
//!
//! A library, so that it compiles for a machine without an operating system:
//!
//! ```sh
//! cargo build -p graft-paging --example kernel --target aarch64-unknown-none-softfloat
//! cargo build -p graft-paging --example kernel --target x86_64-unknown-none
//! ```
//!
//! It has one processor and one address space in use at a time: no identifiers, no shootdown. Graft's own kernel has
//! them.
#![no_std]

#[cfg(target_arch = "aarch64")]
use core::arch::asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use graft_paging::{
    Access, AddressSpace, Error, Fault, Frame, Inherit, Memory, OutOfMemory, PAGE_SIZE, Permissions, Purpose, Reach,
    Reservation, Share, TableCounts, Tlb, VirtAddr, VirtRange,
};

/// The descriptors that this processor reads.
#[cfg(target_arch = "aarch64")]
pub type Format = graft_paging::AArch64;
/// The descriptors that this processor reads.
#[cfg(not(target_arch = "aarch64"))]
pub type Format = graft_paging::X86_64;

/// An address space of this kernel.
pub type Space = AddressSpace<Format, Ram>;

/// Frames that this kernel manages.
const FRAMES: usize = 1 << 16;

/// The machine's memory, all of it mapped from one address on, and the kernel's records of each frame.
///
/// Frames are taken one after the other; a frame that is freed joins a chain through the first words of free frames.
/// Frame 0 stays zeroes.
pub struct Pool {
    /// Where the kernel sees physical address 0.
    direct_map: usize,
    references: [AtomicU32; FRAMES],
    counts: [TableCounts; FRAMES],
    /// One processor, and no interrupts in the kernel: no lock.
    free: UnsafeCell<Free>,
}

struct Free {
    /// Frames from here on have never been used.
    untouched: u64,
    /// The first of the frames that were given back, 0 for none.
    chain: u64,
}

// SAFETY: see `free`.
unsafe impl Sync for Pool {}

impl Pool {
    /// All frames but the first, which is the page of zeroes.
    ///
    /// # Safety
    /// Physical memory up to `FRAMES` pages is mapped from `direct_map` on, and only the kernel uses it; the first page
    /// is zero.
    pub const unsafe fn new(direct_map: usize) -> Pool {
        Pool {
            direct_map,
            references: [const { AtomicU32::new(0) }; FRAMES],
            // SAFETY: counts of zero are as valid as those of a table without entries.
            counts: unsafe { core::mem::zeroed() },
            free: UnsafeCell::new(Free { untouched: 1, chain: 0 }),
        }
    }

    fn word(&self, frame: Frame, index: usize) -> *mut u64 {
        core::ptr::with_exposed_provenance_mut::<u64>(self.direct_map + frame.address() as usize).wrapping_add(index)
    }

    fn descriptor(&self, table: Frame, index: usize) -> &AtomicU64 {
        // SAFETY: a table's words are only accessed as atomics, by us and by the processor's walker.
        unsafe { AtomicU64::from_ptr(self.word(table, index)) }
    }
}

/// A handle on the pool, which every space holds.
#[derive(Clone, Copy)]
pub struct Ram(pub &'static Pool);

// SAFETY: each frame is handed out once until it comes back; descriptors are atomics in ordinary cached memory;
// references and counts have a place for each frame; there are fewer frames than tables are allowed; all TLBs are this
// processor's.
unsafe impl Memory for Ram {
    fn allocate(&self, _purpose: Purpose) -> Option<Frame> {
        // SAFETY: nothing else borrows it: see `Pool::free`.
        let free = unsafe { &mut *self.0.free.get() };
        let frame = if free.chain != 0 {
            let frame = Frame(free.chain);
            // SAFETY: `free` wrote the word, and nothing has used the frame since.
            free.chain = unsafe { self.0.word(frame, 0).read() };
            frame
        } else {
            let frame = (free.untouched < FRAMES as u64).then_some(Frame(free.untouched))?;
            free.untouched += 1;
            frame
        };
        self.0.references[frame.0 as usize].store(1, Ordering::Relaxed);
        Some(frame)
    }

    unsafe fn free(&self, frame: Frame, _purpose: Purpose) {
        // SAFETY: as in `allocate`; nothing uses the frame any more.
        unsafe {
            let free = &mut *self.0.free.get();
            self.0.word(frame, 0).write(free.chain);
            free.chain = frame.0;
        }
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.0.descriptor(table, index).load(Ordering::Relaxed)
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        self.0.descriptor(table, index).store(raw, Ordering::Relaxed);
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.0.references[frame.0 as usize]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.0.counts[table.0 as usize]
    }

    unsafe fn zero(&self, frame: Frame) {
        // SAFETY: a whole frame, the caller's alone.
        unsafe { self.0.word(frame, 0).write_bytes(0, PAGE_SIZE as usize / 8) };
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        // SAFETY: two whole frames; `to` is the caller's alone, and nothing writes to `from`.
        unsafe { self.0.word(to, 0).copy_from_nonoverlapping(self.0.word(from, 0), PAGE_SIZE as usize / 8) };
    }

    fn zero_page(&self) -> Frame {
        Frame(0)
    }

    fn is_same(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }

    fn invalidate_all(&self) {
        Processor.invalidate(VirtRange::ALL, Reach::Tables);
    }
}

/// The one processor. Each invalidation empties its whole TLB: slow, and correct.
pub struct Processor;

// SAFETY: every invalidation reaches every entry of every level, and has ended when the barrier has.
unsafe impl Tlb for Processor {
    fn publish(&self) {
        // SAFETY: these are barriers. x86_64 keeps stores in order for its walker.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!("dsb ishst", "isb", options(nostack, preserves_flags));
        }
    }

    fn invalidate(&self, _range: VirtRange, _reach: Reach) {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: an invalidation costs time, never correctness.
        unsafe {
            asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags));
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the same root again: this invalidates everything but global entries, and user pages are not global.
        unsafe {
            core::arch::asm!(
                "mov {root}, cr3",
                "mov cr3, {root}",
                root = out(reg) _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// A space with a stack of 8 MiB below `top`, none of it backed yet.
///
/// # Errors
/// If there is no memory, or the stack's range is not valid.
pub fn new_space(pool: &'static Pool, top: u64) -> Result<Space, Error> {
    let bytes = 8 << 20;
    let mut space = Space::new(Ram(pool))?;
    let stack = top.checked_sub(bytes).and_then(|start| VirtRange::new(start, bytes)).ok_or(OutOfMemory)?;
    space.reserve(&Processor, stack, Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::Yes })?;
    Ok(space)
}

/// What the page-fault handler does while it holds the space's lock. `Ok`: return to the program, which tries again.
///
/// # Errors
/// The program may not make this access, or there is no memory for it.
pub fn page_fault(space: &mut Space, address: u64, access: Access) -> Result<(), Fault> {
    let address = VirtAddr::new(address).ok_or(Fault::Unmapped)?;
    space.fault(&Processor, address, access).map(|_| ())
}

/// `fork`: the child shares everything with the parent but the tables of the first two levels.
///
/// # Errors
/// If there is no memory for the copies of those.
pub fn fork(parent: &mut Space) -> Result<Space, Error> {
    parent.fork(&Processor, Share::Level2)
}

/// `exit`: called once no core runs in the space.
pub fn exit(space: Space) {
    space.destroy(&Processor);
}
