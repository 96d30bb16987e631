//! Tests that fork bombs end and leave nothing behind.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::process::{self, Fork};
use graft_rt::test::{FreeFrames, Report, claim_success};
use graft_rt::{Arguments, Error, ExitStatus, FaultKind, Process, Share, claim, system};

graft_rt::program!(main);

/// Generations of the tree: 2 to this power processes at its widest.
const GENERATIONS: u32 = 8;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    for share in Share::ALL {
        let frames = FreeFrames::now();
        let root = Process::fork_into(share, || tree(share, GENERATIONS))?;
        claim_success(&report, &root, format_args!("a tree of processes ({})", share.name()));
        drop(root);
        frames.claim_same(&report, format_args!("after a tree of processes ({})", share.name()));
    }
    report.done(format_args!("trees of {} processes grow and end", (1 << (GENERATIONS + 1)) - 1));

    for share in Share::ALL {
        let frames = FreeFrames::now();
        let before = system::info()?.processes;
        let first = Process::fork_into(share, || chain(share))?;
        let status = first.wait()?;
        claim!(&report, is_end_of_bomb(status), "the first of a chain ({}): it {status}", share.name());
        drop(first);
        frames.claim_same(&report, format_args!("after a chain until memory ran out ({})", share.name()));
        let after = system::info()?.processes;
        claim!(&report, after == before, "{after} processes are left, {before} there were ({})", share.name());
        report.done(format_args!("a chain of processes until memory ran out ({})", share.name()));
    }
    Ok(report.finish())
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

/// Each makes one child, until that is refused or somebody finds no memory. Then all end, the last first.
fn chain(share: Share) -> i32 {
    loop {
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
}

/// Whether it ended itself in order, or for lack of memory.
fn is_end_of_bomb(status: ExitStatus) -> bool {
    status.is_success() || status == ExitStatus::Faulted(FaultKind::OutOfMemory)
}
