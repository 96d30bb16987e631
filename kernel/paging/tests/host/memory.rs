//! Memory as a kernel has it: words that are descriptors or bytes of pages, and counts beside them.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use graft_paging::{
    AddressSpace, Error, Foreign, Format, Frame, Inherit, Kind, Memory, OutOfMemory, Permissions, Purpose, Reach,
    Reservation, TableCounts, Tlb, VirtAddr, VirtRange,
};

/// Number of the first frame, which is the page of zeroes.
const BASE: u64 = 0x4_0000;
pub const PAGE: u64 = 4096;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

struct Frames {
    /// The first of 512 words for each frame. A bare pointer, as the direct map of a kernel is.
    words: *mut u64,
    references: Box<[AtomicU32]>,
    counts: Box<[TableCounts]>,
    free: Mutex<Free>,
    total: usize,
    /// How often all TLBs were told to forget everything.
    forgotten: AtomicU32,
}

struct Free {
    numbers: Vec<u64>,
    /// Tables among the frames in use, and how many there may be.
    tables: usize,
    tables_most: usize,
    /// May be below zero for a moment: a copy has taken frames that a relative's drop uncommits at the same time.
    committed: isize,
}

#[expect(unsafe_code, reason = "page contents are plain memory, as in a kernel")]
// SAFETY: descriptors are only accessed as atomics; page contents only by threads that the tree permits, which is what
// is tested.
unsafe impl Sync for Frames {}

#[expect(unsafe_code, reason = "as above")]
// SAFETY: nothing in it belongs to a thread.
unsafe impl Send for Frames {}

impl Drop for Frames {
    fn drop(&mut self) {
        let words = std::ptr::slice_from_raw_parts_mut(self.words, (self.total + 1) * 512);
        #[expect(unsafe_code, reason = "the counterpart of `into_raw`")]
        // SAFETY: made by `Box::into_raw` of so many words in `Host::new`.
        drop(unsafe { Box::from_raw(words) });
    }
}

/// A handle on the frames, as every space holds one.
#[derive(Clone)]
pub struct Host(Arc<Frames>);

impl Host {
    /// So many frames, not counting the page of zeroes.
    pub fn new(frames: usize) -> Host {
        let words = vec![0_u64; (frames + 1) * 512].into_boxed_slice();
        Host(Arc::new(Frames {
            words: Box::into_raw(words).cast(),
            references: (0..=frames).map(|_| AtomicU32::new(0)).collect(),
            counts: (0..=frames).map(|_| TableCounts::default()).collect(),
            free: Mutex::new(Free {
                numbers: (1..=frames as u64).rev().collect(),
                tables: 0,
                tables_most: usize::MAX,
                committed: 0,
            }),
            total: frames,
            forgotten: AtomicU32::new(0),
        }))
    }

    pub fn in_use(&self) -> usize {
        self.0.total - self.0.free.lock().unwrap().numbers.len()
    }

    /// How often all TLBs were told to forget everything.
    pub fn forgotten(&self) -> u32 {
        self.0.forgotten.load(Relaxed)
    }

    /// Takes back a page that a test has allocated.
    pub fn give_back(&self, page: Frame) {
        #[expect(unsafe_code, reason = "what a test has allocated it may free")]
        // SAFETY: the test has unmapped it wherever it was mapped.
        unsafe {
            self.free(page, Purpose::Page);
        }
    }

    /// Allows no more than so many tables at a time from now on.
    pub fn limit_tables(&self, most: usize) {
        self.0.free.lock().unwrap().tables_most = most;
    }

    pub fn committed(&self) -> isize {
        self.0.free.lock().unwrap().committed
    }

    fn pointer(&self, frame: Frame, word: usize) -> *mut u64 {
        let number = (frame.0 - BASE) as usize;
        assert!(number <= self.0.total && word < 512);
        #[expect(unsafe_code, reason = "a direct map is pointer arithmetic")]
        // SAFETY: inside of the allocation, by the assertion.
        unsafe {
            self.0.words.add(number * 512 + word)
        }
    }

    fn descriptor(&self, table: Frame, index: usize) -> &AtomicU64 {
        #[expect(unsafe_code, reason = "a frame is a table at one time and a page at another")]
        // SAFETY: the word lives as long as `self`, and is accessed as an atomic while the frame is a table.
        unsafe {
            AtomicU64::from_ptr(self.pointer(table, index))
        }
    }

    /// A word of a page, read as a program reads it.
    pub fn read(&self, page: Frame, word: usize) -> u64 {
        #[expect(unsafe_code, reason = "as a program would")]
        // SAFETY: the tree lets this space read the page, so no thread writes to it now.
        unsafe {
            self.pointer(page, word).read()
        }
    }

    /// A word of a page, written as a program writes it.
    pub fn write(&self, page: Frame, word: usize, value: u64) {
        #[expect(unsafe_code, reason = "as a program would")]
        // SAFETY: the tree lets this space write the page, so no other thread uses it now.
        unsafe {
            self.pointer(page, word).write(value);
        }
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: frames come from a free list behind a lock; descriptors are atomics; references and counts are distinct and
// never move.
unsafe impl Memory for Host {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        let mut free = self.0.free.lock().unwrap();
        let is_table = purpose == Purpose::Table;
        if free.numbers.len() as isize <= free.committed || is_table && free.tables == free.tables_most {
            return None;
        }
        let number = free.numbers.pop()?;
        free.tables += usize::from(is_table);
        self.0.references[number as usize].store(1, Relaxed);
        Some(Frame(BASE + number))
    }

    unsafe fn free(&self, frame: Frame, purpose: Purpose) {
        let mut free = self.0.free.lock().unwrap();
        free.numbers.push(frame.0 - BASE);
        free.tables -= usize::from(purpose == Purpose::Table);
    }

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        let mut free = self.0.free.lock().unwrap();
        if free.numbers.len() as isize - free.committed < frames as isize {
            return Err(OutOfMemory);
        }
        free.committed += frames as isize;
        Ok(())
    }

    fn uncommit(&self, frames: u64) {
        self.0.free.lock().unwrap().committed -= frames as isize;
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        let mut free = self.0.free.lock().unwrap();
        if free.committed <= 0 {
            return None;
        }
        let number = free.numbers.pop().expect("what is committed is there");
        free.committed -= 1;
        free.tables += usize::from(purpose == Purpose::Table);
        self.0.references[number as usize].store(1, Relaxed);
        Some(Frame(BASE + number))
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        let mut free = self.0.free.lock().unwrap();
        free.numbers.push(frame.0 - BASE);
        free.tables -= usize::from(purpose == Purpose::Table);
        free.committed += 1;
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.descriptor(table, index).load(Relaxed)
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        self.descriptor(table, index).store(raw, Relaxed);
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.0.references[(frame.0 - BASE) as usize]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.0.counts[(table.0 - BASE) as usize]
    }

    unsafe fn zero(&self, frame: Frame) {
        // SAFETY: a frame is 512 words, and this one belongs to the caller alone.
        unsafe {
            self.pointer(frame, 0).write_bytes(0, 512);
        }
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        // SAFETY: frames are 512 words each and do not overlap; nothing writes to `from`, and `to` belongs to the
        // caller alone.
        unsafe {
            self.pointer(to, 0).copy_from_nonoverlapping(self.pointer(from, 0), 512);
        }
    }

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {
        self.0.forgotten.fetch_add(1, Relaxed);
    }
}

/// What a TLB was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Published,
    Invalidated(VirtRange, Reach),
}

/// A TLB that records what it is told.
#[derive(Default)]
pub struct Notes(RefCell<Vec<Told>>);

impl Notes {
    /// What it was told since it was last asked.
    pub fn take(&self) -> Vec<Told> {
        self.0.take()
    }
}

#[expect(unsafe_code, reason = "implementing Tlb is a promise")]
// SAFETY: no processor walks these tables.
unsafe impl Tlb for Notes {
    fn publish(&self) {
        self.0.borrow_mut().push(Told::Published);
    }

    fn invalidate(&self, range: VirtRange, reach: Reach) {
        self.0.borrow_mut().push(Told::Invalidated(range, reach));
    }
}

pub fn range(start: u64, bytes: u64) -> VirtRange {
    VirtRange::new(start, bytes).unwrap()
}

pub fn at(address: u64) -> VirtAddr {
    VirtAddr::new(address).unwrap()
}

pub const MEMORY: Reservation = Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::Yes };

/// Mapping of pages and frames that a test provides.
pub trait MapAnything<M: Memory> {
    /// [`AddressSpace::map_pages`] of pages that the test has allocated.
    fn map_own_pages(
        &mut self,
        tlb: &Notes,
        range: VirtRange,
        permissions: Permissions,
        kind: Kind,
        frame: impl Fn(u64) -> Frame,
    ) -> Result<(), Error>;

    /// [`AddressSpace::map_frames`] of frames outside of all memory.
    fn map_no_frames(
        &mut self,
        tlb: &Notes,
        range: VirtRange,
        first: Frame,
        permissions: Permissions,
        foreign: Foreign,
    ) -> Result<(), Error>;
}

#[expect(unsafe_code, reason = "nothing reads or writes through these tables but the test")]
impl<F: Format, M: Memory> MapAnything<M> for AddressSpace<F, M> {
    fn map_own_pages(
        &mut self,
        tlb: &Notes,
        range: VirtRange,
        permissions: Permissions,
        kind: Kind,
        frame: impl Fn(u64) -> Frame,
    ) -> Result<(), Error> {
        // SAFETY: the test has allocated the pages and keeps a reference to each.
        unsafe { self.map_pages(tlb, range, permissions, kind, frame) }
    }

    fn map_no_frames(
        &mut self,
        tlb: &Notes,
        range: VirtRange,
        first: Frame,
        permissions: Permissions,
        foreign: Foreign,
    ) -> Result<(), Error> {
        // SAFETY: there is no memory at all where the test says.
        unsafe { self.map_frames(tlb, range, first, permissions, foreign) }
    }
}

/// A space with these ranges reserved, the first page of each written.
pub fn space<F: Format>(host: &Host, ranges: &[(u64, u64)]) -> AddressSpace<F, Host> {
    let mut space = AddressSpace::new(host.clone()).unwrap();
    for &(start, bytes) in ranges {
        space.reserve(&Notes::default(), range(start, bytes), MEMORY).unwrap();
        write(&mut space, start);
    }
    space
}

/// Makes a write possible, as a fault would; returns the answer.
pub fn write<F: Format>(space: &mut AddressSpace<F, Host>, address: u64) -> graft_paging::Resolved {
    space.resolve(&Notes::default(), at(address), graft_paging::Access::Write).unwrap()
}
