//! Tests what happens when memory runs out: only the process that asks for it is ended, and all of it comes back.
//! `t-oom --hoard objects` and `t-oom --hoard processes` take all of it, and keep it.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod hoard;
mod squeeze;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::{PAGE_SIZE, ProcessState};
use graft_rt::archive::{Archive, FileError};
use graft_rt::gate::Gate;
use graft_rt::memory::Shared;
use graft_rt::process::{STANDARD_HANDLES, sleep};
use graft_rt::snapshot::{self, Taken};
use graft_rt::test::{FreeFrames, Report, claim_end, touch_stack_and_heap};
use graft_rt::{Arguments, Error, ExitStatus, FaultKind, Process, Region, Share, claim, claim_eq, println, system};

graft_rt::program!(main);

const STARVED: ExitStatus = ExitStatus::Faulted(FaultKind::OutOfMemory);

fn main(mut arguments: Arguments) -> Result<i32, FileError> {
    if arguments.nth(1) == Some("--hoard") {
        hoard::hoard(arguments.next().unwrap_or("objects"));
    }
    let report = Report::new();
    let frames = FreeFrames::now();
    greedy(&report)?;
    crowd(&report)?;
    object(&report)?;
    restored(&report)?;
    let archive = Archive::open()?;
    let image = archive.file("true")?;
    squeeze::squeezed(&report, image)?;
    scramble(&report, image)?;
    heap(&report);
    drop(archive);
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// More bytes than the machine has memory.
fn too_much() -> Result<usize, Error> {
    Ok((system::info()?.total_frames as usize + 1) * PAGE_SIZE)
}

/// A child that writes to more memory than there is, at every depth of sharing.
fn greedy(report: &Report) -> Result<(), Error> {
    let memory = Region::new(too_much()?)?;
    memory.write(0, 1);
    for share in Share::ALL {
        let frames = FreeFrames::now();
        let child = Process::fork_into(share, || {
            memory.fill(|_| 2);
            0
        })?;
        claim_end(report, &child, STARVED, format_args!("a child that takes all memory ({})", share.name()));
        drop(child);
        frames.claim_same(report, format_args!("after a child that took all memory ({})", share.name()));
        claim_eq!(report, memory.read(0), 1, "the parent's memory");
    }
    report.done(format_args!("a process that takes all memory is ended, and the memory comes back"));
    Ok(())
}

/// Several at once: all of them, or all but the last, are ended, but not the parent.
fn crowd(report: &Report) -> Result<(), Error> {
    let memory = Region::new(too_much()?)?;
    let frames = FreeFrames::now();
    let mut children = Vec::new();
    for share in Share::ALL {
        children.push(Process::fork_into(share, || {
            memory.fill(|_| 3);
            0
        })?);
    }
    for child in &children {
        claim_end(report, child, STARVED, format_args!("one of several that take all memory"));
    }
    children.clear();
    frames.claim_same(report, format_args!("after several that took all memory"));
    report.done(format_args!("several that take all memory are ended, and it comes back"));
    Ok(())
}

/// A memory object of as many pages as there are: the frames run out when nearly all of it has been made.
fn object(report: &Report) -> Result<(), Error> {
    let frames = FreeFrames::now();
    let free = system::free_frames()? as usize;
    let refusal = Shared::new(free * PAGE_SIZE).map(drop);
    claim_eq!(report, refusal, Err(Error::OutOfMemory), "an object that leaves no frame for its tables");
    frames.claim_same(report, format_args!("after an object that could not be completed"));
    report.done(format_args!("an object that cannot be completed leaves nothing behind"));
    Ok(())
}

/// A restore that would go in pieces if there were tables for that: there are some, but too few, and it must not need
/// any.
fn restored(report: &Report) -> Result<(), Error> {
    const TABLE: usize = 2 << 20;
    const TABLES: usize = 256;
    const APART: usize = 1 << 40;
    let frames = FreeFrames::now();
    let child = Process::fork_into(Share::default(), || {
        let Ok(memory) = Region::new(TABLES * TABLE) else { return 2 };
        let set = |value| (0..TABLES).for_each(|table| memory.write(table * TABLE, value));
        set(1);
        match snapshot::take(Share::Copy) {
            Ok(Taken::Now(snapshot)) => {
                set(2);
                let aside = [1, 2].map(|place| Region::at(place * APART, PAGE_SIZE));
                let mut hoard = Vec::with_capacity(200);
                let mut bytes = 1 << 32;
                while bytes >= PAGE_SIZE {
                    match Shared::new(bytes) {
                        Ok(object) => hoard.push(object),
                        Err(_) => bytes /= 2,
                    }
                }
                // The tables that lead to them are free now.
                drop(aside);
                let refusal = snapshot.restore(1);
                drop(hoard);
                println!("a restore with a few frames left: {refusal}");
                REFUSED
            }
            Ok(_) => i32::from((0..TABLES).any(|table| memory.read(table * TABLE) != 1)),
            Err(_) => 2,
        }
    })?;
    claim_end(report, &child, ExitStatus::Exited(0), format_args!("a restore with a few frames left"));
    drop(child);
    frames.claim_same(report, format_args!("after a restore with a few frames left"));
    report.done(format_args!("a restore takes no memory that it can do without"));
    Ok(())
}

/// A child's exit code when its request was refused.
const REFUSED: i32 = 3;

/// A process that takes memory and holds it.
struct Hog {
    start: Gate,
    ready: Gate,
    process: Process,
}

impl Hog {
    fn new(pages: usize) -> Result<Hog, Error> {
        let (start, ready) = (Gate::new()?, Gate::new()?);
        let process = Process::fork_into(Share::default(), || {
            let Ok(memory) = Region::new(pages * PAGE_SIZE) else { return 1 };
            start.pass();
            memory.fill(|_| 1);
            ready.open();
            sleep(Duration::from_secs(600));
            1
        })?;
        Ok(Hog { start, ready, process })
    }

    /// Lets it take its memory, or be ended for trying.
    fn feed(&self) -> Result<(), Error> {
        self.start.open();
        while !self.ready.is_open() && self.process.info()?.state != ProcessState::Ended as u32 {
            sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Ends it, if it has not been ended.
    fn end(self) -> Result<(), Error> {
        let _ = self.process.kill(0);
        self.process.wait().map(drop)
    }
}

/// Several processes fork, write and spawn at once while hogs, each half as greedy as the one before,
/// hold all but the last few frames.
fn scramble(report: &Report, image: &[u8]) -> Result<(), Error> {
    let target = Region::new(4 << 20)?;
    target.fill(|page| page as u8);
    let frames = FreeFrames::now();
    let total = system::info()?.total_frames as usize;
    let mut hogs = Vec::new();
    for halvings in 1..=total.ilog2() {
        hogs.push(Hog::new(total >> halvings)?);
    }
    let gate = Gate::new()?;
    let mut workers = Vec::new();
    for number in 0..8_usize {
        workers.push(Process::fork_into(Share::ALL[number % 4], || {
            gate.pass();
            for round in 0..20_usize {
                let code = match round % 5 {
                    4 => spawn(image),
                    depth => fork_and_write(Share::ALL[depth], &target),
                };
                if code != 0 && code != REFUSED {
                    return 1;
                }
            }
            0
        })?);
    }
    touch_stack_and_heap();
    hogs.iter().try_for_each(Hog::feed)?;
    let left = system::free_frames()?;
    gate.open();
    for worker in &workers {
        let status = worker.wait()?;
        claim!(report, status.is_success() || status == STARVED, "a worker with {left} frames for all: it {status}");
    }
    hogs.into_iter().try_for_each(Hog::end)?;
    drop((workers, gate));
    frames.claim_same(report, format_args!("after several had scrambled for the last frames"));
    let changed = target.first_difference(|page| page as u8);
    claim_eq!(report, changed, None, "the first page of the parent's memory that has changed");
    report.done(format_args!("several scramble for the last {left} frames and all come back"));
    Ok(())
}

/// 0 if fork works and the child sees what it should, or is starved; [`REFUSED`] if there is no memory.
fn fork_and_write(share: Share, target: &Region) -> i32 {
    let child = Process::fork_into(share, || {
        target.write(0, 99);
        i32::from(target.read(0) != 99 || target.read(PAGE_SIZE) != 1)
    });
    let status = match child {
        Ok(child) => child.wait(),
        Err(error) => Err(error),
    };
    verdict(status, target.read(0) == 0)
}

fn spawn(image: &[u8]) -> i32 {
    let child = Process::spawn_image(image, &["true"], &STANDARD_HANDLES);
    verdict(child.and_then(|child| child.wait()), true)
}

fn verdict(status: Result<ExitStatus, Error>, unchanged: bool) -> i32 {
    match status {
        Ok(status) if unchanged && (status.is_success() || status == STARVED) => 0,
        Err(Error::OutOfMemory) => REFUSED,
        _ => 1,
    }
}

/// The heap returns an error instead of ending the program.
fn heap(report: &Report) {
    let mut bytes: Vec<u8> = Vec::new();
    claim!(report, bytes.try_reserve_exact(1 << 50).is_err(), "the heap has no room for 1 PiB");
    claim!(
        report,
        bytes.try_reserve_exact(isize::MAX as usize).is_err(),
        "the heap has no room for half of everything"
    );
    claim!(report, bytes.try_reserve_exact(100_000).is_ok(), "the heap has room for 100,000 bytes");
    report.done(format_args!("the heap refuses what it cannot give"));
}
