//! What a processor executes for the tree's TLB maintenance, and which of its cores take part.
//!
//! ```text
//!               AArch64                                   x86_64
//!   publish     DSB ISHST, ISB                            nothing: stores are seen in their order
//!   invalidate  DSB ISHST, TLBI …IS, DSB ISH, ISB         INVLPG or INVPCID on the own core, and an interrupt to each
//!               reaches every core by itself              other core that runs the space, which then does the same
//!   upgrade     as invalidate, of one page                nothing: the fault has discarded what it was due to
//! ```

use super::count::Event;
use super::memory::Metered;
use graft_kernel::arch::invalidation::{self, Instruction};
use graft_paging::{Format, Reach, Tlb, VirtAddr, VirtRange};
use std::cell::RefCell;

/// Processors that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Machine {
    /// AArch64 without `FEAT_TLBIRANGE`, as the Cortex-A72 of a Raspberry Pi 4.
    AArch64,
    /// AArch64 with it.
    AArch64Range,
    /// x86_64 with PCIDs and `INVPCID`.
    X86_64,
}

impl Machine {
    /// All of them.
    pub const ALL: [Machine; 3] = [Machine::AArch64, Machine::AArch64Range, Machine::X86_64];

    /// The name in the CSV.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::AArch64 => "aarch64",
            Machine::AArch64Range => "aarch64-tlbirange",
            Machine::X86_64 => "x86_64",
        }
    }

    /// The instructions that end the use of a range on one core (x86_64) or on all (AArch64): which and how many.
    ///
    /// On AArch64 those that the kernel executes, on x86_64 what Linux does: more than 33 pages cost more one by one
    /// than the whole space does (`tlb_single_page_flush_ceiling` in `arch/x86/mm/tlb.c`).
    fn invalidate(self, range: VirtRange, reach: Reach) -> Vec<(Event, u64)> {
        const FEW: u64 = 33;
        if self == Machine::X86_64 {
            let pages = range.pages();
            return vec![if pages <= FEW { (Event::OnePage, pages) } else { (Event::Space, 1) }];
        }
        let mut all = Vec::new();
        let has_ranges = || self == Machine::AArch64Range;
        invalidation::invalidate(0, range, reach, has_ranges, |instruction| {
            let event = match instruction {
                Instruction::Leaf(_) => Event::OneLeaf,
                Instruction::Page(_) => Event::OnePage,
                Instruction::Pages(_) => Event::Range,
                Instruction::Space(_) => Event::Space,
            };
            all.push((event, 1));
        });
        all
    }
}

/// Which space each core runs, and what it may still have cached of others.
pub struct Cores {
    machine: Machine,
    /// The space of each core, by number.
    running: Vec<Option<usize>>,
    spaces: RefCell<Vec<Tag>>,
}

/// What is known about a space's invalidations.
#[derive(Clone, Default)]
struct Tag {
    /// How many there were.
    invalidations: u64,
    /// How many of them each core had heard of when the space last ran there.
    heard: Vec<Option<u64>>,
}

impl Cores {
    /// So many cores, all of them idle.
    pub fn new(machine: Machine, cores: usize) -> Cores {
        Cores { machine, running: vec![None; cores], spaces: RefCell::default() }
    }

    /// A space that has run nowhere yet.
    pub fn add_space(&self) -> usize {
        let mut spaces = self.spaces.borrow_mut();
        spaces.push(Tag { invalidations: 0, heard: vec![None; self.running.len()] });
        spaces.len() - 1
    }

    /// Lets a thread of the space run on every core.
    pub fn run_everywhere<F: Format>(&mut self, memory: &Metered<F>, space: usize) {
        (0..self.running.len()).for_each(|core| self.switch(memory, core, space));
    }

    /// Lets the space run: where it does already, or else on the last core.
    pub fn run<F: Format>(&mut self, memory: &Metered<F>, space: usize) {
        if !self.running.contains(&Some(space)) {
            let last = self.running.len() - 1;
            self.switch(memory, last, space);
        }
    }

    fn switch<F: Format>(&mut self, memory: &Metered<F>, core: usize, space: usize) {
        if self.running[core].replace(space) == Some(space) {
            return;
        }
        let tag = &mut self.spaces.borrow_mut()[space];
        // A broadcast has reached this core, too. An interrupt would not have been worth its while.
        if self.machine == Machine::X86_64 && tag.heard[core].is_some_and(|heard| heard < tag.invalidations) {
            memory.add(Event::Late, 1);
        }
        tag.heard[core] = Some(tag.invalidations);
    }

    /// Stops every core from running the space, as at its end.
    pub fn leave(&mut self, space: usize) {
        self.running.iter_mut().filter(|running| **running == Some(space)).for_each(|core| *core = None);
    }
}

/// TLB maintenance for one space, on the first of the cores that run it.
pub struct Maintenance<'a, F> {
    /// The cores.
    pub cores: &'a Cores,
    /// Where it is counted.
    pub memory: &'a Metered<F>,
    /// The space.
    pub space: usize,
}

#[expect(unsafe_code, reason = "implementing Tlb is a promise")]
// SAFETY: nothing walks these tables: what a processor would do is counted, not done.
unsafe impl<F: Format> Tlb for Maintenance<'_, F> {
    fn publish(&self) {
        // `DSB ISHST`, `ISB`.
        let barriers = if self.cores.machine == Machine::X86_64 { 0 } else { 2 };
        self.memory.add(Event::Barrier, barriers);
    }

    fn invalidate(&self, range: VirtRange, reach: Reach) {
        let Cores { machine, running, spaces } = self.cores;
        let tag = &mut spaces.borrow_mut()[self.space];
        if tag.heard.iter().all(Option::is_none) {
            // It has never run: there is nothing to invalidate.
            return self.publish();
        }
        let instructions = machine.invalidate(range, reach);
        let execute = || instructions.iter().for_each(|&(event, times)| self.memory.add(event, times));
        tag.invalidations += 1;
        if *machine != Machine::X86_64 {
            execute();
            // `DSB ISHST`, `DSB ISH`, `ISB`.
            return self.memory.add(Event::Barrier, 3);
        }
        let mut cores = (0..running.len()).filter(|core| running[*core] == Some(self.space));
        if let Some(own) = cores.next() {
            tag.heard[own] = Some(tag.invalidations);
            execute();
        }
        for other in cores {
            tag.heard[other] = Some(tag.invalidations);
            self.memory.add(Event::Interrupt, 1);
            self.memory.add(Event::Remote, instructions.iter().map(|(_, times)| times).sum());
        }
    }

    fn upgrade(&self, page: VirtAddr) {
        match self.cores.machine {
            Machine::X86_64 => self.publish(),
            _ => self.invalidate(VirtRange::page(page), Reach::Tables),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions(machine: Machine, pages: u64, reach: Reach) -> [u64; 4] {
        let range = VirtRange::new(1 << 30, pages << 12).unwrap();
        let mut sums = [0; 4];
        for (event, times) in machine.invalidate(range, reach) {
            sums[event as usize - Event::OneLeaf as usize] += times;
        }
        sums
    }

    #[test]
    fn a_page_goes_by_itself_and_much_goes_at_once() {
        use Machine::{AArch64, AArch64Range, X86_64};
        use Reach::{Pages, Tables};
        for (machine, pages, reach, expected) in [
            (AArch64, 1, Pages, [1, 0, 0, 0]),
            (AArch64, 1, Tables, [0, 1, 0, 0]),
            (AArch64, 8, Pages, [8, 0, 0, 0]),
            (AArch64, 8, Tables, [0, 8, 0, 0]),
            (AArch64, 9, Pages, [0, 0, 0, 1]),
            (AArch64Range, 9, Pages, [0, 1, 1, 0]),
            (AArch64Range, 512, Tables, [0, 0, 1, 0]),
            (AArch64Range, 511, Tables, [0, 1, 2, 0]),
            (AArch64Range, 1 << 20, Tables, [0, 0, 1, 0]),
            (AArch64Range, 1 << 21, Tables, [0, 0, 0, 1]),
            (X86_64, 1, Pages, [0, 1, 0, 0]),
            (X86_64, 33, Tables, [0, 33, 0, 0]),
            (X86_64, 34, Tables, [0, 0, 0, 1]),
        ] {
            assert_eq!(instructions(machine, pages, reach), expected, "{machine:?} {pages} {reach:?}");
        }
    }
}
