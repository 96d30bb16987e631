//! The proof that no other space reaches a table, and the stores that ask for it.

use core::marker::PhantomData;
use core::ops::Range;

use super::{Frames, Fresh, Last, Stale, is_sole, weight};
use crate::descriptor::Line;
use crate::memory::Counts;
use crate::{Descriptor, ENTRIES, Entry, Format, Frame, LINE, Level, Memory, TableCounts, Tlb};

/// A table that only its holder reaches.
///
/// Not `Copy`: two of them for one table would be two proofs.
pub(crate) struct Exclusive<F> {
    pub(super) frame: Frame,
    pub(super) level: Level,
    pub(super) format: PhantomData<F>,
}

impl<F: Format> Exclusive<F> {
    /// A root. The caller holds the space that owns it by `&mut`; roots are never shared.
    pub(crate) fn root(frame: Frame) -> Self {
        Exclusive { frame, level: Level::ROOT, format: PhantomData }
    }

    /// A table of `level` in a frame that came from the allocator and is linked nowhere; emptied.
    pub(crate) fn fresh(memory: &Frames<impl Memory>, frame: Fresh, level: Level) -> Self {
        memory.empty(&frame);
        memory.counts(frame.0).reset();
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// As [`fresh`](Self::fresh), for the copy of a table with these counts: the caller is about to [`put`](Self::put)
    /// every entry within their bounds, empty ones as well, so this does not empty those first.
    pub(crate) fn to_fill(memory: &Frames<impl Memory>, frame: Fresh, level: Level, counts: &TableCounts) -> Self {
        if counts.bounds() != (0..ENTRIES) {
            memory.empty(&frame);
        }
        memory.counts(frame.0).copy_from(counts);
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// As [`fresh`](Self::fresh), with the same descriptor, present or reserved, in every slot.
    pub(crate) fn filled(memory: &Frames<impl Memory>, frame: Fresh, level: Level, descriptor: Descriptor<F>) -> Self {
        let claims = memory.claims_lines();
        for first in (0..ENTRIES).step_by(LINE) {
            if claims {
                memory.claim_line(frame.0, first);
            }
            memory.store_line(frame.0, first, Line([descriptor; LINE]));
        }
        let counts = memory.counts(frame.0);
        let one = weight(memory, descriptor, level);
        counts.set(Counts {
            reserved: one.reserved * ENTRIES as i64,
            unshareable: one.unshareable * ENTRIES as i64,
            ..Counts::ZERO
        });
        counts.set_live(ENTRIES as u32, 0..ENTRIES);
        Exclusive { frame: frame.0, level, format: PhantomData }
    }

    /// The descriptor that leads to this table and forbids nothing.
    pub(crate) fn descriptor(&self) -> Descriptor<F> {
        Descriptor::new(Entry::Table(crate::Table { frame: self.frame, read_only: false }), Level::ROOT)
    }

    /// The table that entry `index` leads to, if this is the only reference to it.
    #[inline(always)]
    pub(crate) fn child(&self, memory: &Frames<impl Memory>, index: usize) -> Option<Self> {
        let descriptor = memory.load::<F>(self.frame, index);
        debug_assert!(descriptor.is_present() && self.level != Level::LAST);
        let frame = descriptor.output();
        is_sole(memory, frame).then(|| Exclusive { frame, level: self.level.below(), format: PhantomData })
    }

    #[inline(always)]
    pub(crate) fn frame(&self) -> Frame {
        self.frame
    }

    /// Gives up the table, with the references that its entries hold. Nothing leads to it: it was never linked, or it
    /// is a root.
    pub(crate) fn unlinked(self) -> Last {
        Last(self.frame)
    }

    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    #[inline(always)]
    pub(crate) fn load(&self, memory: &Frames<impl Memory>, index: usize) -> Descriptor<F> {
        memory.load::<F>(self.frame, index)
    }

    /// Replaces a descriptor that is not empty by another that is not. The old one leads to the same place or leads
    /// nowhere. To make a present descriptor lead elsewhere there is [`redirect`](Self::redirect).
    #[inline(always)]
    pub(crate) fn store(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(!descriptor.is_empty() && self.leads_nowhere_else(memory, index, descriptor));
        memory.store(self.frame, index, descriptor);
    }

    fn leads_nowhere_else(&self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) -> bool {
        let old = memory.load::<F>(self.frame, index);
        !old.is_present() || !descriptor.is_present() || old.output() == descriptor.output()
    }

    /// Makes a present descriptor lead to another frame: break, invalidate, make.
    ///
    /// A core that walks in between finds an invalid descriptor and faults; its handler waits for the lock on the
    /// space, finds the address mapped, and retries. Where the processor asks for no break, the descriptor leads to the
    /// new place at once, but read-only: otherwise one thread could write to the new place while another, on a core
    /// whose TLB still holds the old descriptor, reads the old place.
    pub(crate) fn redirect(
        &mut self,
        memory: &Frames<impl Memory>,
        tlb: &impl Tlb,
        index: usize,
        descriptor: Descriptor<F>,
        stale: Stale,
    ) {
        debug_assert!(memory.load::<F>(self.frame, index).is_present() && descriptor.is_present());
        let meanwhile =
            if F::BREAK_BEFORE_MAKE { descriptor.retired() } else { descriptor.write_protected(self.level) };
        memory.store(self.frame, index, meanwhile);
        tlb.invalidate(stale.range, stale.reach);
        memory.store(self.frame, index, descriptor);
        tlb.publish();
    }

    /// Stores into a table that nothing leads to yet and that is filled in one go; the filling ends with
    /// [`set_live`](Self::set_live). Also stores into the kernel's entries of a root.
    #[inline(always)]
    pub(crate) fn put(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        memory.store(self.frame, index, descriptor);
    }

    #[cfg(feature = "snapshot")]
    /// As [`put`](Self::put), into a table in use: what stood there has been retired and the TLBs have forgotten it, or
    /// it leads to the same place.
    pub(crate) fn refill(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(self.leads_nowhere_else(memory, index, descriptor));
        memory.store(self.frame, index, descriptor);
    }

    /// Records how many entries were [`put`](Self::put) or [refilled](Self::refill), and within which bounds.
    pub(crate) fn set_live(&mut self, memory: &Frames<impl Memory>, live: u32, bounds: Range<usize>) {
        memory.counts(self.frame).set_live(live, bounds);
    }

    /// Fills an empty slot.
    pub(crate) fn insert(&mut self, memory: &Frames<impl Memory>, index: usize, descriptor: Descriptor<F>) {
        debug_assert!(!descriptor.is_empty() && memory.load::<F>(self.frame, index).is_empty());
        memory.store(self.frame, index, descriptor);
        memory.counts(self.frame).add_live(index);
    }

    /// Empties a slot.
    pub(crate) fn remove(&mut self, memory: &Frames<impl Memory>, index: usize) {
        debug_assert!(!memory.load::<F>(self.frame, index).is_empty());
        memory.store(self.frame, index, Descriptor::<F>::EMPTY);
        let counts = memory.counts(self.frame);
        counts.set_live(counts.live() - 1, counts.bounds());
    }

    /// Adds a change below this table to its counts.
    #[inline(always)]
    pub(crate) fn account(&mut self, memory: &Frames<impl Memory>, change: Counts) {
        memory.counts(self.frame).add(change);
    }
}
