//! A machine on the host: frames, cores, and TLBs that keep everything they may keep.
//!
//! At each store of a descriptor every core walks every address that programs use, from the root and from every
//! walk-cache entry it holds, and keeps what it finds until an invalidation that architecturally reaches it. So the TLB
//! holds every answer that any real TLB could give, and each access is judged against all of them.

mod memory;
mod tlb;

pub use memory::Shared;
pub use tlb::{AsidTlb, Cached};

use std::cell::{Cell, RefCell};
use std::rc::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use graft_paging::{Frame, Purpose, TableCounts};

use crate::mmu::Architecture;
use tlb::Core;

/// Number of the first frame, so that frame numbers and indices cannot be confused.
const BASE: u64 = 0x8_0000;
pub const CORES: usize = 4;
/// What a frame holds before anything is stored there.
const UNDEFINED: u64 = 0xdead_dead_dead_dead;

/// Bytes in a page.
const PAGE: u64 = 4096;

fn index(address: u64, level: usize) -> usize {
    (address >> (39 - 9 * level)) as usize % 512
}

/// Where another core may get ahead of the operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before a load of a descriptor that may change, in a table that other spaces share: an earlier load may have
    /// returned something else.
    Load,
    /// Before a store, an allocation, an invalidation or a change of the charge.
    Change,
}

/// What other cores do in other spaces in the middle of an operation: no lock between spaces prevents it.
pub trait Bystander {
    fn act(&self, point: Point);
}

pub struct Machine<A> {
    words: Vec<Cell<u64>>,
    references: Vec<AtomicU32>,
    counts: Vec<TableCounts>,
    in_use: Vec<Cell<Option<Purpose>>>,
    free: RefCell<Vec<u64>>,
    cores: RefCell<[Core; CORES]>,
    /// Addresses that programs use; only these need to be walked.
    pub universe: Vec<u64>,
    /// Which entries of a table lie on the way to these addresses.
    interesting: [bool; 512],
    /// Allocations until one fails.
    pub fail_after: Cell<Option<u32>>,
    /// Whether one has failed.
    pub refused: Cell<bool>,
    /// Allocations so far.
    pub allocations: Cell<u32>,
    pub invalidations: Cell<u32>,
    /// Frames set aside for copies to come, less those that copies under way have taken out already.
    pub committed: Cell<isize>,
    /// Frames that only a space that has committed them can get: memory is short.
    withheld: Cell<usize>,
    /// For each frame the descriptor that led there last, if that was a table's.
    links: Vec<Cell<Option<(Frame, usize)>>>,
    /// What acts at every [`Point`].
    bystander: RefCell<Option<Weak<dyn Bystander>>>,
    /// The model itself is reading: these loads are not part of any operation.
    looking: Cell<bool>,
    /// The first failure.
    violation: RefCell<Option<String>>,
    architecture: std::marker::PhantomData<A>,
}

impl<A: Architecture> Machine<A> {
    /// A table descriptor that leads to no memory: present, and accessed.
    pub const TRAP: u64 = 0x7777_7000 | 1 << 5 | 1;

    pub fn new(frames: usize, universe: Vec<u64>) -> Self {
        let mut interesting = [false; 512];
        for &address in &universe {
            for level in 0..4 {
                interesting[index(address, level)] = true;
            }
        }
        Machine {
            words: (0..frames * 512).map(|_| Cell::new(0)).collect(),
            references: (0..frames).map(|_| AtomicU32::new(0)).collect(),
            counts: (0..frames).map(|_| TableCounts::default()).collect(),
            in_use: (0..frames).map(|_| Cell::new(None)).collect(),
            // Frame 0 is the page of zeroes; low numbers first.
            links: (0..frames).map(|_| Cell::new(None)).collect(),
            free: RefCell::new((1..frames as u64).rev().collect()),
            cores: RefCell::default(),
            universe,
            interesting,
            fail_after: Cell::new(None),
            refused: Cell::new(false),
            allocations: Cell::new(0),
            invalidations: Cell::new(0),
            committed: Cell::new(0),
            withheld: Cell::new(0),
            bystander: RefCell::new(None),
            looking: Cell::new(false),
            violation: RefCell::new(None),
            architecture: std::marker::PhantomData,
        }
    }

    pub fn set_bystander(&self, bystander: Weak<dyn Bystander>) {
        *self.bystander.borrow_mut() = Some(bystander);
    }

    /// A point at which another core may get ahead.
    pub fn interleave(&self, point: Point) {
        if self.looking.get() {
            return;
        }
        let bystander = self.bystander.borrow().as_ref().and_then(Weak::upgrade);
        if let Some(bystander) = bystander {
            bystander.act(point);
        }
    }

    /// Reads a tree for the model, in one moment of the machine.
    pub fn look<R>(&self, look: impl FnOnce() -> R) -> R {
        let before = self.looking.replace(true);
        let result = look();
        self.looking.set(before);
        result
    }

    pub fn violate(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    pub fn verdict(&self) -> Result<(), String> {
        self.violation.borrow().clone().map_or(Ok(()), Err)
    }

    /// References to a frame, as they are counted.
    pub fn count(&self, frame: Frame) -> u32 {
        self.references[self.number(frame)].load(Ordering::Relaxed)
    }

    /// Frames that are free and not committed.
    pub fn available(&self) -> usize {
        let free = self.free.borrow().len() as isize - self.committed.get();
        (free.max(0) as usize).saturating_sub(self.withheld.get())
    }

    /// Leaves so many frames available, or all of them.
    pub fn squeeze(&self, left: Option<usize>) {
        self.withheld.set(0);
        self.withheld.set(left.map_or(0, |left| self.available().saturating_sub(left)));
    }

    fn take(&self, purpose: Purpose) -> Option<Frame> {
        let number = self.free.borrow_mut().pop()? as usize;
        self.in_use[number].set(Some(purpose));
        self.references[number].store(1, Ordering::Relaxed);
        self.links[number].set(None);
        for word in 0..512 {
            self.words[number * 512 + word].set(UNDEFINED);
        }
        Some(Frame(BASE + number as u64))
    }

    pub fn frames_in_use(&self) -> usize {
        self.in_use.iter().filter(|frame| frame.get().is_some()).count()
    }

    /// A frame that the allocator does not own.
    pub fn foreign_frame(&self) -> Frame {
        Frame(BASE + self.in_use.len() as u64 + 16)
    }

    pub fn is_foreign(&self, frame: Frame) -> bool {
        frame.0 >= BASE + self.in_use.len() as u64
    }

    fn is_memory(&self, frame: Frame) -> bool {
        frame.0.checked_sub(BASE).is_some_and(|number| number < self.in_use.len() as u64)
    }

    fn number(&self, frame: Frame) -> usize {
        assert!(self.is_memory(frame), "{frame:?} is not memory");
        (frame.0 - BASE) as usize
    }

    pub fn word(&self, frame: Frame, word: usize) -> &Cell<u64> {
        &self.words[self.number(frame) * 512 + word]
    }
}
