//! Blocks of consecutive frames, for devices that access memory by themselves.
//!
//! They come from the buddy heap, which gets nothing back. A block that is given back whole waits here for the next
//! that wants one of its size, and is broken up only when no other frame is left.

use super::depot::{DEPOT, MAGAZINE, Magazine, take_block};
use super::{Use, magazines::CACHES, references};
use crate::arch::{self, memory::direct};
use core::sync::atomic::Ordering;
use graft_abi::DMA_MAX;
use graft_paging::{Frame, PAGE_SIZE};

/// Sizes of blocks: 1 frame, 2, 4 ...
const ORDERS: usize = (DMA_MAX as u64 / PAGE_SIZE).ilog2() as usize + 1;

/// Blocks that have been given back.
pub(super) struct Blocks {
    /// The first frame of one of each size, whose first word leads to the next; 0 for none.
    first: [u64; ORDERS],
}

impl Blocks {
    pub(super) const NONE: Blocks = Blocks { first: [0; ORDERS] };

    fn push(&mut self, order: u32, block: Frame) {
        let next = core::mem::replace(&mut self.first[order as usize], block.0);
        // SAFETY: the block is free and nothing else leads to it.
        unsafe { direct(block.address()).cast::<u64>().write(next) };
    }

    fn pop(&mut self, order: u32) -> Option<Frame> {
        let first = &mut self.first[order as usize];
        let block = Frame(*first);
        if block.0 == 0 {
            return None;
        }
        // SAFETY: `push` wrote the word; the block has not been used since.
        *first = unsafe { direct(block.address()).cast::<u64>().read() };
        Some(block)
    }

    /// The frames of one of the smallest blocks, or of a part of it; none if there is no block.
    pub(super) fn take_frames(&mut self) -> Magazine {
        let mut magazine = Magazine::EMPTY;
        let found = (0..ORDERS as u32).find_map(|order| Some((order, self.pop(order)?)));
        let Some((mut order, block)) = found else { return magazine };
        while 1 << order > MAGAZINE {
            order -= 1;
            self.push(order, Frame(block.0 + (1 << order)));
        }
        (0..1 << order).rev().for_each(|index| magazine.push(Frame(block.0 + index)));
        magazine
    }
}

/// `1 << order` consecutive frames, beginning at a multiple of that number, with one reference each; content undefined.
pub fn allocate(order: u32) -> Option<Frame> {
    let frames = 1_u64 << order;
    let mut depot = DEPOT.lock();
    if depot.available() < frames {
        return None;
    }
    let found = depot.blocks.pop(order);
    let bytes = (PAGE_SIZE << order) as usize;
    let block = found.or_else(|| take_block(&mut depot.heap, bytes).map(Frame::containing))?;
    depot.stored -= frames;
    drop(depot);
    CACHES[arch::core_index()].count(Use::Page, frames);
    (0..frames).for_each(|index| references(Frame(block.0 + index)).store(1, Ordering::Relaxed));
    Some(block)
}

/// Gives up the maker's reference to each frame of a block, and takes back those that no mapping leads to: the block,
/// if that is all.
///
/// # Safety
/// The block is of [`allocate`], and its maker uses it no more.
pub unsafe fn free(block: Frame, order: u32) {
    let frames = 1_u64 << order;
    let all = (0..frames).map(|index| Frame(block.0 + index));
    // The last references: nothing can make another. Acquire: what was done to the frames comes before their next use.
    if all.clone().all(|frame| references(frame).load(Ordering::Acquire) == 1) {
        let mut depot = DEPOT.lock();
        depot.blocks.push(order, block);
        depot.stored += frames;
        drop(depot);
        CACHES[arch::core_index()].count(Use::Page, frames.wrapping_neg());
        return;
    }
    for frame in all {
        if references(frame).fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: its last reference is gone.
            unsafe { super::free(frame, Use::Page) };
        }
    }
}
