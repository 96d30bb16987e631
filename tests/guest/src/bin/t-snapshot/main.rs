//! Tests snapshots, at every depth of sharing: memory and registers come back, and processes begin where they were
//! taken.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod registers;
mod warm;
mod wrong;

use alloc::vec::Vec;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::snapshot::{self, Taken};
use graft_rt::test::{FreeFrames, Report, claim_success, touch_stack_and_heap};
use graft_rt::{Arguments, Error, Permissions, Process, Region, Share, claim, claim_eq, memory, process};

graft_rt::program!(main);

/// Over two level-3 tables.
const BYTES: usize = 4 << 20;
const ROUNDS: u64 = 50;

fn main(arguments: Arguments) -> Result<i32, Error> {
    if let Some(code) = warm::run(arguments) {
        return Ok(code);
    }
    let report = Report::new();
    touch_stack_and_heap();
    for share in Share::ALL {
        for (what, part) in [
            ("memory comes back, time and again", comes_back as fn(&Report, Share) -> Result<(), Error>),
            ("what was mapped, unmapped and protected comes back", shape),
            ("processes begin at the snapshot", children),
            ("a snapshot of a restored process", nested),
            ("registers come back", registers::come_back),
        ] {
            let frames = FreeFrames::now();
            // In a child, so that this process's own report does not go back in time.
            let child = Process::fork_into(share, || {
                let inner = Report::new();
                match part(&inner, share) {
                    Ok(()) => inner.finish_quietly(),
                    Err(error) => {
                        inner.claim(false, format_args!("{what}: {error}"));
                        1
                    }
                }
            })?;
            claim_success(&report, &child, format_args!("--share {}: {what}", share.name()));
            drop(child);
            frames.claim_same(&report, format_args!("--share {}: {what}", share.name()));
            report.done(format_args!("--share {}: {what}", share.name()));
        }
    }
    warm::programs(&report)?;
    wrong::calls(&report)?;
    Ok(report.finish())
}

fn filled() -> Result<Region, Error> {
    let region = Region::new(BYTES)?;
    region.fill(|page| page as u8);
    Ok(region)
}

/// Each round finds everything as it was and spoils it.
fn comes_back(report: &Report, share: Share) -> Result<(), Error> {
    let region = filled()?;
    let mut local = 7_u64;
    let (round, snapshot) = match snapshot::take(share)? {
        Taken::Now(snapshot) => (0, snapshot),
        Taken::Again(snapshot, round) => (round, snapshot),
        Taken::Child => unreachable!("no process is made of it"),
    };
    claim_eq!(report, region.first_difference(|page| page as u8), None, "round {round}: the memory");
    claim_eq!(report, core::hint::black_box(local), 7, "round {round}: a variable");
    let tables = process::own_info().tables;
    local += round + 1;
    core::hint::black_box(&mut local);
    if round < ROUNDS {
        // The whole, every other page, or one.
        for page in (0..region.pages()).step_by([1, 2, region.pages()][round as usize % 3]) {
            region.write(page * PAGE_SIZE, 0xee);
        }
        claim!(report, process::own_info().tables >= tables, "writes take no table away");
        claim_eq!(report, Some(snapshot.restore(round + 1)), None, "the way back");
    }
    Ok(())
}

/// The shape of the address space comes back with its content.
fn shape(report: &Report, share: Share) -> Result<(), Error> {
    let region = filled()?;
    let (round, snapshot) = match snapshot::take(share)? {
        Taken::Now(snapshot) => (0, snapshot),
        Taken::Again(snapshot, round) => (round, snapshot),
        Taken::Child => unreachable!("no process is made of it"),
    };
    claim_eq!(report, region.first_difference(|page| page as u8), None, "round {round}: the memory");
    region.write(0, 0);
    match round {
        0 => region.protect(0..PAGE_SIZE, Permissions::Read)?,
        1 => region.protect(0..BYTES, Permissions::None)?,
        // The last: and a neighbour that must be gone afterwards.
        2 => _ = memory::map(0x10_0000_0000, BYTES, Permissions::ReadWrite)?,
        _ => {
            let again = memory::map(0x10_0000_0000, PAGE_SIZE, Permissions::ReadWrite);
            claim_eq!(report, again, Ok(0x10_0000_0000), "what was mapped after the snapshot is gone");
            return Ok(());
        }
    }
    claim_eq!(report, Some(snapshot.restore(round + 1)), None, "the way back");
    Ok(())
}

/// The parent changes its memory; children made of the snapshot begin with the memory before that.
fn children(report: &Report, share: Share) -> Result<(), Error> {
    let region = filled()?;
    let snapshot = match snapshot::take(share)? {
        Taken::Now(snapshot) => snapshot,
        Taken::Again(..) => unreachable!("nothing restores it"),
        Taken::Child => {
            let same = region.first_difference(|page| page as u8).is_none();
            region.fill(|page| !page as u8);
            process::exit(i32::from(!same));
        }
    };
    let mut all = Vec::new();
    for round in 0..8_u8 {
        region.fill(|page| page as u8 ^ round);
        all.push(snapshot.fork()?);
    }
    drop(snapshot);
    for child in &all {
        claim_success(report, child, format_args!("a process made of a snapshot"));
    }
    claim_eq!(report, region.first_difference(|page| page as u8 ^ 7), None, "the parent's memory");
    Ok(())
}

/// Snapshots of different moments stand beside each other.
fn nested(report: &Report, share: Share) -> Result<(), Error> {
    let region = filled()?;
    let first = match snapshot::take(share)? {
        Taken::Now(first) => first,
        Taken::Again(first, _) => {
            claim_eq!(report, region.first_difference(|page| page as u8), None, "the first moment");
            drop(first);
            return Ok(());
        }
        Taken::Child => unreachable!("no process is made of it"),
    };
    region.fill(|_| 5);
    let second = match snapshot::take(Share::default())? {
        Taken::Now(second) => second,
        Taken::Again(second, _) => {
            claim_eq!(report, region.first_difference(|_| 5), None, "the second moment");
            drop(second);
            claim_eq!(report, Some(first.restore(1)), None, "the way back to the first");
            return Ok(());
        }
        Taken::Child => unreachable!("no process is made of it"),
    };
    region.fill(|_| 6);
    claim_eq!(report, Some(second.restore(1)), None, "the way back to the second");
    Ok(())
}
