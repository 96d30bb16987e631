//! A machine whose every atomic access loom may reorder, with race detection in every frame.
//!
//! Descriptors and counts are loom's atomics, so a load may return any value that the memory model allows. Beside them
//! each frame has cells that loom watches for races: using a frame reads its `life` and allocating or freeing it writes
//! that; a store that changes a table's meaning writes its `meaning` and following it in software reads that; page
//! contents are cells themselves. A core that wrongly takes a frame for its own, or learns that it is without the
//! ordering that makes it true, races on one of these cells.
//!
//! No frame is handed out twice, so that the allocator's lock orders nothing that the tree should have ordered itself.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64 as Plain, AtomicUsize};
use std::sync::{Arc, OnceLock};

use graft_paging::{Frame, Memory, OutOfMemory, Purpose, TableCounts};
use loom::cell::UnsafeCell;
use loom::sync::atomic::Ordering::{Acquire, Relaxed};
use loom::sync::atomic::{AtomicU32, AtomicU64};

use crate::mmu::Architecture;

/// Number of the first frame, which is the page of zeroes.
const BASE: u64 = 0x8_0000;
const FRAMES: usize = 64;
/// Descriptors of each table that exist; the others stay empty.
const SLOTS: usize = 2;
/// Words of each page that exist.
pub const WORDS: usize = 2;

struct State {
    /// What it was allocated for.
    purpose: Purpose,
    descriptors: [AtomicU64; SLOTS],
    /// The last value stored in each, for the audit alone.
    latest: [Plain; SLOTS],
    references: AtomicU32,
    counts: TableCounts,
    life: UnsafeCell<()>,
    meaning: UnsafeCell<()>,
    content: [UnsafeCell<u64>; WORDS],
}

pub struct Machine<A> {
    frames: [OnceLock<State>; FRAMES],
    used: AtomicUsize,
    freed: AtomicUsize,
    /// Frames committed, as a signed number: below zero for a moment when a copy under way has taken frames that a
    /// relative's drop uncommits.
    committed: AtomicU64,
    architecture: PhantomData<A>,
}

#[expect(unsafe_code, reason = "loom's cells are for one thread at a time; whether that holds is what it checks")]
// SAFETY: loom runs one thread at a time and reports every pair of accesses to a cell that nothing orders.
unsafe impl<A> Sync for Machine<A> {}

#[expect(unsafe_code, reason = "as above")]
// SAFETY: nothing in it belongs to a thread.
unsafe impl<A> Send for Machine<A> {}

impl<A: Architecture> Machine<A> {
    fn allocate(&self, purpose: Purpose) -> Frame {
        let number = self.used.fetch_add(1, Relaxed);
        let state = State {
            purpose,
            descriptors: std::array::from_fn(|_| AtomicU64::new(0xdead_dead_dead_dead)),
            latest: std::array::from_fn(|_| Plain::new(0xdead_dead_dead_dead)),
            references: AtomicU32::new(1),
            counts: TableCounts::default(),
            life: UnsafeCell::new(()),
            meaning: UnsafeCell::new(()),
            content: std::array::from_fn(|_| UnsafeCell::new(0xdead)),
        };
        assert!(self.frames[number].set(state).is_ok(), "frames are used once");
        Frame(BASE + number as u64)
    }

    fn state(&self, frame: Frame) -> &State {
        self.frames[(frame.0 - BASE) as usize].get().expect("a frame that was allocated")
    }

    /// Frames in use, the page of zeroes aside.
    pub fn frames_in_use(&self) -> usize {
        self.used.load(Relaxed) - 1 - self.freed.load(Relaxed)
    }

    /// Frames committed.
    pub fn committed(&self) -> i64 {
        self.committed.load(Relaxed) as i64
    }

    /// References to a frame, as counted.
    pub fn count(&self, frame: Frame) -> u32 {
        self.state(frame).references.load(Relaxed)
    }

    /// A descriptor as a hardware walker reads it: what it leads to is read after it, because the address depends on it
    /// (Arm ARM, "Definition of the Armv8 memory model"; loom has no dependencies, so this load acquires).
    pub fn walk(&self, table: Frame, index: usize) -> u64 {
        let state = self.state(table);
        let raw = state.descriptors[index].load(Acquire);
        state.life.with(|_| ());
        raw
    }

    pub fn read(&self, page: Frame, word: usize) -> u64 {
        let state = self.state(page);
        state.life.with(|_| ());
        #[expect(unsafe_code, reason = "the cell of a model")]
        // SAFETY: loom checks that no thread writes at the same time.
        state.content[word].with(|content| unsafe { *content })
    }

    pub fn write(&self, page: Frame, word: usize, value: u64) {
        let state = self.state(page);
        state.life.with(|_| ());
        #[expect(unsafe_code, reason = "the cell of a model")]
        // SAFETY: loom checks that no thread reads or writes at the same time.
        state.content[word].with_mut(|content| unsafe { *content = value });
    }
}

/// A machine as the spaces on it hold it.
pub struct Shared<A>(pub Arc<Machine<A>>);

impl<A: Architecture> Shared<A> {
    pub fn new() -> Self {
        let machine = Machine {
            frames: [const { OnceLock::new() }; FRAMES],
            used: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
            committed: AtomicU64::new(0),
            architecture: PhantomData,
        };
        let zeroes = machine.allocate(Purpose::Page);
        let shared = Shared(Arc::new(machine));
        (0..WORDS).for_each(|word| shared.0.write(zeroes, word, 0));
        shared
    }
}

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: each frame is handed out once; descriptors are atomics; references and counts are distinct and never move.
unsafe impl<A: Architecture> Memory for Shared<A> {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        Some(self.0.allocate(purpose))
    }

    unsafe fn free(&self, frame: Frame, purpose: Purpose) {
        let state = self.0.state(frame);
        assert_eq!(state.purpose, purpose);
        state.life.with_mut(|_| ());
        self.0.freed.fetch_add(1, Relaxed);
    }

    fn commit(&self, frames: u64) -> Result<(), OutOfMemory> {
        self.0.committed.fetch_add(frames, Relaxed);
        Ok(())
    }

    fn uncommit(&self, frames: u64) {
        self.0.committed.fetch_sub(frames, Relaxed);
    }

    fn allocate_committed(&self, purpose: Purpose) -> Option<Frame> {
        let one_less = |committed| (committed as i64 > 0).then(|| committed - 1);
        self.0.committed.fetch_update(Relaxed, Relaxed, one_less).ok()?;
        Some(self.0.allocate(purpose))
    }

    unsafe fn free_committed(&self, frame: Frame, purpose: Purpose) {
        // SAFETY: the caller's promise.
        unsafe { self.free(frame, purpose) };
        self.0.committed.fetch_add(1, Relaxed);
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        if index >= SLOTS {
            return 0;
        }
        let state = self.0.state(table);
        let raw = state.descriptors[index].load(Relaxed);
        state.life.with(|_| ());
        state.meaning.with(|_| ());
        raw
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        if index >= SLOTS {
            return;
        }
        let state = self.0.state(table);
        state.descriptors[index].store(raw, Relaxed);
        state.life.with(|_| ());
        let old = state.latest[index].swap(raw, Relaxed);
        let leads_to_zeroes = raw & 0x0000_ffff_ffff_f000 == self.zero_page().address();
        let shows_zeroes = old & 1 == 0 && leads_to_zeroes && A::is_read_only_page_of(raw, self.zero_page());
        if A::loses_write_only(old, raw) || shows_zeroes {
            state.meaning.with(|_| ());
        } else {
            state.meaning.with_mut(|_| ());
        }
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.0.state(frame).references
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.0.state(table).counts
    }

    unsafe fn zero(&self, frame: Frame) {
        match self.0.state(frame).purpose {
            // SAFETY: the caller's promise.
            Purpose::Table => (0..SLOTS).for_each(|index| unsafe { self.store(frame, index, 0) }),
            Purpose::Page => (0..WORDS).for_each(|word| self.0.write(frame, word, 0)),
        }
    }

    unsafe fn copy(&self, from: Frame, to: Frame) {
        (0..WORDS).for_each(|word| self.0.write(to, word, self.0.read(from, word)));
    }

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {}
}
