//! Memory as the tree uses it. All unsafe code of the crate is here, except that of the kernel's own map.
//!
//! The operations of [`Memory`] on frames are unsafe, because a frame's number does not say what the frame is. In this
//! crate other facts say it:
//!
//! | operation | what makes it right |
//! |---|---|
//! | `load`, `counts`, references | in use: the root of a held space, or a descriptor of such a tree leads to it |
//! | `store` | only the gate asks: see [`Exclusive`](super::Exclusive) and the two stores for frozen tables |
//! | `zero`, `claim_line`, `copy` | the target is [`Fresh`], or was and is linked nowhere: no table leads to it yet |
//! | `free` | the frame is [`Last`]: its last reference is gone, or it was fresh |
#![allow(unsafe_code, reason = "what makes an operation right is in the types of its arguments, or said above")]

use crate::descriptor::Line;
use crate::sync::{AtomicU32, Ordering};
use crate::{Descriptor, Format, Frame, LINE, Memory, OutOfMemory, Purpose, TableCounts};

/// A frame fresh from the allocator, linked nowhere. Must be used or given back.
#[must_use]
pub(crate) struct Fresh(pub(super) Frame);

impl Fresh {
    /// It was not needed.
    #[inline(always)]
    pub(crate) fn unused(self) -> Last {
        Last(self.0)
    }
}

/// A frame that nothing leads to any more. Must be given back.
#[must_use]
pub(crate) struct Last(pub(super) Frame);

impl Last {
    /// A frame that was kept as a number: it is in the list of dead tables, and nothing else leads to it.
    #[inline(always)]
    pub(crate) fn recovered(frame: Frame) -> Last {
        Last(frame)
    }

    #[inline(always)]
    pub(crate) fn frame(&self) -> Frame {
        self.0
    }
}

/// A [`Memory`], with its operations for the tree alone.
#[derive(Clone)]
pub(crate) struct Frames<M>(M);

impl<M> Frames<M> {
    pub(crate) const fn new(memory: M) -> Self {
        Frames(memory)
    }
}

impl<M: Memory> Frames<M> {
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    pub(crate) fn invalidate_all(&self) {
        self.0.invalidate_all();
    }

    #[inline(always)]
    pub(crate) fn allocate(&self, purpose: Purpose) -> Option<Fresh> {
        self.0.allocate(purpose).map(Fresh)
    }

    #[inline(always)]
    pub(crate) fn allocate_committed(&self, purpose: Purpose) -> Option<Fresh> {
        self.0.allocate_committed(purpose).map(Fresh)
    }

    #[inline(always)]
    pub(crate) fn free(&self, Last(frame): Last, purpose: Purpose) {
        // SAFETY: the last reference is gone, and the TLBs have forgotten it (`docs/fork.md`, rule 5).
        unsafe { self.0.free(frame, purpose) };
    }

    #[inline(always)]
    pub(crate) fn free_committed(&self, Last(frame): Last, purpose: Purpose) {
        // SAFETY: as for `free`.
        unsafe { self.0.free_committed(frame, purpose) };
    }

    pub(crate) fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        self.0.commit(frames)
    }

    pub(crate) fn uncommit(&self, frames: u64) {
        self.0.uncommit(frames);
    }

    #[inline(always)]
    pub(crate) fn zero_page(&self) -> Frame {
        self.0.zero_page()
    }

    #[inline(always)]
    pub(crate) fn load<F: Format>(&self, table: Frame, index: usize) -> Descriptor<F> {
        debug_assert!(index < crate::ENTRIES);
        // SAFETY: a table of a tree that is held; the index is an entry's.
        Descriptor::from_raw(unsafe { self.0.load(table, index) })
    }

    #[inline(always)]
    pub(super) fn store<F: Format>(&self, table: Frame, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(index < crate::ENTRIES);
        // SAFETY: the gate has a proof that it may, or the store is one of those that a frozen table permits.
        unsafe { self.0.store(table, index, descriptor.raw()) };
    }

    /// The number that a frame of the [stock](super::Stock) holds for it, in its first word.
    #[inline(always)]
    pub(super) fn link(&self, frame: Frame) -> u64 {
        // SAFETY: a frame that is set aside for a table: nothing else uses it.
        unsafe { self.0.load(frame, 0) }
    }

    /// See [`link`](Self::link).
    #[inline(always)]
    pub(super) fn set_link(&self, frame: Frame, link: u64) {
        // SAFETY: as for `link`.
        unsafe { self.0.store(frame, 0, link) };
    }

    /// The descriptors of one line, each read as [`load`](Self::load) reads it.
    #[inline(always)]
    pub(crate) fn load_line<F: Format>(&self, table: Frame, first: usize) -> Line<F> {
        debug_assert!(first.is_multiple_of(LINE) && first < crate::ENTRIES);
        // SAFETY: as for `load`; the line lies in the table.
        Line::from_raw(unsafe { self.0.load_line(table, first) })
    }

    /// The descriptors of one line, each written as [`store`](Self::store) writes it.
    #[inline(always)]
    pub(super) fn store_line<F: Format>(&self, table: Frame, first: usize, line: Line<F>) {
        debug_assert!(first.is_multiple_of(LINE) && first < crate::ENTRIES);
        // SAFETY: as for `store`; the line lies in the table.
        unsafe { self.0.store_line(table, first, line.raw()) };
    }

    #[inline(always)]
    pub(super) fn claims_lines(&self) -> bool {
        self.0.claims_lines()
    }

    /// Allocates a line of a table that is linked nowhere in the cache before it is written, if the memory claims
    /// lines.
    #[inline(always)]
    pub(super) fn claim_line(&self, table: Frame, first: usize) {
        debug_assert!(first.is_multiple_of(LINE) && first < crate::ENTRIES && self.claims_lines());
        // SAFETY: the gate alone asks for it, of a frame that was fresh and that it has not linked.
        unsafe { self.0.claim_line(table, first) };
    }

    #[inline(always)]
    pub(super) fn references(&self, frame: Frame) -> &AtomicU32 {
        // SAFETY: a frame in use; the gate counts each descriptor that leads there, and nothing else does.
        unsafe { self.0.references(frame) }
    }

    /// References to a frame at this moment: for reports, not for decisions.
    pub(crate) fn count(&self, frame: Frame) -> u32 {
        self.references(frame).load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn counts(&self, table: Frame) -> &TableCounts {
        // SAFETY: a table of a tree that is held.
        unsafe { self.0.counts(table) }
    }

    /// Zeroes for a page; gives up the token, because the frame is about to be mapped.
    #[inline(always)]
    pub(crate) fn zero_page_in(&self, Fresh(frame): Fresh) -> Frame {
        // SAFETY: nothing else uses the frame.
        unsafe { self.0.zero(frame) };
        frame
    }

    /// A page's content for a copy of it; gives up the token, because the frame is about to be mapped.
    #[inline(always)]
    pub(crate) fn copy_page_to(&self, Fresh(frame): Fresh, from: Frame) -> Frame {
        // SAFETY: nothing else uses the frame; `from` is a page of a tree that is held, read-only wherever it is
        // mapped.
        unsafe { self.0.copy(from, frame) };
        frame
    }

    /// Empties a table that is linked nowhere.
    #[inline(always)]
    pub(super) fn empty(&self, table: &Fresh) {
        // SAFETY: nothing else uses the frame.
        unsafe { self.0.zero(table.0) };
    }
}
