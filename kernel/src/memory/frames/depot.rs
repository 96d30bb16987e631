//! The depot: the free frames that all cores share, behind one lock.

use super::blocks::Blocks;
use super::{Pool, Use, references, reserve, used};
use crate::arch::{MAX_CORES, memory::direct};
use crate::lock::Mutex;
use buddy_system_allocator::Heap;
use core::alloc::Layout;
use core::mem;
use core::sync::atomic::Ordering;
use graft_paging::{Frame, PAGE_SIZE, TABLES_MAX};

/// Frames that a core and the depot exchange at once.
pub(super) const MAGAZINE: u32 = 64;
/// Orders of the buddy heap: blocks up to 2^38 bytes.
pub(super) const ORDERS: usize = 39;

/// A chain of free frames.
#[derive(Clone, Copy)]
pub(super) struct Magazine {
    /// The number of the first; the direct map ends below 2^32 frames.
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Magazine {
    pub(super) const EMPTY: Magazine = Magazine { first: 0, count: 0 };

    #[inline(always)]
    pub(super) fn push(&mut self, frame: Frame) {
        // Relaxed: a chain changes hands through the depot's lock.
        references(frame).store(self.first, Ordering::Relaxed);
        self.first = frame.0 as u32;
        self.count += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Frame> {
        if self.count == 0 {
            return None;
        }
        let frame = Frame(self.first.into());
        self.first = references(frame).load(Ordering::Relaxed);
        self.count -= 1;
        Some(frame)
    }

    pub(super) fn take(&mut self) -> Magazine {
        mem::replace(self, Magazine::EMPTY)
    }
}

/// The free frames of one pool in the depot.
pub(super) struct Stored {
    /// Full magazines: the first word of each one's first frame holds the first frame of the next one, 0 in the last.
    /// (Frame 0 is never given out.)
    pub(super) full: u64,
    /// Frames that fill no magazine.
    pub(super) loose: Magazine,
}

impl Stored {
    pub(super) fn take_full(&mut self) -> Magazine {
        let magazine = Magazine { first: self.full as u32, count: MAGAZINE };
        // SAFETY: `put_full` wrote the word; the frame is the depot's.
        self.full = unsafe { direct(self.full * PAGE_SIZE).cast::<u64>().read() };
        magazine
    }

    pub(super) fn put_full(&mut self, magazine: Magazine) {
        // SAFETY: the frame is free and leaves a core's magazine for the depot.
        unsafe { direct(u64::from(magazine.first) * PAGE_SIZE).cast::<u64>().write(self.full) };
        self.full = magazine.first.into();
    }
}

/// What all cores share.
pub(super) struct Depot {
    pub(super) heap: Heap<ORDERS>,
    pub(super) pools: [Stored; 2],
    /// Blocks that have been given back whole.
    pub(super) blocks: Blocks,
    /// Frames in all of these.
    pub(super) stored: u64,
    /// How many of them are kept for copies to come. Below zero for a moment when a relative drops a shared frame whose
    /// copy has been taken out already: the core that copied puts one back.
    pub(super) committed: i64,
}

impl Depot {
    /// Frames that are not committed, and that the calling core may take.
    pub(super) fn available(&self) -> u64 {
        let kept_back = if reserve::is_open() { 0 } else { reserve::size() };
        (self.stored as i64 - self.committed - kept_back as i64).max(0) as u64
    }

    /// Frames that may still become tables, so that there are never more than [`TABLES_MAX`]: all committed frames
    /// may, and those in the cores' magazines.
    pub(super) fn tables_left(&self) -> u64 {
        const AT_HAND: u64 = 2 * MAGAZINE as u64 * MAX_CORES as u64;
        (TABLES_MAX - AT_HAND).saturating_sub(used(Use::Table) + self.committed.max(0) as u64)
    }

    /// Fills an empty magazine with at most `most` frames.
    pub(super) fn fill(&mut self, magazine: &mut Magazine, pool: Pool, most: u64) {
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
    pub(super) fn restock(&mut self, pool: Pool) -> &mut Magazine {
        let [own, other] = [pool, pool.other()].map(|pool| pool as usize);
        if self.pools[own].loose.count == 0 {
            self.pools[own].loose = if self.pools[own].full != 0 {
                self.pools[own].take_full()
            } else if let Some(block) = take_frames(&mut self.heap) {
                block
            } else if self.pools[other].full != 0 {
                self.pools[other].take_full()
            } else if self.pools[other].loose.count != 0 {
                self.pools[other].loose.take()
            } else {
                // Last, so that they stay whole for as long as possible.
                self.blocks.take_frames()
            };
        }
        &mut self.pools[own].loose
    }

    /// Takes a magazine's frames back, however many.
    pub(super) fn put(&mut self, mut magazine: Magazine, pool: Pool) {
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

pub(super) static DEPOT: Mutex<Depot> = Mutex::new(Depot {
    heap: Heap::empty(),
    pools: [const { Stored { full: 0, loose: Magazine::EMPTY } }; 2],
    blocks: Blocks::NONE,
    stored: 0,
    committed: 0,
});
/// A naturally aligned block of a power of two bytes, by its physical address.
pub(super) fn take_block(heap: &mut Heap<ORDERS>, bytes: usize) -> Option<u64> {
    let layout = Layout::from_size_align(bytes, bytes).ok()?;
    let block = heap.alloc(layout).ok()?;
    Some(block.addr().get() as u64 - direct(0).addr() as u64)
}

/// A magazine of consecutive frames, or of fewer, where no block is so large.
pub(super) fn take_frames(heap: &mut Heap<ORDERS>) -> Option<Magazine> {
    (0..=MAGAZINE.ilog2()).rev().find_map(|order| {
        let first = Frame::containing(take_block(heap, (PAGE_SIZE << order) as usize)?);
        let mut magazine = Magazine::EMPTY;
        // Pushed last to first, so that they are taken in the order of their addresses.
        (0..1 << order).rev().for_each(|index| magazine.push(Frame(first.0 + index)));
        Some(magazine)
    })
}
