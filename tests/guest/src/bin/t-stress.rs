//! Forks, writes, unmaps, protects and exits in several processes at once, and checks every byte that it minds:
//! `t-stress [SECONDS]`.
//!
//! Each worker keeps a note of what each of its pages holds. A child inherits the note with the memory, checks the one
//! by the other, changes both at random, and its own children do the same. No change that one process makes shows in
//! the memory of another.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::process::{self, Fork};
use graft_rt::test::{FreeFrames, Numbers, Report, claim_success};
use graft_rt::{Arguments, Error, ExitStatus, Permissions, Process, Region, Share, eprintln, println, time};

graft_rt::program!(main);

/// One for each core of the boards.
const WORKERS: u64 = 4;
/// Over three level-3 tables, and over the edge of a level-2 table.
const BYTES: usize = 6 << 20;
/// Children of one process alive at a time.
const CHILDREN: usize = 3;
/// Forks of forks of forks.
const DEEPEST: u32 = 2;
/// Steps between two looks at everything.
const STEPS: usize = 40;

fn main(arguments: Arguments) -> Result<i32, Error> {
    let seconds = match arguments.get(1).map(str::parse) {
        None => 2,
        Some(Ok(seconds)) => seconds,
        Some(Err(_)) => {
            eprintln!("usage: t-stress [SECONDS]");
            return Ok(2);
        }
    };
    let report = Report::new();
    let frames = FreeFrames::now();
    let end = time::clock() + Duration::from_secs(seconds);
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push(Process::fork_into(Share::ALL[number as usize % 4], || work(number, end))?);
    }
    for worker in &workers {
        claim_success(&report, worker, format_args!("a worker"));
    }
    drop(workers);
    frames.claim_same(&report, format_args!("after {seconds} s"));
    Ok(report.finish())
}

/// A worker's whole life: its exit code.
fn work(number: u64, end: Duration) -> i32 {
    // Just below a level-2 boundary, each at its own.
    let start = ((number as usize + 2) << 30) - (2 << 20);
    let Ok(region) = Region::at(start, BYTES) else { return 1 };
    let mut state = State { region, notes: alloc::vec![0; BYTES / PAGE_SIZE], numbers: Numbers::new(number), depth: 0 };
    let (mut steps, mut forks) = (0_u64, 0_u64);
    // At least once: a slow machine may be late already.
    loop {
        if let Err(problem) = state.round(&mut forks) {
            println!("worker {number}, after {steps} steps and {forks} forks: {problem}");
            return 1;
        }
        steps += STEPS as u64;
        if time::clock() >= end {
            break;
        }
    }
    println!("worker {number}: {steps} steps and {forks} forks of its own");
    0
}

/// A process's memory and what it should hold.
struct State {
    region: Region,
    /// The first byte of each page.
    notes: Vec<u8>,
    numbers: Numbers,
    depth: u32,
}

impl State {
    /// Some steps, with children that live through a few of them; then a look at everything.
    fn round(&mut self, forks: &mut u64) -> Result<(), &'static str> {
        let mut children = Vec::new();
        for _ in 0..STEPS {
            match self.numbers.below(20) {
                0..12 => self.write(),
                12 | 13 => self.renew()?,
                14 => self.protect()?,
                15 => self.check("its memory has changed")?,
                _ if self.depth < DEEPEST && children.len() < CHILDREN => {
                    children.extend(self.fork(forks));
                }
                _ => {
                    if let Some(child) = children.pop() {
                        ended(&child)?;
                    }
                }
            }
        }
        children.iter().try_for_each(ended)?;
        self.check("its memory has changed at the end of a round")
    }

    fn page(&mut self) -> usize {
        // Often the same few, on the edges of tables.
        let pages = self.notes.len();
        match self.numbers.below(3) {
            0 => self.numbers.choose(&[0, 511, 512, 513, 1023, 1024, pages - 1]),
            _ => self.numbers.below(pages),
        }
    }

    fn write(&mut self) {
        let (page, value) = (self.page(), self.numbers.next() as u8);
        self.region.write(page * PAGE_SIZE, value);
        self.notes[page] = value;
    }

    fn some_pages(&mut self) -> core::ops::Range<usize> {
        let first = self.page();
        let last = (first + self.numbers.choose(&[1, 2, 64, 512, 600])).min(self.notes.len());
        first..last
    }

    /// Unmaps pages, whole tables among them, and maps fresh ones; or gives up what they hold.
    #[allow(unsafe_code)]
    fn renew(&mut self) -> Result<(), &'static str> {
        let pages = self.some_pages();
        let bytes = pages.start * PAGE_SIZE..pages.end * PAGE_SIZE;
        if self.numbers.below(2) == 0 {
            self.region.discard(bytes).map_err(|_| "it cannot discard")?;
            self.notes[pages].fill(0);
            return Ok(());
        }
        // SAFETY: this program maps nothing before the next line, which maps the range again.
        unsafe { self.region.unmap(bytes.clone()) }.map_err(|_| "it cannot unmap")?;
        self.region.remap(bytes).map_err(|_| "it cannot map again")?;
        self.notes[pages].fill(0);
        Ok(())
    }

    /// Makes a range read-only and writable again.
    fn protect(&mut self) -> Result<(), &'static str> {
        let pages = self.some_pages();
        let bytes = pages.start * PAGE_SIZE..pages.end * PAGE_SIZE;
        for permissions in [Permissions::Read, Permissions::ReadWrite] {
            self.region.protect(bytes.clone(), permissions).map_err(|_| "it cannot protect")?;
        }
        Ok(())
    }

    /// Forks a child that goes on in the same way for a round.
    fn fork(&mut self, forks: &mut u64) -> Option<Process> {
        let share = self.numbers.choose(&Share::ALL);
        match process::fork(share) {
            Ok(Fork::Child) => {
                self.depth += 1;
                self.numbers = Numbers::new(process::identify());
                let checked = self.check("a child has not what its parent had").and_then(|()| self.round(&mut 0));
                process::exit(match checked {
                    Ok(()) => 0,
                    Err(problem) => {
                        println!("process {} at depth {}: {problem}", process::identify(), self.depth);
                        1
                    }
                })
            }
            Ok(Fork::Parent(child)) => {
                *forks += 1;
                Some(child)
            }
            // On a small machine the fork may be refused: the round goes on without a child.
            Err(_) => None,
        }
    }

    fn check(&self, problem: &'static str) -> Result<(), &'static str> {
        match self.region.first_difference(|page| self.notes[page]) {
            None => Ok(()),
            Some(_) => Err(problem),
        }
    }
}

fn ended(child: &Process) -> Result<(), &'static str> {
    match child.wait() {
        Ok(ExitStatus::Exited(0)) => Ok(()),
        _ => Err("a child has failed"),
    }
}
