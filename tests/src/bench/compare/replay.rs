//! Replays a history through one format, on one machine, and checks that every program finds what it wrote.

use super::count::{Counts, Event};
use super::history::{History, Operation};
use super::memory::Metered;
use super::processor::{Cores, Machine, Maintenance};
use graft_paging::{
    AArch64, Access, AddressSpace, Format, Inherit, PAGE_SIZE, Permissions, Reservation, Share, VirtAddr, VirtRange,
    X86_64,
};
use std::collections::BTreeMap;

/// What was counted, by the names under which the history has it counted, in the order of their first mention.
pub type Counted = Vec<(String, Counts)>;

/// Replays a history.
///
/// # Errors
/// The history asks for the impossible, or, worse, a program found something else than it had written: says what, and
/// in which line.
pub fn replay(history: &History, machine: Machine, share: Share, cores: usize) -> Result<Counted, String> {
    match machine {
        Machine::AArch64 | Machine::AArch64Range => World::<AArch64>::new(history, machine, share, cores).run(history),
        Machine::X86_64 => World::<X86_64>::new(history, machine, share, cores).run(history),
    }
}

/// A program with its space, and what it must find there.
struct Process<F: Format> {
    space: AddressSpace<F, Metered<F>>,
    /// Its number for the cores.
    number: usize,
    /// What it wrote, or inherited, by page. Pages that were never written hold 0.
    written: BTreeMap<u64, u64>,
}

struct World<F: Format> {
    memory: Metered<F>,
    cores: Cores,
    share: Share,
    processes: Vec<Option<Process<F>>>,
    counted: Counted,
    /// The entry of `counted` that is being added to.
    current: Option<usize>,
    /// The next content to write; no two are alike.
    next: u64,
}

impl<F: Format> World<F> {
    fn new(history: &History, machine: Machine, share: Share, cores: usize) -> Self {
        World {
            memory: Metered::default(),
            cores: Cores::new(machine, cores),
            share,
            processes: (0..history.spaces).map(|_| None).collect(),
            counted: Vec::new(),
            current: None,
            next: 1,
        }
    }

    fn run(mut self, history: &History) -> Result<Counted, String> {
        for step in &history.steps {
            self.perform(&step.operation).map_err(|error| format!("line {}: {error}", step.line))?;
        }
        self.pause();
        for process in self.processes.iter().flatten() {
            check(&self.memory, process)?;
        }
        for number in 0..self.processes.len() {
            if self.processes[number].is_some() {
                self.exit(number)?;
            }
        }
        match self.memory.in_use() {
            0 => Ok(self.counted),
            lost => Err(format!("{lost} frames are still in use after the last exit")),
        }
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), String> {
        match *operation {
            Operation::Space(number) => {
                let space = AddressSpace::new(self.memory.clone()).map_err(|_| OUT_OF_MEMORY)?;
                self.install(number, space, BTreeMap::new())?;
            }
            Operation::Everywhere(number) => {
                let process = process(&mut self.processes, number)?;
                self.cores.run_everywhere(&self.memory, process.number);
            }
            Operation::Reserve(number, range) => {
                let reservation = Reservation { permissions: Permissions::ReadWrite, inherit: Inherit::Yes };
                self.edit(number, |space, tlb| space.reserve(tlb, range, reservation))?;
            }
            Operation::Unmap(number, range) => {
                self.edit(number, |space, tlb| space.unmap(tlb, range))?;
                let process = process(&mut self.processes, number)?;
                process.written.retain(|page, _| VirtAddr::new(*page).is_none_or(|page| !range.contains(page)));
            }
            Operation::Read(number, range) => {
                pages(range).try_for_each(|page| self.access(number, page, Access::Read))?;
            }
            Operation::Write(number, range) => {
                pages(range).try_for_each(|page| self.access(number, page, Access::Write))?;
            }
            Operation::Scatter(number, range, count, seed) => {
                let mut random = Random(seed.get());
                for _ in 0..count {
                    let page = range.start() + random.below(range.pages()) * PAGE_SIZE;
                    self.access(number, page, Access::Write)?;
                }
            }
            Operation::Fork(parent, child) => {
                let share = self.share;
                let process = process(&mut self.processes, parent)?;
                let written = process.written.clone();
                let space = self.edit(parent, |space, tlb| space.fork(tlb, share))?;
                self.install(child, space, written)?;
            }
            Operation::Exit(number) => self.exit(number)?,
            Operation::Count(ref name) => {
                self.pause();
                let known = self.counted.iter().position(|(known, _)| known == name);
                self.current = Some(known.unwrap_or(self.counted.len()));
                if known.is_none() {
                    self.counted.push((name.clone(), Counts::default()));
                }
                self.memory.count(true);
            }
            Operation::Pause => self.pause(),
        }
        Ok(())
    }

    fn pause(&mut self) {
        self.memory.count(false);
        let counts = self.memory.take();
        if let Some(current) = self.current.take() {
            self.counted[current].1 += counts;
        }
    }

    fn install(
        &mut self,
        number: usize,
        space: AddressSpace<F, Metered<F>>,
        written: BTreeMap<u64, u64>,
    ) -> Result<(), String> {
        self.memory.link(space.root());
        let process = Process { space, number: self.cores.add_space(), written };
        let old = self.processes[number].replace(process);
        old.map_or(Ok(()), |_| Err("there is a space of this name already".into()))
    }

    /// An operation that a program asks for.
    fn edit<T, E: ToString>(
        &mut self,
        number: usize,
        operation: impl FnOnce(&mut AddressSpace<F, Metered<F>>, &Maintenance<'_, F>) -> Result<T, E>,
    ) -> Result<T, String> {
        let process = process(&mut self.processes, number)?;
        self.cores.run(&self.memory, process.number);
        let tlb = Maintenance { cores: &self.cores, memory: &self.memory, space: process.number };
        operation(&mut process.space, &tlb).map_err(|error| error.to_string())
    }

    /// A program's access: the descriptors decide, and where they refuse, the fault handler.
    fn access(&mut self, number: usize, page: u64, access: Access) -> Result<(), String> {
        let memory = &self.memory;
        let process = process(&mut self.processes, number)?;
        self.cores.run(memory, process.number);
        let address = VirtAddr::new(page).ok_or("not a user address")?;
        let found = memory.unseen(|| process.space.translate(address));
        let frame = match found {
            Some(found) if access == Access::Read || found.writable_now => found.page.frame,
            _ => {
                let tlb = Maintenance { cores: &self.cores, memory, space: process.number };
                let resolved = process.space.fault(&tlb, address, access);
                let resolved = resolved.map_err(|fault| format!("{access:?} of {page:#x}: {fault:?}"))?;
                memory.add(Event::Fault, 1);
                memory.add(Event::Split, resolved.table_splits.into());
                resolved.frame
            }
        };
        if access == Access::Write {
            memory.set_stamp(frame, self.next);
            process.written.insert(page, self.next);
            self.next += 1;
        }
        compare(memory.stamp(frame), process, page)
    }

    fn exit(&mut self, number: usize) -> Result<(), String> {
        let process = self.processes[number].take().ok_or(NO_SPACE)?;
        self.memory.unseen(|| check(&self.memory, &process))?;
        self.cores.leave(process.number);
        process.space.destroy(&Maintenance { cores: &self.cores, memory: &self.memory, space: process.number });
        Ok(())
    }
}

const OUT_OF_MEMORY: &str = "out of memory";
const NO_SPACE: &str = "there is no space of this name now";

fn process<F: Format>(processes: &mut [Option<Process<F>>], number: usize) -> Result<&mut Process<F>, String> {
    processes[number].as_mut().ok_or_else(|| NO_SPACE.into())
}

fn pages(range: VirtRange) -> impl Iterator<Item = u64> {
    (range.start()..range.end()).step_by(PAGE_SIZE as usize)
}

/// Whether a page holds what the program has written to it.
fn compare<F: Format>(found: u64, process: &Process<F>, page: u64) -> Result<(), String> {
    match process.written.get(&page).copied().unwrap_or(0) {
        expected if expected == found => Ok(()),
        expected => Err(format!("{page:#x} holds {found} instead of {expected}")),
    }
}

/// Whether a space holds what its program has written, and no page more.
fn check<F: Format>(memory: &Metered<F>, process: &Process<F>) -> Result<(), String> {
    for &page in process.written.keys() {
        let found = VirtAddr::new(page).and_then(|address| process.space.translate(address));
        let found = found.ok_or_else(|| format!("{page:#x} was written and is not mapped"))?;
        compare(memory.stamp(found.page.frame), process, page)?;
    }
    let (resident, written) = (process.space.usage().pages, process.written.len() as u64);
    if resident != written { Err(format!("{resident} pages are resident, {written} were written")) } else { Ok(()) }
}

/// The same numbers for the same seed: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::history;

    fn error(text: &str) -> String {
        let history = &history::parse("test", text).unwrap()[0];
        replay(history, Machine::X86_64, Share::Level3, 2).unwrap_err()
    }

    #[test]
    fn what_a_history_cannot_do_is_named_with_its_line() {
        for (text, expected) in [
            ("space a\nwrite a 1G 4K", "line 2: Write of 0x40000000: Unmapped"),
            ("space a\nspace a", "line 2: there is a space of this name already"),
            ("space a\nfork b c", "line 2: there is no space of this name now"),
            ("space a\nexit a\nexit a", "line 3: there is no space of this name now"),
            ("space a\nreserve a 1G 8K\nreserve a 1G 4K", "line 3: something is mapped at 0x40000000 already"),
        ] {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn a_program_that_finds_something_else_than_it_wrote_is_noticed() {
        let text = "space a\nreserve a 1G 8K\nwrite a 1G 8K";
        let history = &history::parse("test", text).unwrap()[0];
        let mut world = World::<AArch64>::new(history, Machine::AArch64, Share::Level3, 1);
        history.steps.iter().for_each(|step| world.perform(&step.operation).unwrap());
        let process = world.processes[0].as_ref().unwrap();
        check(&world.memory, process).unwrap();
        let page = process.space.translate(VirtAddr::new((1 << 30) + 4096).unwrap()).unwrap().page.frame;
        world.memory.set_stamp(page, 7);
        assert_eq!(check(&world.memory, process).unwrap_err(), "0x40001000 holds 7 instead of 2");
        assert!(world.exit(0).is_err());
    }
}
