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

pub mod blocks;
mod depot;
mod gather;
mod magazines;
mod reserve;

pub use gather::{answer_from_here, bring_if_asked, gather};
pub use reserve::with_reserve;

use crate::arch::{
    self,
    memory::{self, direct},
};
use crate::platform::PhysRange;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use depot::{DEPOT, take_block};
use graft_paging::{Frame, PAGE_SIZE};
use magazines::{CACHES, Cache};

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
    /// Neither in use nor kept back.
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

static TOTAL: AtomicU64 = AtomicU64::new(0);
static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

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
    reserve::set_aside(TOTAL.load(Ordering::Relaxed));
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

/// Frames that are committed now.
pub fn committed() -> u64 {
    DEPOT.lock().committed.max(0) as u64
}

/// Frames that are free, here or on any core, and neither committed nor kept back.
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
    Figures { total, free: total.saturating_sub(tables + pages + objects + reserve::size()), tables, pages, objects }
}
