//! Tests that bombs get errors, let others run, and leave nothing behind: of processes, and of all else that there is
//! to take. `t-bomb --exact` judges how long a program waits meanwhile, too, on a machine with one core that counts
//! instructions (`make run ICOUNT=1 SMP=1`), and leaves the bombs of processes out.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod kinds;

use core::time::Duration;

use graft_rt::process::{self, Fork, sleep};
use graft_rt::test::{FreeFrames, Report, claim_success, touch_stack_and_heap};
use graft_rt::{Arguments, Error, ExitStatus, FaultKind, Process, Share, claim, system};

graft_rt::program!(main);

/// Generations of the tree: 2 to this power processes at its widest.
const GENERATIONS: u32 = 8;
/// Frames that a process takes at least.
const LEAST_FRAMES: u64 = 4;

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let exact = arguments.nth(1) == Some("--exact");
    touch_stack_and_heap();
    kinds::run(&report, exact)?;
    if !exact {
        processes(&report)?;
    }
    Ok(report.finish())
}

/// Bombs of processes.
fn processes(report: &Report) -> Result<(), Error> {
    for share in Share::ALL {
        let frames = FreeFrames::now();
        let root = Process::fork_into(share, || tree(share, GENERATIONS))?;
        claim_success(report, &root, format_args!("a tree of processes ({})", share.name()));
        drop(root);
        frames.claim_same(report, format_args!("after a tree of processes ({})", share.name()));
    }
    report.done(format_args!("trees of {} processes grow and end", (1 << (GENERATIONS + 1)) - 1));

    for share in Share::ALL {
        let frames = FreeFrames::now();
        let before = system::info()?;
        // More links than there is memory for, but not without end.
        let links = before.total_frames / LEAST_FRAMES;
        let first = Process::fork_into(share, || chain(share, links))?;
        touch_stack_and_heap();
        let status = first.wait()?;
        claim!(report, is_end_of_bomb(status), "the first of a chain ({}): it {status}", share.name());
        drop(first);
        wait_for_others(before.processes)?;
        frames.claim_same(report, format_args!("after a chain until memory ran out ({})", share.name()));
        report.done(format_args!("a chain of processes until memory ran out ({})", share.name()));
    }
    Ok(())
}

/// Waits until no more than `count` processes are left. A process that found no memory right after it had
/// forked has left an orphan behind, which goes on with the chain. If a chain had no end, this would wait for ever.
fn wait_for_others(count: u64) -> Result<(), Error> {
    while system::info()?.processes > count {
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Two children, each with two of its own, and so on. 0 if all could be made and ended.
fn tree(share: Share, generations: u32) -> i32 {
    if generations == 0 {
        return 0;
    }
    let child = || Process::fork_into(share, || tree(share, generations - 1));
    let ended = |child: &Result<Process, Error>| {
        child.as_ref().is_ok_and(|child| child.wait().is_ok_and(ExitStatus::is_success))
    };
    let children = [child(), child()];
    i32::from(!children.iter().all(ended))
}

/// Each process makes one child, until a fork is refused or a process finds no memory. Then all end, the last first.
fn chain(share: Share, links: u64) -> i32 {
    for _ in 0..links {
        match process::fork(share) {
            // In the child: go on.
            Ok(Fork::Child) => {}
            Ok(Fork::Parent(child)) => {
                let right = child.wait().is_ok_and(is_end_of_bomb);
                return i32::from(!right);
            }
            Err(Error::OutOfMemory) => return 0,
            Err(_) => return 1,
        }
    }
    0
}

/// Whether the process ended itself in order, or was ended for lack of memory.
fn is_end_of_bomb(status: ExitStatus) -> bool {
    status.is_success() || status == ExitStatus::Faulted(FaultKind::OutOfMemory)
}
