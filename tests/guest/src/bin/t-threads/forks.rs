//! Fork in a process that has several threads.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::process::{self, Fork, own_info, sleep};
use graft_rt::test::{Report, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, Process, Region, Share, claim, claim_eq, thread};

use crate::raw;

/// Threads that write, each to pages of its own.
const WRITERS: usize = 3;
/// Pages of each, in two level-3 tables.
const PAGES: usize = 40;
/// Forks at each depth of sharing.
const FORKS: usize = 12;

/// Where a writer's page is. Neighbours belong to different writers; half of the pages are in the second table.
fn byte(writer: usize, page: usize) -> usize {
    (page % 2 * 512 + page / 2 * WRITERS + writer) * PAGE_SIZE
}

/// How many pages of a writer hold its last round, the others the round before; `None` if this is not one moment.
///
/// A writer stores the round's number to its pages in their order, so that at any moment the first few are one ahead.
fn moment(memory: &Region, writer: usize) -> Option<(u8, usize)> {
    let first = memory.read(byte(writer, 0));
    let ahead = (0..PAGES).take_while(|&page| memory.read(byte(writer, page)) == first).count();
    let rest = (ahead..PAGES).all(|page| memory.read(byte(writer, page)) == first.wrapping_sub(1));
    rest.then_some((first, ahead))
}

fn child(memory: &Region) -> i32 {
    if own_info().threads != 1 {
        return 1;
    }
    let moments = || [0, 1, 2].map(|writer| moment(memory, writer));
    let before = moments();
    if before.contains(&None) {
        return 2;
    }
    sleep(Duration::from_millis(1));
    if moments() != before {
        return 3;
    }
    // The child's writes stay its own.
    (0..WRITERS).for_each(|writer| (0..PAGES).for_each(|page| memory.write(byte(writer, page), 0xff)));
    i32::from(moments() != [Some((0xff, PAGES)); 3]) * 4
}

pub(crate) fn moments(report: &Report) -> Result<(), Error> {
    let memory = Region::at(0x3_4000_0000 - (2 << 20), 4 << 20)?;
    for share in Share::ALL {
        (0..WRITERS).for_each(|writer| (0..PAGES).for_each(|page| memory.write(byte(writer, page), 0)));
        let (stop, broken, rounds) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        let writer = |writer: usize| {
            let mut round = 0_u8;
            while !stop.load(Ordering::Relaxed) {
                // A writer's own pages hold what it wrote last, whether or not another thread has forked meanwhile.
                let before = round;
                round = round.wrapping_add(1);
                for page in 0..PAGES {
                    if memory.read(byte(writer, page)) != before {
                        broken.fetch_add(1, Ordering::Relaxed);
                    }
                    memory.write(byte(writer, page), round);
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            for number in 0..WRITERS {
                let writer = &writer;
                scope.spawn(move || writer(number))?;
            }
            // From a thread that is not the first one.
            let forks = scope.spawn(|| -> Result<(), Error> {
                for number in 0..FORKS {
                    let seen = rounds.load(Ordering::Relaxed);
                    while rounds.load(Ordering::Relaxed) < seen + 2 {
                        thread::yield_now();
                    }
                    let child = Process::fork_into(share, || child(&memory))?;
                    claim_success(report, &child, format_args!("child {number} of writing threads ({})", share.name()));
                }
                Ok(())
            })?;
            let result = forks.join();
            stop.store(true, Ordering::Relaxed);
            result?
        })?;
        claim_eq!(report, broken.into_inner(), 0, "pages that changed under their writer ({})", share.name());
        claim!(report, rounds.into_inner() > FORKS as u32, "writers wrote on while forks were made ({})", share.name());
    }
    Ok(())
}

pub(crate) fn heap(report: &Report) -> Result<(), Error> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for size in [16, 300, 5000] {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let blocks: Vec<Vec<u8>> = (0..8).map(|number| vec![number; size]).collect();
                    drop(blocks);
                }
            })?;
        }
        for number in 0..200 {
            let child = Process::fork_into(Share::ALL[number % 4], || {
                let words: Vec<usize> = (0..100).collect();
                i32::from(words.iter().sum::<usize>() != 4950)
            })?;
            claim_success(report, &child, format_args!("child {number} that uses the heap"));
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })
}

pub(crate) fn strangers(report: &Report) -> Result<(), Error> {
    let release = AtomicBool::new(false);
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            while !release.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            5
        })?;
        let child = match process::fork(Share::default())? {
            // The handle goes here, and the scope ends: neither waits for the thread, which is the parent's.
            Fork::Child => {
                let refused = waits.join() == Err(Error::NotAllowed);
                process::exit(i32::from(!refused))
            }
            Fork::Parent(child) => child,
        };
        claim_success(report, &child, format_args!("a child that wants to join its parent's thread"));
        release.store(true, Ordering::Relaxed);
        claim_eq!(report, waits.join(), Ok(5), "the thread, joined by its own process");
        Ok(())
    })?;
    // The child goes on where the thread was, on a copy of its stack, and ends with it.
    let forks = thread::spawn(|| match process::fork(Share::default()) {
        Ok(Fork::Parent(child)) => Ok(child),
        Ok(Fork::Child) => raw::exit_thread(1),
        Err(error) => Err(error),
    })?;
    let child = forks.join()??;
    claim_end(report, &child, ExitStatus::Exited(0), format_args!("a child that ends as the thread does"));
    Ok(())
}
