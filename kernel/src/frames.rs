//! Physical frames: where every table, page and kernel object lives.
//!
//! ```text
//!   buddy heap  --block-->  depot: full magazines  <--64 frames-->  each core: current, spare
//!   (the machine's RAM)     (one lock)                              (no lock)
//! ```
//!
//! A core takes frames from a magazine of its own, a chain through the free frames themselves, and
//! gives them back to it: a handful of instructions and no lock. Full and empty magazines are exchanged
//! with the depot, which all cores share, one lock for 64 frames. Only when the depot is empty is the
//! buddy allocator asked; it gets nothing back, because its merging takes time that grows with the
//! number of free blocks. Bonwick, Adams: "Magazines and Vmem" (2001).
//!
//! A core that finds nothing left asks the others to bring their magazines back ([`gather`]), so that the last
//! frame of the machine can be had on any core.
//!
//! Frames that are committed (`graft_paging::Memory::commit`) never leave the depot but for those who have committed
//! them: the check is made where a magazine is filled, and costs an ordinary allocation nothing.

use crate::arch::{self, MAX_CORES, memory::direct};
use crate::lock::Mutex;
use crate::platform::PhysRange;
use buddy_system_allocator::Heap;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use graft_paging::PAGE_SIZE;

/// Frames that a core and the depot exchange at once.
const MAGAZINE: u64 = 64;
/// Orders of the buddy heap: blocks up to 2^38 bytes.
const ORDERS: usize = 39;

/// What a frame can be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A translation table.
    Table = 0,
    /// A page of a program.
    Page = 1,
    /// A kernel object.
    Object = 2,
}

/// Frames by what they are used for.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    /// All that there are.
    pub total: u64,
    /// Not in use.
    pub free: u64,
    /// Translation tables.
    pub tables: u64,
    /// Pages of programs.
    pub pages: u64,
    /// Kernel objects.
    pub objects: u64,
}

/// A chain of free frames; the first word of each holds the address of the next, 0 in the last.
#[derive(Clone, Copy)]
struct Magazine {
    first: u64,
    count: u64,
}

impl Magazine {
    const EMPTY: Magazine = Magazine { first: 0, count: 0 };

    #[inline(always)]
    fn push(&mut self, address: u64) {
        // SAFETY: the frame is free and this chain's alone, so that its first word is ours to write.
        unsafe { word(address, 0).write(self.first) };
        self.first = address;
        self.count += 1;
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let address = self.first;
        // SAFETY: `push` wrote the word, and nobody else touches a frame of this chain.
        self.first = unsafe { word(address, 0).read() };
        self.count -= 1;
        Some(address)
    }
}

/// One of the first words of a frame, in the direct map.
#[inline(always)]
fn word(address: u64, index: usize) -> *mut u64 {
    direct(address).cast::<u64>().wrapping_add(index)
}

/// What all cores share.
struct Depot {
    heap: Heap<ORDERS>,
    /// Full magazines: the second word of each one's first frame holds the address of the next one's.
    full: u64,
    /// Frames that fill no magazine.
    loose: Magazine,
    /// Frames in all of these.
    stored: u64,
    /// How many of them are kept for copies to come. Below zero for a moment when what a copy has taken already is dropped by a relative
    /// who shared it: the copy brings it back.
    committed: i64,
}

impl Depot {
    /// Frames for whoever has committed none.
    fn available(&self) -> u64 {
        (self.stored as i64 - self.committed).max(0) as u64
    }

    /// Fills an empty magazine with at most `most` frames.
    fn fill(&mut self, magazine: &mut Magazine, most: u64) {
        let most = most.min(MAGAZINE);
        if self.full != 0 && most == MAGAZINE {
            *magazine = self.take_full();
        } else if self.loose.count != 0 || self.full != 0 {
            while magazine.count < most
                && let Some(address) = self.loose_frame()
            {
                magazine.push(address);
            }
        } else if most != 0 {
            // Fewer and fewer at once: the last frame of the machine can be had.
            let block = (0..=most.ilog2()).rev().find_map(|order| {
                let bytes = (PAGE_SIZE << order) as usize;
                Some((take_block(&mut self.heap, bytes)?, 1 << order))
            });
            if let Some((start, count)) = block {
                (0..count).rev().for_each(|index| magazine.push(start + index * PAGE_SIZE));
            }
        }
        self.stored -= magazine.count;
    }

    fn take_full(&mut self) -> Magazine {
        let magazine = Magazine { first: self.full, count: MAGAZINE };
        // SAFETY: `put_full` wrote the word; the frame is the depot's.
        self.full = unsafe { word(magazine.first, 1).read() };
        magazine
    }

    fn put_full(&mut self, magazine: Magazine) {
        // SAFETY: the frame is free and leaves a core's magazine for the depot.
        unsafe { word(magazine.first, 1).write(self.full) };
        self.full = magazine.first;
        self.stored += MAGAZINE;
    }

    /// A frame from the magazines here; the caller accounts for it.
    fn loose_frame(&mut self) -> Option<u64> {
        if self.loose.count == 0 && self.full != 0 {
            self.loose = self.take_full();
        }
        self.loose.pop()
    }

    /// Takes a magazine's frames back, however many.
    fn put(&mut self, magazine: Magazine) {
        if magazine.count == MAGAZINE {
            return self.put_full(magazine);
        }
        let mut rest = magazine;
        while let Some(address) = rest.pop() {
            self.loose.push(address);
        }
        self.stored += magazine.count;
    }

    /// One frame, whoever it is kept for.
    fn take_one(&mut self) -> Option<u64> {
        let address = match self.loose_frame() {
            Some(address) => address,
            None => take_block(&mut self.heap, PAGE_SIZE as usize)?,
        };
        self.stored -= 1;
        Some(address)
    }
}

// SAFETY: the heap's lists lead through free memory that belongs to it alone.
unsafe impl Send for Depot {}

static DEPOT: Mutex<Depot> =
    Mutex::new(Depot { heap: Heap::empty(), full: 0, loose: Magazine::EMPTY, stored: 0, committed: 0 });
static TOTAL: AtomicU64 = AtomicU64::new(0);
static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

/// What one core has for itself. Aligned so that no two cores write to one cache line.
#[repr(align(128))]
struct Cache {
    magazines: UnsafeCell<[Magazine; 2]>,
    /// Frames taken less frames given back on this core, by use; modulo 2^64, only the sum over all
    /// cores means something.
    used: [AtomicU64; 3],
}

// SAFETY: `magazines` is touched only by the core whose index the cache has; that core never takes an
// interrupt in the kernel, so no use of it overlaps another.
unsafe impl Sync for Cache {}

static CACHES: [Cache; MAX_CORES] =
    [const { Cache { magazines: UnsafeCell::new([Magazine::EMPTY; 2]), used: [const { AtomicU64::new(0) }; 3] } };
        MAX_CORES];

impl Cache {
    #[inline(always)]
    fn count(&self, used_for: Use, change: u64) {
        // One writer: no need for a read-modify-write instruction.
        let counter = &self.used[used_for as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(change), Ordering::Relaxed);
    }

    #[inline(always)]
    fn allocate(&self, used_for: Use) -> Option<u64> {
        // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
        let magazines = unsafe { &mut *self.magazines.get() };
        let address = match magazines[0].pop() {
            Some(address) => address,
            None => refill(magazines)?,
        };
        self.count(used_for, 1);
        Some(address)
    }

    #[inline(always)]
    fn free(&self, address: u64, used_for: Use) {
        // SAFETY: as in `allocate`.
        let magazines = unsafe { &mut *self.magazines.get() };
        if magazines[0].count == MAGAZINE {
            make_room(magazines);
        }
        magazines[0].push(address);
        self.count(used_for, u64::MAX);
    }
}

/// Fills the empty current magazine and takes a frame from it.
#[cold]
fn refill(magazines: &mut [Magazine; 2]) -> Option<u64> {
    if magazines[1].count != 0 {
        magazines.swap(0, 1);
        return magazines[0].pop();
    }
    let mut depot = DEPOT.lock();
    let available = depot.available();
    depot.fill(&mut magazines[0], available);
    drop(depot);
    magazines[0].pop()
}

/// Puts the full current magazine aside.
#[cold]
fn make_room(magazines: &mut [Magazine; 2]) {
    if magazines[1].count == MAGAZINE {
        DEPOT.lock().put_full(magazines[1]);
    }
    magazines[1] = core::mem::replace(&mut magazines[0], Magazine::EMPTY);
}

/// A naturally aligned block of a power of two bytes, by its physical address.
fn take_block(heap: &mut Heap<ORDERS>, bytes: usize) -> Option<u64> {
    let layout = Layout::from_size_align(bytes, bytes).ok()?;
    let block = heap.alloc(layout).ok()?;
    Some(block.addr().get() as u64 - direct(0).addr() as u64)
}

/// Takes charge of the machine's free memory. Called once, on the first core.
///
/// # Errors
/// `None` if there is not even one frame.
pub fn initialise(memory: &[PhysRange]) -> Option<()> {
    let mut depot = DEPOT.lock();
    for range in memory {
        let (start, end) = (range.start.next_multiple_of(PAGE_SIZE), range.end & !(PAGE_SIZE - 1));
        if start < end {
            // SAFETY: the range is RAM that nobody uses, mapped in the direct map for good.
            unsafe { depot.heap.add_to_heap(direct(start).addr(), direct(end).addr()) };
            let frames = (end - start) / PAGE_SIZE;
            depot.stored += frames;
            TOTAL.fetch_add(frames, Ordering::Relaxed);
        }
    }
    drop(depot);
    let zero_page = allocate_block(PAGE_SIZE)?;
    // SAFETY: a whole frame, just allocated.
    unsafe { arch::memory::zero_page(direct(zero_page)) };
    ZERO_PAGE.store(zero_page, Ordering::Relaxed);
    Some(())
}

/// Contiguous memory that is never given back, by its physical address; `bytes` is rounded up to a
/// power of two. For the kernel's own use at start.
pub fn allocate_block(bytes: u64) -> Option<u64> {
    let bytes = bytes.max(PAGE_SIZE).next_power_of_two();
    let mut depot = DEPOT.lock();
    let address = take_block(&mut depot.heap, bytes as usize)?;
    depot.stored -= bytes / PAGE_SIZE;
    drop(depot);
    CACHES[arch::core_index()].count(Use::Object, bytes / PAGE_SIZE);
    Some(address)
}

/// A frame for a kernel object, content undefined.
#[inline(always)]
pub fn allocate_object() -> Option<NonNull<u8>> {
    let address = CACHES[arch::core_index()].allocate(Use::Object)?;
    NonNull::new(direct(address))
}

/// Takes back a frame of [`allocate_object`].
///
/// # Safety
/// Nobody uses the frame any more.
#[inline(always)]
pub unsafe fn free_object(object: NonNull<u8>) {
    let address = object.addr().get() as u64 - direct(0).addr() as u64;
    CACHES[arch::core_index()].free(address, Use::Object);
}

/// A frame for a table or a page, by its physical address, content undefined.
#[inline(always)]
pub fn allocate(used_for: Use) -> Option<u64> {
    CACHES[arch::core_index()].allocate(used_for)
}

/// Takes back a frame of [`allocate`]. Nobody uses it any more.
#[inline(always)]
pub fn free(address: u64, used_for: Use) {
    CACHES[arch::core_index()].free(address, used_for);
}

/// Keeps that many more frames for [`allocate_committed`]. `false` if there are not so many: nothing has changed then.
pub fn commit(frames: u64) -> bool {
    let mut depot = DEPOT.lock();
    let enough = depot.available() >= frames;
    if enough {
        depot.committed += frames as i64;
    }
    enough
}

/// Keeps that many fewer.
pub fn uncommit(frames: u64) {
    DEPOT.lock().committed -= frames as i64;
}

/// As [`allocate`], out of what is committed.
pub fn allocate_committed(used_for: Use) -> Option<u64> {
    let mut depot = DEPOT.lock();
    if depot.committed <= 0 {
        return None;
    }
    // There is one: nothing else takes what is committed out of the depot.
    let address = depot.take_one()?;
    depot.committed -= 1;
    drop(depot);
    CACHES[arch::core_index()].count(used_for, 1);
    Some(address)
}

/// As [`free`], and commits the frame again.
pub fn free_committed(address: u64, used_for: Use) {
    let mut depot = DEPOT.lock();
    depot.loose.push(address);
    depot.stored += 1;
    depot.committed += 1;
    drop(depot);
    CACHES[arch::core_index()].count(used_for, u64::MAX);
}

/// One bit for each core that is asked to bring its magazines to the depot.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Has every core bring what is in its magazines to the depot. `true` if this core can allocate more afterwards than before.
///
/// Not while a lock is held: another core may be waiting for it, with interrupts masked, and would never be asked.
pub fn gather() -> bool {
    let index = arch::core_index();
    let others = crate::scheduler::online_cores() & !(1 << index);
    // SAFETY: see `Sync`: this core's, and the borrow ends with the statement.
    let own: u64 = unsafe { &*CACHES[index].magazines.get() }.iter().map(|magazine| magazine.count).sum();
    let before = own + DEPOT.lock().available();
    ASKED.fetch_or(others, Ordering::Release);
    (0..MAX_CORES).filter(|core| others & 1 << core != 0).for_each(arch::interrupts::wake);
    put_back(index);
    while ASKED.load(Ordering::Acquire) & others != 0 {
        // Another core may be waiting for this one in the same way.
        bring_if_asked();
        arch::relax();
    }
    DEPOT.lock().available() > before
}

/// Brings this core's magazines to the depot if another core has asked for them. Called for every interrupt.
pub fn bring_if_asked() {
    let index = arch::core_index();
    if ASKED.load(Ordering::Relaxed) & 1 << index != 0 {
        put_back(index);
        ASKED.fetch_and(!(1 << index), Ordering::Release);
    }
}

fn put_back(index: usize) {
    // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
    let magazines = unsafe { &mut *CACHES[index].magazines.get() };
    let mut depot = DEPOT.lock();
    for magazine in magazines {
        depot.put(core::mem::replace(magazine, Magazine::EMPTY));
    }
}

/// Frames that are committed now.
pub fn committed() -> u64 {
    DEPOT.lock().committed.max(0) as u64
}

/// The page of zeroes, by its physical address.
#[inline(always)]
pub fn zero_page() -> u64 {
    ZERO_PAGE.load(Ordering::Relaxed)
}

/// How many frames are used for what. Exact while no other core allocates or frees; otherwise off by what it
/// does meanwhile.
pub fn figures() -> Figures {
    let sum = |used_for: Use| {
        let used = |cache: &Cache| cache.used[used_for as usize].load(Ordering::Relaxed);
        let sum = CACHES.iter().fold(0, |sum: u64, cache| sum.wrapping_add(used(cache)));
        // A frame taken on one core and given back on another while this looks may be seen as given back only.
        (sum as i64).max(0) as u64
    };
    let (tables, pages, objects) = (sum(Use::Table), sum(Use::Page), sum(Use::Object));
    let total = TOTAL.load(Ordering::Relaxed);
    Figures { total, free: total.saturating_sub(tables + pages + objects), tables, pages, objects }
}
