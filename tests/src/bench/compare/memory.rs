//! Memory that counts what the tree does to it.
//!
//! A page is one word here, its *stamp*: histories write one word of a page, and a gigabyte of them fits into a few
//! megabytes.

use super::count::{Counts, Event};
use graft_paging::{ENTRIES, Format, Frame, Memory, PAGE_SIZE, Purpose, TableCounts};
use std::cell::{Cell, OnceCell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Number of the first frame, which is the page of zeroes.
const BASE: u64 = 0x8_0000;
/// Frames are made when they are first needed, so many at a time.
const CHUNK: usize = 1024;

#[derive(Default)]
struct State {
    references: AtomicU32,
    counts: TableCounts,
    /// The descriptors, while the frame is a table.
    words: RefCell<Vec<u64>>,
    /// The content, while it is a page.
    stamp: Cell<u64>,
    /// Whether walks can reach it.
    linked: Cell<bool>,
}

struct Frames {
    chunks: [OnceCell<Box<[State]>>; CHUNK],
    free: RefCell<Vec<u64>>,
    /// Frames handed out so far, those that came back included.
    made: Cell<u64>,
    counting: Cell<bool>,
    counts: RefCell<Counts>,
    /// The frame whose reference count the tree asked for last, and the count at that time.
    asked: Cell<Option<(Frame, u32)>>,
}

/// A handle on the memory, as every space holds one.
pub struct Metered<F>(Rc<Frames>, PhantomData<F>);

impl<F> Clone for Metered<F> {
    fn clone(&self) -> Self {
        Metered(self.0.clone(), PhantomData)
    }
}

impl<F> Default for Metered<F> {
    /// Memory of up to 4 GiB, nothing of it in use. It does not count yet.
    fn default() -> Self {
        let frames = Frames {
            chunks: [const { OnceCell::new() }; CHUNK],
            free: RefCell::default(),
            made: Cell::new(1),
            counting: Cell::new(false),
            counts: RefCell::default(),
            asked: Cell::new(None),
        };
        Metered(Rc::new(frames), PhantomData)
    }
}

impl<F: Format> Metered<F> {
    fn state(&self, frame: Frame) -> &State {
        let number = (frame.0 - BASE) as usize;
        let chunk = self.0.chunks[number / CHUNK].get_or_init(|| (0..CHUNK).map(|_| State::default()).collect());
        &chunk[number % CHUNK]
    }

    /// Counts from now on, or no more.
    pub fn count(&self, counting: bool) {
        self.settle();
        self.0.counting.set(counting);
    }

    /// Does something without counting it.
    pub fn unseen<T>(&self, action: impl FnOnce() -> T) -> T {
        let counting = self.0.counting.get();
        self.count(false);
        let result = action();
        self.count(counting);
        result
    }

    /// Counts something that happened so often, unless nothing is being counted.
    pub fn add(&self, event: Event, times: u64) {
        if self.0.counting.get() {
            self.0.counts.borrow_mut()[event] += times;
        }
    }

    /// What has been counted since this was last called.
    pub fn take(&self) -> Counts {
        self.settle();
        self.0.counts.take()
    }

    /// Frames in use.
    pub fn in_use(&self) -> usize {
        self.0.made.get() as usize - 1 - self.0.free.borrow().len()
    }

    /// The content of a page.
    pub fn stamp(&self, page: Frame) -> u64 {
        self.state(page).stamp.get()
    }

    /// A program's store to a page.
    pub fn set_stamp(&self, page: Frame, stamp: u64) {
        self.state(page).stamp.set(stamp);
    }

    /// What the tree did to the reference count that it asked for last. The tree asks anew for every access to a count,
    /// and there is no other thread: a count that has changed was changed by one read-modify-write, and one that has
    /// not was read.
    fn settle(&self) {
        let Some((frame, before)) = self.0.asked.take() else { return };
        let changed = self.state(frame).references.load(Relaxed) != before;
        self.add(if changed { Event::Atomic } else { Event::Check }, 1);
    }

    /// Notes that walks can reach a table from now on: the root of a space, or one that a descriptor leads to. They
    /// reach what is below it, too.
    pub fn link(&self, table: Frame) {
        let state = self.state(table);
        if !state.linked.replace(true) {
            state.words.borrow().iter().filter(|raw| F::is_present(**raw)).for_each(|raw| self.link(F::output(*raw)));
        }
    }

    /// A store that walks can see.
    fn note_visible(&self, old: u64, new: u64) {
        if F::is_present(new) {
            self.link(F::output(new));
        }
        let leads_somewhere = F::is_present(new) || F::is_retired(new);
        if F::is_present(old) && leads_somewhere && F::output(old) != F::output(new) {
            self.add(Event::Redirected, 1);
            self.add(Event::Break, F::is_retired(new).into());
        }
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: `allocate` hands out numbers that are not in use, each once until it is freed; all of it belongs to one
// thread, so loads and stores cannot tear; references and counts are distinct fields of boxed slices that never move.
unsafe impl<F: Format> Memory for Metered<F> {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        self.settle();
        let number = self.0.free.borrow_mut().pop().or_else(|| {
            let number = self.0.made.get();
            let is_there = (number as usize) < CHUNK * CHUNK;
            is_there.then(|| self.0.made.replace(number + 1))
        })?;
        let frame = Frame(BASE + number);
        let state = self.state(frame);
        state.references.store(1, Relaxed);
        state.linked.set(false);
        let words = if purpose == Purpose::Table { ENTRIES } else { 0 };
        state.words.borrow_mut().resize(words, 0);
        self.add(if purpose == Purpose::Table { Event::Table } else { Event::Page }, 1);
        Some(frame)
    }

    unsafe fn free(&self, frame: Frame, _purpose: Purpose) {
        self.0.free.borrow_mut().push(frame.0 - BASE);
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.add(Event::Load, 1);
        self.state(table).words.borrow()[index]
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        self.add(Event::Store, 1);
        let state = self.state(table);
        let old = std::mem::replace(&mut state.words.borrow_mut()[index], raw);
        if state.linked.get() {
            self.note_visible(old, raw);
        }
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        self.settle();
        let references = &self.state(frame).references;
        self.0.asked.set(Some((frame, references.load(Relaxed))));
        references
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.state(table).counts
    }

    unsafe fn zero(&self, frame: Frame) {
        self.add(Event::Zeroed, PAGE_SIZE);
        let state = self.state(frame);
        state.words.borrow_mut().fill(0);
        state.stamp.set(0);
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        self.add(Event::Copied, PAGE_SIZE);
        self.set_stamp(to, self.stamp(from));
    }

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use graft_paging::AArch64;

    #[expect(unsafe_code, reason = "as the tree does it")]
    fn count(memory: &Metered<AArch64>, frame: Frame) -> &AtomicU32 {
        // SAFETY: nothing leads to a frame of the test's.
        unsafe { memory.references(frame) }
    }

    #[test]
    fn a_count_that_is_changed_is_told_from_one_that_is_read() {
        let memory = Metered::<AArch64>::default();
        memory.count(true);
        let frame = memory.allocate(Purpose::Page).unwrap();
        count(&memory, frame).fetch_add(1, Relaxed);
        count(&memory, frame).load(Relaxed);
        count(&memory, frame).fetch_sub(1, Relaxed);
        count(&memory, frame).fetch_sub(1, Relaxed);
        #[expect(unsafe_code, reason = "what a test has allocated it may free")]
        // SAFETY: mapped nowhere.
        unsafe {
            memory.free(frame, Purpose::Page);
        }
        memory.unseen(|| count(&memory, frame).fetch_add(1, Relaxed));
        // The same frame again: what is stored into its count by the allocator is no operation of the tree.
        assert_eq!(memory.allocate(Purpose::Page), Some(frame));
        let counts = memory.take();
        assert_eq!((counts[Event::Atomic], counts[Event::Check], counts[Event::Page]), (3, 1, 2));
        assert_eq!(memory.take(), Counts::default());
    }
}
