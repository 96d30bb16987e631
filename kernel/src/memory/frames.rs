//! Physical frames: where every table, page and kernel object lives.
//!
//! ```text
//!   buddy heap  --block-->  depot: full magazines  <--64 frames-->  each core: current, spare
//!   (the machine's RAM)     (one lock)                              (no lock)
//!
//!   twice over: one pool for tables, one for pages and objects
//! ```
//!
//! A core takes frames from a magazine of its own and gives them back to it: a handful of instructions and no lock.
//! Full and empty magazines are exchanged with the depot, which all cores share, one lock for 64 frames. Only when the
//! depot is empty is the buddy allocator asked; it gets nothing back, because its merging takes time that grows with
//! the number of free blocks. Bonwick, Adams: "Magazines and Vmem" (2001).
//!
//! Two choices keep the cache lines few, which instruction counts do not show:
//! - A magazine is a chain through the *reference counts* of its free frames, not through the frames. The count of a
//!   frame is written anyway when its last reference goes and when its first one comes, and 16 counts share a line. The
//!   frame itself stays untouched until it is used again.
//! - Tables come from blocks of their own, so that their counts lie side by side: a fork or an exit goes through the
//!   counts of all tables, and would otherwise find each on a line of its own. A pool takes from the other one only
//!   when nothing else is left.
//!
//! A core that finds nothing left asks the others to bring their magazines back ([`gather`]), so that any core can
//! allocate the last frame of the machine.
//!
//! Frames that are committed (`graft_paging::Memory::commit`) leave the depot only for the spaces that have committed
//! them: the check is made where a magazine is filled, and costs an ordinary allocation nothing.

use crate::arch::{
    self, MAX_CORES,
    memory::{self, direct},
};
use crate::lock::Mutex;
use crate::platform::PhysRange;
use buddy_system_allocator::Heap;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::mem;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use graft_paging::{Frame, PAGE_SIZE, TABLES_MAX};

/// Frames that a core and the depot exchange at once.
const MAGAZINE: u32 = 64;
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

/// Where free frames are kept, by what they were used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pool {
    Tables = 0,
    Rest = 1,
}

impl Pool {
    const ALL: [Pool; 2] = [Pool::Tables, Pool::Rest];

    #[inline(always)]
    const fn of(used_for: Use) -> Pool {
        match used_for {
            Use::Table => Pool::Tables,
            Use::Page | Use::Object => Pool::Rest,
        }
    }

    const fn other(self) -> Pool {
        match self {
            Pool::Tables => Pool::Rest,
            Pool::Rest => Pool::Tables,
        }
    }
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

/// The reference count of a frame of RAM. While the frame is free it is the number of the next one in its chain.
#[inline(always)]
pub fn references<'a>(frame: Frame) -> &'a AtomicU32 {
    let array = memory::references();
    // SAFETY: the array has a word for every frame of RAM, zeroed by boot, used as atomics only.
    unsafe { AtomicU32::from_ptr(array.wrapping_add(frame.0 as usize)) }
}

/// A chain of free frames.
#[derive(Clone, Copy)]
struct Magazine {
    /// The number of the first; the direct map ends below 2^32 frames.
    first: u32,
    count: u32,
}

impl Magazine {
    const EMPTY: Magazine = Magazine { first: 0, count: 0 };

    #[inline(always)]
    fn push(&mut self, frame: Frame) {
        // Relaxed: a chain changes hands through the depot's lock.
        references(frame).store(self.first, Ordering::Relaxed);
        self.first = frame.0 as u32;
        self.count += 1;
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Frame> {
        if self.count == 0 {
            return None;
        }
        let frame = Frame(self.first.into());
        self.first = references(frame).load(Ordering::Relaxed);
        self.count -= 1;
        Some(frame)
    }

    fn take(&mut self) -> Magazine {
        mem::replace(self, Magazine::EMPTY)
    }
}

/// The free frames of one pool in the depot.
struct Stored {
    /// Full magazines: the first word of each one's first frame holds the first frame of the next one, 0 in the last.
    /// (Frame 0 is never given out.)
    full: u64,
    /// Frames that fill no magazine.
    loose: Magazine,
}

impl Stored {
    fn take_full(&mut self) -> Magazine {
        let magazine = Magazine { first: self.full as u32, count: MAGAZINE };
        // SAFETY: `put_full` wrote the word; the frame is the depot's.
        self.full = unsafe { direct(self.full * PAGE_SIZE).cast::<u64>().read() };
        magazine
    }

    fn put_full(&mut self, magazine: Magazine) {
        // SAFETY: the frame is free and leaves a core's magazine for the depot.
        unsafe { direct(u64::from(magazine.first) * PAGE_SIZE).cast::<u64>().write(self.full) };
        self.full = magazine.first.into();
    }
}

/// What all cores share.
struct Depot {
    heap: Heap<ORDERS>,
    pools: [Stored; 2],
    /// Frames in all of these.
    stored: u64,
    /// How many of them are kept for copies to come. Below zero for a moment when a relative drops a shared frame whose
    /// copy has been taken out already: the core that copied puts one back.
    committed: i64,
}

impl Depot {
    /// Frames that are not committed.
    fn available(&self) -> u64 {
        (self.stored as i64 - self.committed).max(0) as u64
    }

    /// Frames that may still become tables, so that there are never more than [`TABLES_MAX`]: all committed frames
    /// may, and those in the cores' magazines.
    fn tables_left(&self) -> u64 {
        const AT_HAND: u64 = 2 * MAGAZINE as u64 * MAX_CORES as u64;
        (TABLES_MAX - AT_HAND).saturating_sub(used(Use::Table) + self.committed.max(0) as u64)
    }

    /// Fills an empty magazine with at most `most` frames.
    fn fill(&mut self, magazine: &mut Magazine, pool: Pool, most: u64) {
        let most = most.min(MAGAZINE.into()) as u32;
        let stored = &mut self.pools[pool as usize];
        if stored.full != 0 && most == MAGAZINE {
            *magazine = stored.take_full();
        } else if most != 0 {
            let loose = self.restock(pool);
            if loose.count <= most {
                *magazine = loose.take();
            }
            while magazine.count < most
                && let Some(frame) = loose.pop()
            {
                magazine.push(frame);
            }
        }
        self.stored -= u64::from(magazine.count);
    }

    /// A pool's loose frames: some, if there are any in the depot.
    fn restock(&mut self, pool: Pool) -> &mut Magazine {
        let [own, other] = [pool, pool.other()].map(|pool| pool as usize);
        if self.pools[own].loose.count == 0 {
            self.pools[own].loose = if self.pools[own].full != 0 {
                self.pools[own].take_full()
            } else if let Some(block) = take_frames(&mut self.heap) {
                block
            } else if self.pools[other].full != 0 {
                self.pools[other].take_full()
            } else {
                self.pools[other].loose.take()
            };
        }
        &mut self.pools[own].loose
    }

    /// Takes a magazine's frames back, however many.
    fn put(&mut self, mut magazine: Magazine, pool: Pool) {
        self.stored += u64::from(magazine.count);
        if magazine.count == MAGAZINE {
            return self.pools[pool as usize].put_full(magazine);
        }
        while let Some(frame) = magazine.pop() {
            self.pools[pool as usize].loose.push(frame);
        }
    }
}

// SAFETY: the heap's lists lead through free memory that belongs to it alone.
unsafe impl Send for Depot {}

static DEPOT: Mutex<Depot> = Mutex::new(Depot {
    heap: Heap::empty(),
    pools: [const { Stored { full: 0, loose: Magazine::EMPTY } }; 2],
    stored: 0,
    committed: 0,
});
static TOTAL: AtomicU64 = AtomicU64::new(0);
static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

/// What one core has of a pool.
#[derive(Clone, Copy)]
struct Magazines {
    current: Magazine,
    spare: Magazine,
}

/// What one core has for itself. Aligned so that no two cores write to one cache line.
#[repr(align(128))]
struct Cache {
    pools: [UnsafeCell<Magazines>; 2],
    /// Frames taken less frames given back on this core, by use; modulo 2^64, only the sum over all
    /// cores means something.
    used: [AtomicU64; 3],
}

// SAFETY: `pools` is touched only by the core whose index the cache has; that core never takes an
// interrupt in the kernel, so no use of it overlaps another.
unsafe impl Sync for Cache {}

static CACHES: [Cache; MAX_CORES] = [const {
    Cache {
        pools: [const { UnsafeCell::new(Magazines { current: Magazine::EMPTY, spare: Magazine::EMPTY }) }; 2],
        used: [const { AtomicU64::new(0) }; 3],
    }
}; MAX_CORES];

impl Cache {
    #[inline(always)]
    fn count(&self, used_for: Use, change: u64) {
        // One writer: no need for a read-modify-write instruction.
        let counter = &self.used[used_for as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(change), Ordering::Relaxed);
    }

    #[inline(always)]
    fn allocate(&self, used_for: Use) -> Option<Frame> {
        let pool = Pool::of(used_for);
        // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
        let magazines = unsafe { &mut *self.pools[pool as usize].get() };
        let frame = match magazines.current.pop() {
            Some(frame) => frame,
            None => refill(magazines, pool)?,
        };
        self.count(used_for, 1);
        Some(frame)
    }

    #[inline(always)]
    fn free(&self, frame: Frame, used_for: Use) {
        let pool = Pool::of(used_for);
        // SAFETY: as in `allocate`.
        let magazines = unsafe { &mut *self.pools[pool as usize].get() };
        if magazines.current.count == MAGAZINE {
            make_room(magazines, pool);
        }
        magazines.current.push(frame);
        self.count(used_for, u64::MAX);
    }
}

/// Fills the empty current magazine and takes a frame from it.
#[cold]
fn refill(magazines: &mut Magazines, pool: Pool) -> Option<Frame> {
    if magazines.spare.count != 0 {
        mem::swap(&mut magazines.current, &mut magazines.spare);
        return magazines.current.pop();
    }
    let mut depot = DEPOT.lock();
    let available = match pool {
        Pool::Tables => depot.available().min(depot.tables_left()),
        Pool::Rest => depot.available(),
    };
    depot.fill(&mut magazines.current, pool, available);
    drop(depot);
    magazines.current.pop()
}

/// Puts the full current magazine aside.
#[cold]
fn make_room(magazines: &mut Magazines, pool: Pool) {
    if magazines.spare.count == MAGAZINE {
        DEPOT.lock().put(magazines.spare, pool);
    }
    magazines.spare = magazines.current.take();
}

/// A naturally aligned block of a power of two bytes, by its physical address.
fn take_block(heap: &mut Heap<ORDERS>, bytes: usize) -> Option<u64> {
    let layout = Layout::from_size_align(bytes, bytes).ok()?;
    let block = heap.alloc(layout).ok()?;
    Some(block.addr().get() as u64 - direct(0).addr() as u64)
}

/// A magazine of consecutive frames, or of fewer, where no block is so large.
fn take_frames(heap: &mut Heap<ORDERS>) -> Option<Magazine> {
    (0..=MAGAZINE.ilog2()).rev().find_map(|order| {
        let first = Frame::containing(take_block(heap, (PAGE_SIZE << order) as usize)?);
        let mut magazine = Magazine::EMPTY;
        // Pushed last to first, so that they are taken in the order of their addresses.
        (0..1 << order).rev().for_each(|index| magazine.push(Frame(first.0 + index)));
        Some(magazine)
    })
}

/// Takes charge of the machine's free memory. Called once, on the first core.
///
/// # Errors
/// `None` if there is not even one frame.
pub fn initialise(memory: &[PhysRange]) -> Option<()> {
    let mut depot = DEPOT.lock();
    for range in memory {
        // Frame 0 stays out: its number is no link of a chain.
        let start = range.start.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
        let end = range.end & !(PAGE_SIZE - 1);
        if start < end {
            // SAFETY: the range is RAM that is not in use, mapped in the direct map for good.
            unsafe { depot.heap.add_to_heap(direct(start).addr(), direct(end).addr()) };
            let frames = (end - start) / PAGE_SIZE;
            depot.stored += frames;
            TOTAL.fetch_add(frames, Ordering::Relaxed);
        }
    }
    drop(depot);
    let zero_page = allocate_block(PAGE_SIZE)?;
    // SAFETY: a whole frame, just allocated.
    unsafe {
        arch::memory::zero_page(direct(zero_page));
        // Programs may execute it, too, wherever they have touched nothing. Once and for all: it never changes.
        arch::memory::clean_for_fetches(direct(zero_page));
    }
    arch::memory::invalidate_instructions();
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
    let frame = CACHES[arch::core_index()].allocate(Use::Object)?;
    NonNull::new(direct(frame.address()))
}

/// Takes back a frame of [`allocate_object`].
///
/// # Safety
/// Nothing uses the frame any more.
#[inline(always)]
pub unsafe fn free_object(object: NonNull<u8>) {
    let frame = Frame::containing(object.addr().get() as u64 - direct(0).addr() as u64);
    CACHES[arch::core_index()].free(frame, Use::Object);
}

/// A frame for a table or a page, content and reference count undefined.
#[inline(always)]
pub fn allocate(used_for: Use) -> Option<Frame> {
    CACHES[arch::core_index()].allocate(used_for)
}

/// Takes back a frame of [`allocate`] or [`allocate_committed`].
///
/// # Safety
/// Nothing uses the frame any more, its reference count included.
#[inline(always)]
pub unsafe fn free(frame: Frame, used_for: Use) {
    CACHES[arch::core_index()].free(frame, used_for);
}

/// Keeps that many more frames for [`allocate_committed`]. `false` if there are not so many: nothing has changed then.
pub fn commit(frames: u64) -> bool {
    let mut depot = DEPOT.lock();
    let enough = depot.available().min(depot.tables_left()) >= frames;
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
pub fn allocate_committed(used_for: Use) -> Option<Frame> {
    let mut depot = DEPOT.lock();
    if depot.committed <= 0 {
        return None;
    }
    // There is one: nothing else takes what is committed out of the depot.
    let frame = depot.restock(Pool::of(used_for)).pop()?;
    depot.stored -= 1;
    depot.committed -= 1;
    drop(depot);
    CACHES[arch::core_index()].count(used_for, 1);
    Some(frame)
}

/// As [`free`], and commits the frame again.
///
/// # Safety
/// As [`free`].
pub unsafe fn free_committed(frame: Frame, used_for: Use) {
    let mut depot = DEPOT.lock();
    depot.pools[Pool::of(used_for) as usize].loose.push(frame);
    depot.stored += 1;
    depot.committed += 1;
    drop(depot);
    CACHES[arch::core_index()].count(used_for, u64::MAX);
}

/// One bit for each core that takes interrupts, and answers when it is asked.
static ANSWERING: AtomicU32 = AtomicU32::new(0);

/// Says that the calling core takes interrupts from now on.
pub fn answer_from_here() {
    ANSWERING.fetch_or(1 << arch::core_index(), Ordering::Relaxed);
}

/// One bit for each core that is asked to bring its magazines to the depot.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Has every core bring the frames in its magazines to the depot, from which they can be taken for any use. `true` if
/// there were any.
///
/// This core's own magazines count as well: a commitment is made from the depot alone, and the magazines of tables give
/// no frame for a page.
///
/// Not while a lock is held: another core may be waiting for it, with interrupts masked, and would never be asked.
pub fn gather() -> bool {
    let index = arch::core_index();
    let others = ANSWERING.load(Ordering::Relaxed) & !(1 << index);
    let before = DEPOT.lock().available();
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
    let mut depot = DEPOT.lock();
    for pool in Pool::ALL {
        // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
        let magazines = unsafe { &mut *CACHES[index].pools[pool as usize].get() };
        depot.put(magazines.current.take(), pool);
        depot.put(magazines.spare.take(), pool);
    }
}

/// Frames that are committed now.
pub fn committed() -> u64 {
    DEPOT.lock().committed.max(0) as u64
}

/// Frames that are free, here or on any core, and not committed.
pub fn obtainable() -> u64 {
    figures().free.saturating_sub(committed())
}

/// The page of zeroes, by its physical address.
#[inline(always)]
pub fn zero_page() -> u64 {
    ZERO_PAGE.load(Ordering::Relaxed)
}

/// Frames in use for this. Exact while no other core allocates or frees; otherwise off by what it does meanwhile.
fn used(used_for: Use) -> u64 {
    let used = |cache: &Cache| cache.used[used_for as usize].load(Ordering::Relaxed);
    let sum = CACHES.iter().fold(0, |sum: u64, cache| sum.wrapping_add(used(cache)));
    // If one core takes a frame and another gives it back during this sum, only the latter may be seen.
    (sum as i64).max(0) as u64
}

/// How many frames are used for what, as exact as each count of it.
pub fn figures() -> Figures {
    let (tables, pages, objects) = (used(Use::Table), used(Use::Page), used(Use::Object));
    let total = TOTAL.load(Ordering::Relaxed);
    Figures { total, free: total.saturating_sub(tables + pages + objects), tables, pages, objects }
}
