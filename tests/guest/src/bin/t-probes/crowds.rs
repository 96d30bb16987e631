//! Many mappings, many processes at a time, many ends.

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::{EntryKind, PAGE_SIZE};
use graft_rt::gate::Gate;
use graft_rt::process::{self, own_info, sleep, yield_now};
use graft_rt::tables::mapped;
use graft_rt::test::depths::{EDGE, Test, byte, mark, memory};
use graft_rt::test::{FreeFrames, Steps, claim_end, claim_success};
use graft_rt::{Error, ExitStatus, Handle, Permissions, Process, Region, Rights, claim, claim_eq};

/// Mappings in a row, of one page each, no two neighbours alike.
const MAPPINGS: usize = 4096;
const IN_TURN: [Permissions; 4] =
    [Permissions::ReadWrite, Permissions::Read, Permissions::None, Permissions::ReadWrite];

pub(crate) fn thousands(test: Test<'_>) -> Result<(), Error> {
    let report = test.report;
    let mut mappings = Vec::new();
    for number in 0..MAPPINGS {
        let mapping = Region::at(EDGE + byte(number), PAGE_SIZE)?;
        // The last of four stays untouched.
        if number % 4 != 3 {
            mapping.write(0, mark(number));
        }
        mapping.protect(0..PAGE_SIZE, IN_TURN[number % 4])?;
        mappings.push(mapping);
    }
    let is_whole = |first: fn(usize) -> u8| {
        let expected = |number: usize| match number % 4 {
            0 => first(number),
            1 => mark(number),
            _ => 0,
        };
        let right = |number: usize| number % 4 == 2 || mappings[number].read(0) == expected(number);
        let records = mapped(EDGE..EDGE + byte(MAPPINGS)).map(|records| {
            let permissions: Vec<u8> = records.map(|record| record.permissions).collect();
            let expected = |(number, permissions): (usize, &u8)| *permissions == IN_TURN[number % 4] as u8;
            permissions.len() == MAPPINGS && permissions.iter().enumerate().all(expected)
        });
        (0..MAPPINGS).all(right) && records == Ok(true)
    };
    let child = Process::fork_into(test.share, || {
        let before = is_whole(mark);
        mappings.iter().step_by(4).for_each(|mapping| mapping.write(0, 0xb1));
        // What was hidden is still there.
        let shown = mappings[2].protect(0..PAGE_SIZE, Permissions::Read).is_ok() && mappings[2].read(0) == mark(2);
        let hidden = mappings[2].protect(0..PAGE_SIZE, Permissions::None).is_ok();
        i32::from(!(before && shown && hidden && is_whole(|_| 0xb1)))
    })?;
    claim_success(report, &child, format_args!("a child with {MAPPINGS} mappings"));
    claim!(report, is_whole(mark), "the parent's {MAPPINGS} mappings");
    Ok(())
}

/// Short lives beside the crowd of [`preempted`]: each of them is waited for among processes that never give way, so
/// all have several time slices meanwhile.
const SHORT_LIVES: usize = 6;
/// How often a short life looks at its memory.
const LOOKS: u32 = 4;
/// Pages of each process's own that it looks at.
const OWN_PAGES: usize = 12;

/// Writes a value of its own, lets others run, and looks whether it is still there, and still itself.
fn stay_oneself(memory: &Region, value: u8, give_way: fn(), mut goes_on: impl FnMut() -> bool) -> i32 {
    let own = process::identify();
    let mut turn: u8 = 0;
    while goes_on() {
        turn = turn.wrapping_add(1);
        (0..OWN_PAGES).for_each(|page| memory.write(byte(page * 100) + 1, value ^ turn));
        give_way();
        let same = (0..OWN_PAGES).all(|page| memory.read(byte(page * 100) + 1) == value ^ turn);
        if !same || process::identify() != own {
            return 1;
        }
    }
    i32::from(memory.first_difference(mark).is_some()) * 2
}

fn spin() {
    (0..500).for_each(|_| core::hint::spin_loop());
}

pub(crate) fn preempted(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let steps = Steps::new()?;
    let ways: [fn(); 3] = [spin, yield_now, || sleep(Duration::from_micros(150))];
    let mut crowd = Vec::new();
    for number in 0..12_u8 {
        let give_way = ways[usize::from(number) % ways.len()];
        crowd.push(Process::fork_into(test.share, || {
            stay_oneself(&memory, number * 16 + 1, give_way, || !steps.is_reached(1))
        })?);
    }
    // Short lives beside the long ones: each begins and ends in the middle of another's time slice.
    for short in 0..SHORT_LIVES {
        let give_way = ways[short % ways.len()];
        let child = Process::fork_into(test.share, || {
            let mut looks = 0..LOOKS;
            stay_oneself(&memory, short as u8, give_way, || looks.next().is_some())
        })?;
        claim_success(test.report, &child, format_args!("short life {short} (1: another's memory, 2: changed)"));
    }
    steps.reach(1);
    for (number, child) in crowd.iter().enumerate() {
        claim_success(test.report, child, format_args!("{number} of the crowd (1: another's memory, 2: changed)"));
    }
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
    Ok(())
}

/// Something that a process does until it is killed.
type Deed = (&'static str, fn(Test<'_>, &Region, &Gate));

const DEEDS: [Deed; 9] = [
    ("spins", |_, _, _| spin()),
    ("gives way", |_, _, _| yield_now()),
    ("sleeps", |_, _, _| sleep(Duration::from_secs(100))),
    ("waits", |_, _, gate| gate.pass()),
    ("splits tables", |_, memory, _| memory.fill(|_| 1)),
    ("makes calls that store results", |_, _, _| _ = own_info()),
    ("forks and waits", |test, _, _| {
        if let Ok(child) = Process::fork_into(test.share, || 0) {
            let _ = child.wait();
        }
    }),
    ("maps and discards", |_, memory, _| {
        let _ = memory.discard(0..memory.bytes());
        let _ = Region::new(PAGE_SIZE).map(|region| region.write(0, 1));
    }),
    ("looks at its tables", |_, _, _| _ = mapped(EDGE..EDGE + (1 << 30)).map(Iterator::count)),
];

pub(crate) fn killed(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let gate = Gate::new()?;
    for (what, deed) in DEEDS {
        for round in 0..5 {
            let child = Process::fork_into(test.share, || {
                loop {
                    deed(test, &memory, &gate);
                }
            })?;
            sleep(Duration::from_micros(37 * round * round));
            claim_eq!(test.report, child.kill(7), Ok(()), "killing a child that {what}");
            claim_end(test.report, &child, ExitStatus::Killed(7), format_args!("a child that {what}"));
            // Were its stack or its tables used after they were freed, this would be what they meet.
            let other = Region::new(64 * PAGE_SIZE)?;
            other.fill(|_| 0xb2);
            claim_eq!(test.report, other.first_difference(|_| 0xb2), None, "new memory after a child that {what}");
        }
    }
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
    Ok(())
}

pub(crate) fn self_inflicted(test: Test<'_>) -> Result<(), Error> {
    let memory = memory()?;
    let frames = FreeFrames::now();
    for round in 0..10 {
        let child = Process::fork_into(test.share, || {
            memory.write(byte(round), 1);
            let _ = process::kill(Handle::SELF, 9);
            0
        })?;
        claim_end(test.report, &child, ExitStatus::Killed(9), format_args!("a child that kills itself"));
        let child = Process::fork_into(test.share, || {
            memory.write(byte(round), 1);
            let _ = process::duplicate(Handle::SELF, Rights::ALL).map(|own| process::kill(own, 8));
            0
        })?;
        claim_end(test.report, &child, ExitStatus::Killed(8), format_args!("a child that kills itself by a handle"));
        // The middle one waits for the one that ends it; both have tables of their own and tables in common.
        let middle = Process::fork_into(test.share, || {
            let Ok(own) = process::duplicate(Handle::SELF, Rights::ALL) else { return 1 };
            memory.write(byte(round), 2);
            let child = Process::fork_into(test.share, || {
                memory.write(byte(round + 600), 3);
                let killed = process::kill(own, 5);
                memory.write(byte(round), 3);
                i32::from(killed.is_err())
            });
            let _ = child.and_then(|child| child.wait());
            0
        })?;
        claim_end(test.report, &middle, ExitStatus::Killed(5), format_args!("a process that its child ends"));
    }
    frames.claim_same(test.report, format_args!("after ends of all kinds"));
    claim_eq!(test.report, memory.first_difference(mark), None, "a page of the parent's");
    let kinds = mapped(EDGE..EDGE + byte(1))?.map(|record| record.kind);
    claim!(test.report, kinds.eq([EntryKind::Page as u8]), "the parent's first page");
    Ok(())
}
