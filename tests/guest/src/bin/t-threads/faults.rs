//! Two threads that fault on the same page, or below the same table, at the same moment.

use core::sync::atomic::{AtomicU32, Ordering};

use graft_rt::abi::{PAGE_SIZE, ProcessInfo};
use graft_rt::gate::Gate;
use graft_rt::process::own_info;
use graft_rt::test::{Report, claim_success};
use graft_rt::{Error, Process, Region, Share, claim_eq, thread};

use crate::Meeting;

/// Bytes that one level-3 table maps.
const TABLE: usize = 2 << 20;
/// Where memory begins that spans tables: 4 MiB below a level-2 boundary.
const EDGE: usize = (2 << 32) - (4 << 20);

/// How the faults of several rounds were answered.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    table_splits: u64,
    page_copies: u64,
    reuses: u64,
    demand_zero: u64,
}

fn answers(before: &ProcessInfo, after: &ProcessInfo) -> Answers {
    Answers {
        table_splits: after.table_splits - before.table_splits,
        page_copies: after.page_copies - before.page_copies,
        reuses: after.reuses - before.reuses,
        demand_zero: after.demand_zero - before.demand_zero,
    }
}

/// Has two threads write at `places(round)` at the same moment, for so many rounds, and returns how their faults were
/// answered.
fn together(memory: &Region, rounds: usize, places: impl Fn(usize) -> [usize; 2] + Sync) -> Result<Answers, Error> {
    let meeting = Meeting::of(3);
    let lost = AtomicU32::new(0);
    let writer = |own: usize| {
        let mut round = 0;
        meeting.attend();
        // Both have begun: their own stacks are backed.
        meeting.attend();
        while round < rounds {
            meeting.attend();
            let place = places(round)[own];
            memory.write(place, own as u8 + 1);
            if memory.read(place) != own as u8 + 1 {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            round += 1;
        }
        meeting.attend();
    };
    let found = thread::scope(|scope| {
        let writer = &writer;
        let _threads = [scope.spawn(move || writer(0))?, scope.spawn(move || writer(1))?];
        meeting.attend();
        let before = own_info();
        (0..rounds + 2).for_each(|_| meeting.attend());
        let after = own_info();
        Ok(answers(&before, &after))
    });
    if lost.into_inner() == 0 { found } else { Err(Error::NotMapped) }
}

/// The faults of the same writes without a second thread.
fn alone(memory: &Region, rounds: usize, places: impl Fn(usize) -> [usize; 2]) -> Answers {
    let before = own_info();
    for round in 0..rounds {
        places(round).into_iter().zip([1, 2]).for_each(|(place, value)| memory.write(place, value));
    }
    answers(&before, &own_info())
}

/// Claims that both writes of every round have arrived.
fn claim_writes(report: &Report, memory: &Region, rounds: usize, places: impl Fn(usize) -> [usize; 2], what: &str) {
    let arrived = |round: &usize| {
        let [first, second] = places(*round);
        memory.read(first) == 1 && memory.read(second) == 2
    };
    claim_eq!(report, (0..rounds).filter(arrived).count(), rounds, "rounds in which both writes arrived, {what}");
}

/// Two bytes of one page.
const fn one_page(round: usize) -> [usize; 2] {
    [round * PAGE_SIZE, round * PAGE_SIZE + 100]
}

pub(crate) fn fresh(report: &Report) -> Result<(), Error> {
    const PAGES: usize = 400;
    let memory = Region::new(PAGES * PAGE_SIZE)?;
    let found = together(&memory, PAGES, one_page)?;
    claim_eq!(report, found.demand_zero, PAGES as u64, "pages that were backed, two at once");
    claim_writes(report, &memory, PAGES, one_page, "fresh pages");
    // The first touch of a whole reserved table.
    const TABLES: usize = 40;
    let memory = Region::at(EDGE, TABLES * TABLE)?;
    let places = |round: usize| [round * TABLE, round * TABLE + 7 * PAGE_SIZE];
    let found = together(&memory, TABLES, places)?;
    claim_eq!(report, found.demand_zero, 2 * TABLES as u64, "pages that were backed, in fresh tables");
    claim_eq!(report, found.table_splits, 0, "tables that were copied, none of them shared");
    claim_writes(report, &memory, TABLES, places, "fresh tables");
    Ok(())
}

/// Both write while a child shares everything: the kernel makes as many copies as when one writes after the other, and
/// the child sees none of the writes.
fn shared(
    report: &Report,
    memory: &Region,
    rounds: usize,
    places: impl Fn(usize) -> [usize; 2] + Sync,
    what: &str,
) -> Result<(), Error> {
    for share in Share::ALL {
        // The gate is a process, too: after this it shares none of the tables in question.
        let gate = Gate::new()?;
        memory.fill(|page| page as u8 | 0x80);
        let unchanged = || memory.first_difference(|page| page as u8 | 0x80);
        let children = [(); 2].map(|()| {
            Process::fork_into(share, || {
                gate.pass();
                i32::from(unchanged().is_some())
            })
        });
        // The first child is written to by one, the second's parent by two.
        let child = Process::fork_into(share, || {
            let expected = alone(memory, rounds, &places);
            expected.page_copies as i32 | (expected.table_splits as i32) << 16
        })?;
        let expected = child.wait()?.shell_code() as u64;
        let found = together(memory, rounds, &places)?;
        let found = found.page_copies | found.table_splits << 16;
        claim_eq!(report, found, expected, "copies of pages and (above 16 bits) tables, {what} ({})", share.name());
        claim_writes(report, memory, rounds, &places, what);
        gate.open();
        for child in children {
            claim_success(report, &child?, format_args!("a child that shared {what} ({})", share.name()));
        }
    }
    Ok(())
}

pub(crate) fn shared_page(report: &Report) -> Result<(), Error> {
    let memory = Region::at(EDGE, 8 << 20)?;
    // A page of each table first, then pages in tables that are split already.
    let places = |round: usize| {
        let page = (round % 4) * 512 + round / 4;
        [page * PAGE_SIZE, page * PAGE_SIZE + 64]
    };
    shared(report, &memory, 160, places, "one page")
}

pub(crate) fn shared_table(report: &Report) -> Result<(), Error> {
    let memory = Region::at(EDGE, 8 << 20)?;
    let places = |round: usize| [round * TABLE + 3 * PAGE_SIZE, round * TABLE + 300 * PAGE_SIZE];
    shared(report, &memory, 4, places, "one table")
}
