//! Ranges that one thread changes beside memory that others use.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use graft_rt::abi::PAGE_SIZE;
use graft_rt::test::{Numbers, Report, claim_success};
use graft_rt::{Error, Permissions, Process, Region, Share, claim, claim_eq, thread};

/// Pages in all, over three level-3 tables.
const PAGES: usize = 3 * 512;
/// Where they begin: the end of one level-2 table and the begin of the next.
const START: usize = (3 << 32) - (2 << 20);
/// Threads that use pages.
const USERS: usize = 3;
/// Changes made to ranges.
const CHANGES: usize = 1500;

/// Every eighth page is in use, each by one thread; the seven between come and go.
const fn own_page(user: usize, number: usize) -> usize {
    (number * USERS + user) * 8
}

const OWN_PAGES: usize = PAGES / 8 / USERS;

pub(crate) fn neighbours(report: &Report) -> Result<(), Error> {
    let memory = Region::at(START, PAGES * PAGE_SIZE)?;
    let (stop, wrong, rounds) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let user = |user: usize| {
        let mut round = 0_u8;
        while !stop.load(Ordering::Relaxed) {
            let before = round;
            round = round.wrapping_add(1);
            for number in 0..OWN_PAGES {
                let byte = own_page(user, number) * PAGE_SIZE + user;
                if memory.read(byte) != before {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                memory.write(byte, round);
            }
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for number in 0..USERS {
            let user = &user;
            scope.spawn(move || user(number))?;
        }
        let result = change(report, &memory);
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    claim_eq!(report, wrong.into_inner(), 0, "pages in use that changed while their neighbours did");
    claim!(report, rounds.into_inner() > USERS as u32, "pages were in use all the time");
    Ok(())
}

/// Unmaps, maps and protects the pages between those in use, some at a time, with a fork now and then
/// that makes the tables shared.
fn change(report: &Report, memory: &Region) -> Result<(), Error> {
    let mut numbers = Numbers::new(5);
    for change in 0..CHANGES {
        let group = numbers.below(PAGES / 8) * 8;
        let first = group + 1 + numbers.below(7);
        let end = first + 1 + numbers.below(group + 8 - first);
        let range = first * PAGE_SIZE..end * PAGE_SIZE;
        memory.write(range.start, change as u8);
        match change % 3 {
            0 => {
                // SAFETY: all threads of this part run already, and what this one does needs no new memory.
                unsafe { memory.unmap(range.clone()) }?;
                memory.remap(range.clone())?;
                claim_eq!(report, memory.read(range.start), 0, "a page that was mapped afresh");
            }
            1 => {
                memory.protect(range.clone(), Permissions::Read)?;
                claim_eq!(report, memory.read(range.start), change as u8, "a page that is read-only");
                memory.protect(range, Permissions::ReadWrite)?;
            }
            _ => {
                memory.protect(range.clone(), Permissions::None)?;
                memory.protect(range, Permissions::ReadWrite)?;
            }
        }
        if change % 50 == 0 {
            let share = Share::ALL[change / 50 % 4];
            let child = Process::fork_into(share, || {
                memory.fill(|_| 0xee);
                memory.first_difference(|_| 0xee).map_or(0, |_| 1)
            })?;
            if change % 100 == 0 {
                claim_success(report, &child, format_args!("a child that fills all pages ({})", share.name()));
            }
        }
    }
    Ok(())
}
