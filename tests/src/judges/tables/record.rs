//! Memory and TLBs that write down what the tree does.

use graft_kernel::arch::invalidation::{self, Instruction};
use graft_paging::{AArch64, AddressSpace, ENTRIES, Frame, Memory, PAGE_BITS, Purpose, Reach, TableCounts, VirtRange};
use graft_table_checker::{Checker, Event, Invalidation, Thread, Violation};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Number of the first frame, which is the page of zeroes.
const BASE: u64 = 0x8_0000;
/// Frames there are.
const FRAMES: usize = 1 << 14;

/// What the kernel does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It invalidates nothing.
    NoInvalidation,
    /// It does not wait for its stores.
    NoBarrierBefore,
    /// It does not wait for the invalidation.
    NoBarrierAfter,
    /// It invalidates only last-level entries where tables have changed.
    LastLevel,
    /// It names another space.
    OtherAsid,
}

struct State {
    words: Box<[Cell<u64>]>,
    references: Box<[AtomicU32]>,
    counts: Box<[TableCounts]>,
    free: RefCell<Vec<u64>>,
    is_table: Box<[Cell<bool>]>,
    log: RefCell<Vec<(Thread, Event, &'static str)>>,
    checker: RefCell<Checker>,
    violation: RefCell<Option<(usize, Violation)>>,
    /// The acting thread, and its operation.
    actor: Cell<(Thread, &'static str)>,
    planted: Option<Planted>,
}

/// A handle on the memory, as every space holds one.
#[derive(Clone)]
pub struct Recorder(Rc<State>);

impl Recorder {
    /// Memory of which no frame is in use.
    pub fn new(planted: Option<Planted>) -> Recorder {
        Recorder(Rc::new(State {
            words: (0..FRAMES * ENTRIES).map(|_| Cell::new(0)).collect(),
            references: (0..FRAMES).map(|_| AtomicU32::new(0)).collect(),
            counts: (0..FRAMES).map(|_| TableCounts::default()).collect(),
            free: RefCell::new((1..FRAMES as u64).rev().collect()),
            is_table: (0..FRAMES).map(|_| Cell::new(false)).collect(),
            log: RefCell::default(),
            checker: RefCell::default(),
            violation: RefCell::default(),
            actor: Cell::new((0, "")),
            planted,
        }))
    }

    /// From now on this thread acts, in this operation.
    pub fn act(&self, thread: Thread, operation: &'static str) {
        self.0.actor.set((thread, operation));
    }

    /// Writes an event down and has it judged, until the first that breaks a rule.
    pub fn note(&self, event: Event) {
        let (thread, operation) = self.0.actor.get();
        let number = self.0.log.borrow().len();
        self.0.log.borrow_mut().push((thread, event, operation));
        if self.0.violation.borrow().is_none()
            && let Err(violation) = self.0.checker.borrow_mut().step(thread, event)
        {
            *self.0.violation.borrow_mut() = Some((number, violation));
        }
    }

    /// A space's first run.
    pub fn begin(&self, root: Frame, asid: u16) {
        self.note(Event::Run { root: root.address(), asid });
    }

    /// Ends a space; no thread runs in it any more.
    pub fn end(&self, space: AddressSpace<AArch64, Recorder>, asid: u16, thread: Thread) {
        self.act(thread, "exit");
        self.note(Event::Release(space.root().address()));
        space.destroy(&Tlb { recorder: self, asid });
    }

    /// Everything that was written down.
    pub fn log(&self) -> Vec<(Thread, Event, &'static str)> {
        self.0.log.borrow().clone()
    }

    /// Forgets all but the first events.
    pub fn cut(&self, length: usize) {
        self.0.log.borrow_mut().truncate(length);
    }

    /// The first event that broke a rule, by its number, and the rule.
    pub fn violation(&self) -> Option<(usize, Violation)> {
        self.0.violation.borrow().clone()
    }

    /// Frames in use.
    pub fn in_use(&self) -> usize {
        FRAMES - 1 - self.0.free.borrow().len()
    }

    fn number(frame: Frame) -> usize {
        (frame.0 - BASE) as usize
    }

    fn word(&self, table: Frame, index: usize) -> &Cell<u64> {
        &self.0.words[Self::number(table) * ENTRIES + index]
    }
}

#[expect(unsafe_code, reason = "implementing Memory is a promise")]
// SAFETY: `allocate` hands out numbers of a free list, each once until it is freed; all of it belongs to one thread, so
// loads and stores cannot tear; references and counts are distinct elements of boxed slices that never move.
unsafe impl Memory for Recorder {
    fn allocate(&self, purpose: Purpose) -> Option<Frame> {
        let number = self.0.free.borrow_mut().pop()?;
        let frame = Frame(BASE + number);
        self.0.references[number as usize].store(1, Relaxed);
        self.0.is_table[number as usize].set(purpose == Purpose::Table);
        if purpose == Purpose::Table {
            (0..ENTRIES).for_each(|index| self.word(frame, index).set(0));
            self.note(Event::Init(frame.address()));
        }
        Some(frame)
    }

    unsafe fn free(&self, frame: Frame, _purpose: Purpose) {
        self.note(Event::Free(frame.address()));
        self.0.free.borrow_mut().push(frame.0 - BASE);
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        self.word(table, index).get()
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        self.word(table, index).set(raw);
        self.note(Event::Write { address: table.address() + 8 * index as u64, value: raw });
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.0.references[Self::number(frame)]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        &self.0.counts[Self::number(table)]
    }

    unsafe fn zero(&self, frame: Frame) {
        if self.0.is_table[Self::number(frame)].get() {
            (0..ENTRIES).for_each(|index| self.word(frame, index).set(0));
            self.note(Event::Zero(frame.address()));
        }
    }

    unsafe fn copy(&self, _from: Frame, _to: Frame) {}

    fn zero_page(&self) -> Frame {
        Frame(BASE)
    }

    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {
        self.note(Event::WaitForStores);
        self.note(Event::Invalidate(Invalidation::All));
        self.note(Event::WaitForAll);
        self.note(Event::Synchronise);
    }
}

/// The kernel's TLB maintenance for a space, written down.
pub struct Tlb<'a> {
    /// Where.
    pub recorder: &'a Recorder,
    /// The space's identifier.
    pub asid: u16,
}

#[expect(unsafe_code, reason = "implementing Tlb is a promise")]
// SAFETY: nothing walks these tables: what a processor would do is written down, not done.
unsafe impl graft_paging::Tlb for Tlb<'_> {
    fn publish(&self) {
        self.recorder.note(Event::WaitForStores);
        self.recorder.note(Event::Synchronise);
    }

    fn invalidate(&self, range: VirtRange, reach: Reach) {
        let planted = self.recorder.0.planted;
        let note = |event| self.recorder.note(event);
        if planted != Some(Planted::NoBarrierBefore) {
            note(Event::WaitForStores);
        }
        let asid = if planted == Some(Planted::OtherAsid) { self.asid ^ 0x4000 } else { self.asid };
        let reach = if planted == Some(Planted::LastLevel) { Reach::Pages } else { reach };
        if planted != Some(Planted::NoInvalidation) {
            if planted == Some(Planted::LastLevel) {
                note(Event::Invalidate(told(invalidation::of_page(asid, range.start() >> PAGE_BITS, reach))));
            } else if range == VirtRange::ALL {
                note(Event::Invalidate(told(invalidation::of_space(asid))));
            } else {
                invalidation::invalidate(asid, range, reach, || false, |which| note(Event::Invalidate(told(which))));
            }
        }
        if planted != Some(Planted::NoBarrierAfter) {
            note(Event::WaitForAll);
            note(Event::Synchronise);
        }
    }
}

/// What an instruction's register says.
fn told(instruction: Instruction) -> Invalidation {
    let asid = |value: u64| (value >> 48) as u16;
    let page = |value: u64| value & ((1 << 44) - 1);
    match instruction {
        Instruction::Leaf(value) => Invalidation::Leaf(asid(value), page(value)),
        Instruction::Page(value) => Invalidation::Page(asid(value), page(value)),
        Instruction::Pages(_) => unreachable!("the Cortex-A72 has no ranges"),
        Instruction::Space(value) => Invalidation::Space(asid(value)),
    }
}
