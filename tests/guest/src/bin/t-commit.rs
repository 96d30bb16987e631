//! Tests guaranteed forks: every copy that they cause finds memory even when no frame is left for anything else.
//!
//! A process is under a guarantee from its first fork on or never, so each part runs in a copy of this program that has
//! not forked yet.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::archive::FileError;
use graft_rt::gate::Gate;
use graft_rt::process::{self, Fork};
use graft_rt::test::{FreeFrames, Report, claim_end, claim_success, touch_stack_and_heap};
use graft_rt::{Arguments, Error, ExitStatus, FaultKind, Process, Region, Share, claim, claim_eq, system};

graft_rt::program!(main);

type Part = fn(&Report, Share) -> Result<(), Error>;

/// Each part with the depths that it is run at: every run takes all of the machine's memory once or twice.
const PARTS: [(&str, Part, &[Share]); 4] = [
    ("--keep", keep, &Share::ALL),
    ("--family", family, &[Share::L3, Share::L1]),
    ("--refuse", refuse, &[Share::L2]),
    ("--fresh", fresh, &[Share::L3]),
];

/// Memory that is shared: two level-3 tables.
const SHARED: usize = 4 << 20;

fn main(mut arguments: Arguments) -> Result<i32, FileError> {
    arguments.next();
    let report = Report::new();
    if let (Some(name), Some(share)) = (arguments.next(), arguments.next()) {
        let part = PARTS.iter().find(|(known, ..)| *known == name).ok_or(Error::BadArgument)?.1;
        part(&report, Share::from_name(share).ok_or(Error::BadArgument)?)?;
        return Ok(report.finish());
    }
    for (name, _, shares) in PARTS {
        for share in shares {
            let frames = FreeFrames::now();
            let copy = Process::spawn(&["t-commit", name, share.name()])?;
            claim_success(&report, &copy, format_args!("{name} {}", share.name()));
            drop(copy);
            frames.claim_same(&report, format_args!("{name} {}", share.name()));
            claim_eq!(report, system::info()?.committed_frames, 0, "{name} {}: still promised", share.name());
        }
    }
    wrong(&report)?;
    Ok(report.finish())
}

/// Comes under the guarantee; later forks, those of gates included, need not ask.
fn begin(share: Share) -> Result<(), Error> {
    match process::fork_guaranteed(share)? {
        Fork::Child => process::exit(0),
        Fork::Parent(child) => child.wait().map(drop),
    }
}

/// Frames that are neither used nor promised.
fn slack() -> Result<u64, Error> {
    let info = system::info()?;
    Ok(info.free_frames.saturating_sub(info.committed_frames))
}

/// Takes memory until only this much is left.
fn hog(left: u64) -> Result<Region, Error> {
    touch_stack_and_heap();
    let pages = slack()? as usize;
    let region = Region::new(pages * PAGE_SIZE)?;
    // The tables first: afterwards each page is one frame.
    (0..pages).step_by(512).chain([pages - 1]).for_each(|page| region.write(page * PAGE_SIZE, 1));
    let mut next = 0;
    loop {
        let more = slack()?.saturating_sub(left);
        if more == 0 {
            return Ok(region);
        }
        for _ in 0..more.div_ceil(2) {
            while region.read(next * PAGE_SIZE) != 0 {
                next += 1;
            }
            region.write(next * PAGE_SIZE, 1);
        }
    }
}

/// Whether the first byte of each page is what it was, after writing it: a copy of each page must have been made.
fn rewrite(memory: &Region, by: u8) -> i32 {
    if memory.first_difference(|page| page as u8).is_some() {
        return 1;
    }
    memory.fill(|page| page as u8 ^ by);
    i32::from(memory.first_difference(|page| page as u8 ^ by).is_some())
}

fn memory() -> Result<Region, Error> {
    let memory = Region::new(SHARED)?;
    memory.fill(|page| page as u8);
    Ok(memory)
}

/// Parent and child write to all that they share at once.
fn keep(report: &Report, share: Share) -> Result<(), Error> {
    let memory = memory()?;
    begin(share)?;
    let gate = Gate::new()?;
    let before = system::info()?.committed_frames;
    let child = match process::fork_guaranteed(share)? {
        Fork::Child => {
            gate.pass();
            process::exit(rewrite(&memory, 0x55))
        }
        Fork::Parent(child) => child,
    };
    let promised = system::info()?.committed_frames - before;
    claim!(report, promised >= memory.pages() as u64, "{promised} frames are promised for {} pages", memory.pages());
    let hog = hog(0)?;
    gate.open();
    claim_eq!(report, rewrite(&memory, 0xaa), 0, "the parent's pages");
    claim_success(report, &child, format_args!("the child's pages"));
    drop(hog);
    Ok(())
}

/// A guarantee that there is no memory for is refused, and the process that asked goes on as before.
fn refuse(report: &Report, share: Share) -> Result<(), Error> {
    let memory = memory()?;
    begin(share)?;
    let pages = memory.pages() as u64;
    let hog = hog(pages / 2)?;
    FreeFrames::now();
    let before = (slack()?, system::info()?.committed_frames);
    claim_eq!(report, process::fork_guaranteed(share).err(), Some(Error::OutOfMemory), "half of the memory is there");
    claim_eq!(
        report,
        process::fork(share).err(),
        Some(Error::OutOfMemory),
        "a fork under the guarantee that does not ask"
    );
    FreeFrames::now();
    claim_eq!(report, (slack()?, system::info()?.committed_frames), before, "free and promised frames after refusals");
    claim_eq!(report, memory.first_difference(|page| page as u8), None, "the memory");
    drop(hog);
    let child = match process::fork_guaranteed(share)? {
        Fork::Child => process::exit(rewrite(&memory, 1)),
        Fork::Parent(child) => child,
    };
    claim_success(report, &child, format_args!("with memory back"));
    Ok(())
}

/// Six relatives write to the same pages at once: a relative that comes second finds the promised frame in use for a
/// moment, not for good.
fn family(report: &Report, share: Share) -> Result<(), Error> {
    let memory = memory()?;
    begin(share)?;
    let gate = Gate::new()?;
    let mut children = Vec::new();
    for number in 1..=6_u8 {
        // Each a child of the one before: what they share, they share at different levels.
        match process::fork(share)? {
            Fork::Child => {
                gate.pass();
                process::exit(rewrite(&memory, number))
            }
            Fork::Parent(child) => children.push(child),
        }
    }
    let hog = hog(0)?;
    gate.open();
    for child in &children {
        claim_success(report, child, format_args!("one of six"));
    }
    drop(hog);
    claim_eq!(report, memory.first_difference(|page| page as u8), None, "the parent's memory");
    Ok(())
}

/// The guarantee does not cover memory that is touched for the first time: a process that takes too much of it is
/// ended, and its relatives are not affected.
fn fresh(report: &Report, share: Share) -> Result<(), Error> {
    let memory = memory()?;
    begin(share)?;
    let greedy = match process::fork_guaranteed(share)? {
        Fork::Child => {
            let all = Region::new((system::info()?.total_frames as usize + 1) * PAGE_SIZE)?;
            all.fill(|_| 1);
            process::exit(0)
        }
        Fork::Parent(child) => child,
    };
    let modest = match process::fork_guaranteed(share)? {
        Fork::Child => process::exit((0..20).map(|round| rewrite_again(&memory, round)).sum()),
        Fork::Parent(child) => child,
    };
    claim_end(
        report,
        &greedy,
        ExitStatus::Faulted(FaultKind::OutOfMemory),
        format_args!("the relative that takes all memory"),
    );
    claim_success(report, &modest, format_args!("a relative"));
    claim_eq!(report, rewrite(&memory, 3), 0, "the parent's pages");
    Ok(())
}

/// Forks a child that rewrites the memory, and waits for it.
fn rewrite_again(memory: &Region, round: u8) -> i32 {
    let child = Process::fork_into(Share::default(), || rewrite(memory, round | 1));
    match child.and_then(|child| child.wait()) {
        // The fork may be refused: then there is no guarantee to test.
        Ok(ExitStatus::Exited(0)) | Err(Error::OutOfMemory) => 0,
        _ => 1,
    }
}

/// What cannot be asked for.
fn wrong(report: &Report) -> Result<(), Error> {
    Process::fork_into(Share::default(), || 0)?.wait()?;
    let refused = process::fork_guaranteed(Share::default()).err();
    claim_eq!(report, refused, Some(Error::NotAllowed), "a guarantee after a fork without one");
    report.done(format_args!("what has been shared without a guarantee gets none"));
    Ok(())
}
