//! The machine's memory, as the translation tree sees it.

use crate::arch::{self, memory::direct};
use crate::memory::frames::{self, Use};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use graft_paging::{AddressSpace, Frame, LINE, Memory, OutOfMemory, Purpose, TableCounts};

/// The tree of one address space.
pub type Tree = AddressSpace<arch::Format, KernelMemory>;
/// What trees were cut into, and waits to be freed.
pub type Debris = graft_paging::Debris<arch::Format, KernelMemory>;
/// A change of a range that is under way.
pub type Operation = graft_paging::Operation<KernelMemory>;

/// Frames from the kernel's allocator, reached through the direct map.
#[derive(Clone, Copy, Debug)]
pub struct KernelMemory;

impl KernelMemory {
    #[inline(always)]
    fn used_for(purpose: Purpose) -> Use {
        match purpose {
            Purpose::Table => Use::Table,
            Purpose::Page => Use::Page,
        }
    }

    #[inline(always)]
    fn descriptor<'a>(self, table: Frame, index: usize) -> &'a AtomicU64 {
        debug_assert!(index < graft_paging::ENTRIES);
        // SAFETY: a table is a frame of the direct map, 512 words that are accessed only as atomics,
        // by us and by the hardware walker.
        unsafe { AtomicU64::from_ptr(direct(table.address()).cast::<u64>().add(index)) }
    }

    #[inline(always)]
    fn line(self, table: Frame, first: usize) -> *mut u64 {
        debug_assert!(first.is_multiple_of(LINE) && first < graft_paging::ENTRIES);
        direct(table.address()).cast::<u64>().wrapping_add(first)
    }
}

// SAFETY: frames come from the magazines, which hold each free frame once; descriptors are accessed as
// aligned 64-bit atomics in Normal inner-shareable write-back memory, as which the walker reads them
// (TCR_EL1.SH0, IRGN0, ORGN0); each frame has its own place in the two arrays that boot mapped for all
// RAM.
unsafe impl Memory for KernelMemory {
    #[inline(always)]
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        let frame = frames::allocate(Self::used_for(purpose))?;
        frames::references(frame).store(1, Ordering::Relaxed);
        Some(frame)
    }

    #[inline(always)]
    unsafe fn free(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the tree frees a frame when its last reference is gone.
        unsafe { frames::free(frame, Self::used_for(purpose)) };
    }

    #[inline(always)]
    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.descriptor(table, index).load(Ordering::Relaxed)
    }

    #[inline(always)]
    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        self.descriptor(table, index).store(raw, Ordering::Relaxed);
    }

    #[inline(always)]
    unsafe fn load_line(&self, table: Frame, first: usize) -> [u64; LINE] {
        // SAFETY: a whole line of a table, as `first` is a multiple of eight.
        unsafe { arch::memory::load_line(self.line(table, first)) }
    }

    #[inline(always)]
    unsafe fn store_line(&self, table: Frame, first: usize, raws: [u64; LINE]) {
        // SAFETY: as above; the caller may store there.
        unsafe { arch::memory::store_line(self.line(table, first), raws) };
    }

    #[inline(always)]
    fn claims_lines(&self) -> bool {
        arch::memory::claims_lines()
    }

    #[inline(always)]
    unsafe fn claim_line(&self, table: Frame, first: usize) {
        // SAFETY: as above; nothing else uses the frame, and the caller has asked.
        unsafe { arch::memory::claim_line(self.line(table, first)) };
    }

    #[inline(always)]
    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        frames::references(frame)
    }

    #[inline(always)]
    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        let array = arch::memory::counts();
        // SAFETY: the array has an element for every frame of RAM; all bits zero is a valid one, and
        // its fields are atomics.
        unsafe { &*array.wrapping_add(table.0 as usize) }
    }

    #[inline(always)]
    unsafe fn zero(&self, frame: Frame) {
        // SAFETY: the caller owns the frame: fresh, or its tree's alone.
        unsafe { arch::memory::zero_page(direct(frame.address())) };
    }

    #[inline(always)]
    unsafe fn copy(&self, from: Frame, to: Frame) {
        // SAFETY: the caller owns `to`; `from` is another frame, of RAM, and stays for the call.
        unsafe { arch::memory::copy_page(direct(to.address()), direct(from.address())) };
    }

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        frames::commit(frames).then_some(()).ok_or(OutOfMemory)
    }

    fn uncommit(&self, frames: u64) {
        frames::uncommit(frames);
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        let frame = frames::allocate_committed(Self::used_for(purpose))?;
        frames::references(frame).store(1, Ordering::Relaxed);
        Some(frame)
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: as in `free`.
        unsafe { frames::free_committed(frame, Self::used_for(purpose)) };
    }

    #[inline(always)]
    fn zero_page(&self) -> Frame {
        Frame::containing(frames::zero_page())
    }

    fn is_same(&self, _other: &Self) -> bool {
        true
    }

    #[cold]
    fn invalidate_all(&self) {
        arch::tlb::invalidate_all();
    }
}
