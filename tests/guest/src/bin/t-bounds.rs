//! Tests that no program holds up others: neither those that look at it while its memory is busy, nor those that print
//! while it prints, nor those that need a page while it asks for more memory than there is.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::spin_loop;

use graft_rt::abi::{PAGE_SIZE, ProcessState, THREADS_MAX};
use graft_rt::memory::Shared;
use graft_rt::process::{self, yield_now};
use graft_rt::test::{Bare, FreeFrames, Report, claim_end, claim_success};
use graft_rt::{
    Arguments, Error, ExitStatus, Permissions, Process, Region, Share, claim, claim_eq, print, system, thread,
};

graft_rt::program!(main);

/// Memory whose permissions are changed all at once.
const BUSY: usize = 128 << 20;
/// How often the act must succeed while they change, in one round of [`ROUNDS`]. A machine that manages much less in
/// every round had no time for this test.
const ENOUGH: u32 = 20;
const ROUNDS: u32 = 100;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let frames = FreeFrames::now();
    hopeless(&report)?;
    sleepers(&report)?;
    // By now all cores of the machine have started.
    if system::info()?.cores >= 4 {
        beside_a_change(&report, "looks at a process whose memory changes", Talk::Silent, |child| _ = child.info())?;
        beside_a_change(&report, "lines printed beside a thread that prints out of such memory", Talk::Prints, |_| {
            print!("\r");
        })?;
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// What a second thread of the process does whose memory changes.
#[derive(Clone, Copy, PartialEq)]
enum Talk {
    Silent,
    Prints,
}

/// Steps on the page that the processes share.
const BEGUN: usize = 0;
const DONE: usize = 1;

/// Claims that `act` can be done many times while one call of a child changes all of its memory.
fn beside_a_change(report: &Report, what: &str, talk: Talk, act: impl Fn(&Process)) -> Result<(), Error> {
    let memory = Region::new(BUSY)?;
    let page = Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?;
    let mut most = 0;
    for _ in 0..ROUNDS {
        page.write(BEGUN, 0);
        page.write(DONE, 0);
        let child = Process::fork_into(Share::L3, || {
            // Backed by the page of zeroes: a table for each 2 MiB.
            for offset in (0..BUSY).step_by(PAGE_SIZE) {
                core::hint::black_box(memory.read(offset));
            }
            let change = || {
                page.write(BEGUN, 1);
                let changed = memory.protect(0..BUSY, Permissions::ReadExecute);
                page.write(DONE, 1);
                changed
            };
            let changed = thread::scope(|scope| {
                let printer = scope.spawn(|| {
                    while talk == Talk::Prints && page.read(DONE) == 0 {
                        print!("\r");
                    }
                });
                let changed = change();
                printer.and_then(|printer| printer.join()).and(changed)
            });
            i32::from(changed.is_err())
        })?;
        while page.read(BEGUN) == 0 {
            yield_now();
        }
        let mut count = 0;
        while count < ENOUGH && page.read(DONE) == 0 {
            act(&child);
            count += u32::from(page.read(DONE) == 0);
        }
        claim_success(report, &child, format_args!("a child that changes its memory"));
        most = most.max(count);
        if most == ENOUGH {
            break;
        }
    }
    claim_eq!(report, most, ENOUGH, "{what}, in the best of {ROUNDS} rounds");
    report.done(format_args!("{what} are not held up"));
    Ok(())
}

/// Requests that would fit but for their tables, or but for the committed frames, take nothing from other processes
/// before they are refused.
fn hopeless(report: &Report) -> Result<(), Error> {
    let free = system::free_frames()? as usize;
    // The processes here need fewer frames than are left out; the tables of such an object are more.
    let bytes = (free - free / 700) * PAGE_SIZE;
    let hogs = (0..2)
        .map(|_| {
            Process::fork_into(Share::L3, || {
                while Shared::new(bytes).err() == Some(Error::OutOfMemory) {}
                1
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let victim = Process::fork_into(Share::L3, || {
        let work = || {
            for _ in 0..2000 {
                Region::new(16 * PAGE_SIZE)?.fill(|_| 1);
            }
            Ok::<_, Error>(())
        };
        i32::from(work().is_err())
    })?;
    let mut least = free;
    while victim.info()?.state != ProcessState::Ended as u32 {
        least = least.min(system::free_frames()? as usize);
    }
    claim!(report, least > free / 2, "{least} of {free} frames stay free beside two that want all");
    claim_success(report, &victim, format_args!("a child that needs 16 pages, beside two that want all"));
    for hog in hogs {
        hog.kill(3)?;
        claim_end(report, &hog, ExitStatus::Killed(3), format_args!("a child that wants all memory"));
    }
    report.done(format_args!("requests that cannot succeed harm no other process"));
    Ok(())
}

/// A process with as many threads as there can be, all of them asleep, ends with all of them, and so does one that is
/// still making them.
fn sleepers(report: &Report) -> Result<(), Error> {
    for round in 0..4 {
        let page = Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?;
        let child = Process::fork_into(Share::L3, || {
            for _ in 1..THREADS_MAX {
                let Ok(thread) = Bare::Sleep.create(if round == 3 { 1000 } else { 1 << 50 }) else { return 2 };
                if process::close(thread).is_err() {
                    return 3;
                }
            }
            page.write(BEGUN, 1);
            loop {
                spin_loop();
            }
        })?;
        while page.read(BEGUN) == 0 {
            yield_now();
        }
        claim!(report, child.info()?.threads == THREADS_MAX as u32, "the threads are there");
        child.kill(round)?;
        claim_end(report, &child, ExitStatus::Killed(round), format_args!("a process with {THREADS_MAX} threads"));
    }
    report.done(format_args!("all threads of a process end with it"));
    Ok(())
}
