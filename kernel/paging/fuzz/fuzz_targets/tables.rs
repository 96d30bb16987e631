//! Arbitrary bytes in tables: every walk over them ends, and none panics.
#![no_main]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use graft_paging::{
    AArch64, AddressSpace, ENTRIES, Format, Frame, Level, Memory, Place, Purpose, TableCounts, VirtAddr, X86_64,
};
use libfuzzer_sys::fuzz_target;

const FRAMES: usize = 8;
/// Descriptors of each table that the input fills.
const FILLED: [usize; 4] = [0, 1, 255, 511];

/// Memory in which every number names a frame, so that each descriptor leads to a table made from the input.
#[derive(Clone)]
struct Wild(Rc<Frames>);

#[derive(Default)]
struct Frames {
    words: [[Cell<u64>; FILLED.len()]; FRAMES],
    references: [AtomicU32; FRAMES],
    counts: [Counts; FRAMES],
}

/// A table's counts, as memory: here they say that entries lie anywhere in the table, and nothing else.
#[derive(Default)]
#[repr(C, align(32))]
struct Counts([AtomicU32; 8]);

/// Where a table's counts say within which bounds its entries lie: start and end, 16 bits each.
const BOUNDS: usize = 6;

const _: () = assert!(size_of::<Counts>() == size_of::<TableCounts>());

impl Wild {
    fn word(&self, table: Frame, index: usize) -> Option<&Cell<u64>> {
        let slot = FILLED.iter().position(|&filled| filled == index)?;
        Some(&self.0.words[table.0 as usize % FRAMES][slot])
    }
}

// SAFETY: one thread, and nothing but `new` allocates: the root is frame 0, once.
unsafe impl Memory for Wild {
    fn allocate(&self, _purpose: Purpose) -> Option<Frame> {
        Some(Frame(0))
    }

    unsafe fn free(&self, _frame: Frame, _purpose: Purpose) {}

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        assert!(index < ENTRIES);
        self.word(table, index).map_or(0, Cell::get)
    }

    unsafe fn store(&self, table: Frame, index: usize, raw: u64) {
        assert!(index < ENTRIES);
        if let Some(word) = self.word(table, index) {
            word.set(raw);
        }
    }

    unsafe fn references(&self, frame: Frame) -> &AtomicU32 {
        &self.0.references[frame.0 as usize % FRAMES]
    }

    unsafe fn counts(&self, table: Frame) -> &TableCounts {
        let counts: *const Counts = &self.0.counts[table.0 as usize % FRAMES];
        // SAFETY: of the same size and alignment, and atomics both, which may have any value.
        unsafe { &*counts.cast() }
    }

    unsafe fn zero(&self, _frame: Frame) {}

    unsafe fn copy(&self, _from: Frame, _to: Frame) {}

    fn zero_page(&self) -> Frame {
        Frame(1)
    }

    fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn invalidate_all(&self) {}
}

fuzz_target!(|input: (u64, u64, u8, Vec<u64>)| {
    look::<AArch64>(&input);
    look::<X86_64>(&input);
});

fn look<F: Format>((from, bytes, deepest, words): &(u64, u64, u8, Vec<u64>)) {
    let memory = Wild(Rc::new(Frames::default()));
    let space = AddressSpace::<F, Wild>::new(memory.clone()).expect("there is a frame");
    for (word, value) in memory.0.words.iter().flatten().zip(words) {
        word.set(*value);
    }
    for Counts(counts) in &memory.0.counts {
        counts[BOUNDS].store((ENTRIES as u32) << 16, Ordering::Relaxed);
    }
    let deepest = Level::new(deepest % 4).expect("0 to 3");
    let address = VirtAddr::new(from >> 16).expect("48 bits");
    for start in [0, 1 << 39, address.get(), (1 << 48) - 1] {
        let from = Place { address: start, level: deepest };
        let mut last = None;
        let mut visits = 0;
        let _: ControlFlow<()> = space.visit(from, 1 << 48, Level::LAST, |visit| {
            let place = visit.place();
            assert!(last.is_none_or(|last| last < place) && place >= from);
            assert_eq!(visit.descriptor.entry(visit.level), visit.entry);
            last = Some(place);
            visits += 1;
            assert!(visits <= 4 + 16 + 64 + 256);
            ControlFlow::Continue(())
        });
        let start = VirtAddr::new(start).expect("48 bits");
        if let Some(found) = space.translate(start) {
            assert!(!found.writable_now || found.page.writable);
        }
    }
    let whole_pages = (bytes >> 16 & !4095).max(4096);
    if let Some(gap) = space.find_gap(address.page(), whole_pages) {
        assert!(gap >= address.page() && gap.get() + whole_pages <= 1 << 48);
        assert!(space.translate(gap).is_none());
    }
}
