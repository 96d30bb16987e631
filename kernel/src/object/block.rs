//! Memory in consecutive frames, which belongs to a memory object.

use crate::arch::memory::{direct, zero_page};
use crate::memory::frames::blocks;
use graft_abi::{Error, PAGE_SIZE};
use graft_paging::Frame;

/// Consecutive frames, a power of two of them, given back when this is dropped: those that are mapped with the last
/// mapping.
pub struct Block {
    first: Frame,
    order: u32,
}

impl Block {
    /// At least so many bytes, content undefined.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]: there are no such frames.
    pub fn new(bytes: u64) -> Result<Block, Error> {
        let order = bytes.div_ceil(PAGE_SIZE as u64).next_power_of_two().ilog2();
        Ok(Block { first: blocks::allocate(order).ok_or(Error::OutOfMemory)?, order })
    }

    /// The frame of this page.
    ///
    /// # Panics
    /// If there is none.
    pub fn frame(&self, page: u64) -> Frame {
        assert!(page < 1 << self.order, "a page beyond the block");
        Frame(self.first.0 + page)
    }

    /// Fills a page with zeroes that has never been mapped.
    pub fn zero(&mut self, page: u64) {
        // SAFETY: a frame of the block, to which nothing else leads yet: `&mut`.
        unsafe { zero_page(direct(self.frame(page).address())) };
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it is the block's, and this is its end.
        unsafe { blocks::free(self.first, self.order) };
    }
}
