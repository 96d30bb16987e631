//! The machine as a [`Memory`]: every store and every frame that is freed is judged.

use graft_paging::{Frame, LINE, Memory, OutOfMemory, Purpose, TableCounts};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{BASE, Machine, Point, UNDEFINED};
use crate::mmu::Architecture;

/// A machine as the spaces on it hold it.
pub struct Shared<A>(pub Rc<Machine<A>>);

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<A> std::ops::Deref for Shared<A> {
    type Target = Machine<A>;

    fn deref(&self) -> &Machine<A> {
        &self.0
    }
}

impl<A: Architecture> Machine<A> {
    /// Whether the table, or one above it, has other references. `true` also where it is not known what leads to it.
    fn is_within_reach_of_others(&self, table: Frame) -> bool {
        if self.count(table) > 1 {
            return true;
        }
        match self.links[self.number(table)].get() {
            None => false,
            Some((above, index)) => {
                let leads_here = A::table(self.word(above, index).get()) == Some(table);
                !leads_here || self.is_within_reach_of_others(above)
            }
        }
    }

    /// A frozen table may only lose write permission, or show the page of zeroes where nothing was.
    fn check_frozen(&self, table: Frame, entry: usize, old: u64, new: u64) {
        if self.references[self.number(table)].load(Ordering::Relaxed) <= 1 {
            return;
        }
        let zero_page = old & 1 == 0 && A::is_read_only_page_of(new, Frame(BASE));
        let harmless = A::loses_write_only(old, new) || zero_page;
        if !harmless {
            self.violate(format!("a store into a shared table: {table:?}[{entry}] {old:#x} -> {new:#x}"));
        }
    }

    /// Break before make: a descriptor must not become another one while a TLB may hold the old one.
    fn check_break_before_make(&self, table: Frame, entry: usize, new: u64) {
        if !A::BREAK_BEFORE_MAKE || new & 1 == 0 {
            return;
        }
        let output = (new & 0x0000_ffff_ffff_f000) / 4096;
        for (number, core) in self.cores.borrow().iter().enumerate() {
            for (asid, cached) in &core.cached {
                if cached.source == (table, entry) && cached.frame.0 != output {
                    self.violate(format!(
                        "no break before make: {table:?}[{entry}] becomes {new:#x} \
                         while core {number} holds {cached:x?} for ASID {asid}"
                    ));
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: `allocate` hands out indices from a free list, each once until it is freed; words are cells of one thread, so
// loads and stores cannot tear; references and counts are distinct vector elements that never move.
unsafe impl<A: Architecture> Memory for Shared<A> {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        self.interleave(Point::Change);
        self.allocations.set(self.allocations.get() + 1);
        if let Some(left) = self.fail_after.get() {
            if left == 0 {
                self.refused.set(true);
                return None;
            }
            self.fail_after.set(Some(left - 1));
        }
        if self.available() == 0 {
            return None;
        }
        self.take(purpose)
    }

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        self.interleave(Point::Change);
        if frames != 0 && self.fail_after.get() == Some(0) {
            self.refused.set(true);
            return Err(OutOfMemory);
        }
        if self.available() < frames as usize {
            return Err(OutOfMemory);
        }
        self.committed.set(self.committed.get() + frames as isize);
        Ok(())
    }

    fn uncommit(&self, frames: u64) {
        self.interleave(Point::Change);
        self.committed.set(self.committed.get() - frames as isize);
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        self.interleave(Point::Change);
        if self.committed.get() <= 0 {
            return None;
        }
        self.committed.set(self.committed.get() - 1);
        let frame = self.take(purpose);
        if frame.is_none() {
            self.violate("a committed frame was not there".into());
        }
        frame
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the caller's promise.
        unsafe { self.free(frame, purpose) };
        self.committed.set(self.committed.get() + 1);
    }

    unsafe fn free(&self, frame: Frame, purpose: Purpose) {
        let number = self.number(frame);
        if self.in_use[number].replace(None) != Some(purpose) {
            self.violate(format!("{frame:?} freed twice, or as something it was not"));
            return;
        }
        for (number, core) in self.cores.borrow().iter().enumerate() {
            if let Some((asid, cached)) = core.cached.iter().find(|(_, c)| c.frame == frame) {
                self.violate(format!("{frame:?} freed while core {number} may use it: {cached:x?}, ASID {asid}"));
            }
            if core.active.is_some_and(|(_, root)| root == frame) {
                self.violate(format!("the root {frame:?} freed under core {number}"));
            }
        }
        self.free.borrow_mut().push(number as u64);
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        // Only where it makes a difference: what other cores do at other points might as well happen a little later.
        if self.interesting[index]
            && A::may_change_while_shared(self.word(table, index).get())
            && self.is_within_reach_of_others(table)
        {
            self.interleave(Point::Load);
        }
        self.word(table, index).get()
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        if self.interesting[index] {
            self.interleave(Point::Change);
        }
        let old = self.word(table, index).get();
        self.check_frozen(table, index, old, raw);
        self.check_break_before_make(table, index, raw);
        self.word(table, index).set(raw);
        // Not every word is a descriptor: frames that are set aside are chained through their first words.
        if let Some(below) = A::table(raw).filter(|&below| self.is_memory(below)) {
            self.links[self.number(below)].set(Some((table, index)));
        }
        if self.interesting[index] {
            self.speculate();
        }
    }

    fn claims_lines(&self) -> bool {
        true
    }

    unsafe fn claim_line(&self, table: Frame, first: usize) {
        (first..first + LINE).for_each(|word| self.word(table, word).set(UNDEFINED));
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.references[self.number(frame)]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.counts[self.number(table)]
    }

    unsafe fn zero(&self, frame: Frame) {
        (0..512).for_each(|word| self.word(frame, word).set(0));
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        (0..512).for_each(|word| self.word(to, word).set(self.word(from, word).get()));
    }

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {
        self.interleave(Point::Change);
        self.cores.borrow_mut().iter_mut().for_each(|core| core.cached.clear());
        self.speculate();
    }
}
