//! As many tables as an operation will need, linked nowhere yet.

use super::{Frames, Fresh};
use crate::commit::{Shortage, Source};
use crate::{Frame, Memory, Purpose};

/// Tables set aside before an operation's first store, so that nothing can fail after it.
///
/// A list threaded through the frames themselves, first word of each: any number, no other memory.
pub(crate) struct Stock {
    /// `NONE` behind the last.
    first: Frame,
    source: Source,
}

const NONE: Frame = Frame(u64::MAX);

impl Stock {
    /// None at all.
    #[inline(always)]
    pub(crate) const fn none(source: Source) -> Stock {
        Stock { first: NONE, source }
    }

    /// Sets `count` frames aside, or none.
    #[inline(always)]
    pub(crate) fn allocate(memory: &Frames<impl Memory>, count: usize, source: Source) -> Result<Stock, Shortage> {
        let mut stock = Self::none(source);
        for _ in 0..count {
            match source.allocate(memory, Purpose::Table) {
                Ok(Fresh(frame)) => {
                    memory.set_link(frame, stock.first.0);
                    stock.first = frame;
                }
                Err(shortage) => {
                    stock.give_back(memory);
                    return Err(shortage);
                }
            }
        }
        Ok(stock)
    }

    /// One of the frames.
    ///
    /// # Panics
    /// If the operation counted too few: a bug in its planning. A panic is better than half a tree.
    pub(crate) fn take(&mut self, memory: &Frames<impl Memory>) -> Fresh {
        assert!(!self.is_empty(), "an operation set too few tables aside");
        let frame = self.first;
        self.first = Frame(memory.link(frame));
        Fresh(frame)
    }

    /// Whether all frames have been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Gives back the frames that were not needed, and returns how many.
    #[inline(always)]
    pub(crate) fn give_back(self, memory: &Frames<impl Memory>) -> usize {
        if self.is_empty() { 0 } else { self.give_back_some(memory) }
    }

    #[inline(never)]
    fn give_back_some(mut self, memory: &Frames<impl Memory>) -> usize {
        let mut unused = 0;
        while !self.is_empty() {
            let table = self.take(memory).unused();
            self.source.free(memory, table, Purpose::Table);
            unused += 1;
        }
        unused
    }
}
