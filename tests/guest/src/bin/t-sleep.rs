//! Tests sleeping and the clock.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::Shared;
use graft_rt::process::{sleep, yield_now};
use graft_rt::test::{FreeFrames, Report, claim_success};
use graft_rt::{Arguments, Error, ExitStatus, Permissions, Process, Share, claim, claim_eq, time};

graft_rt::program!(main);

/// How often something is tried that a busy host can spoil: it halts processors while the clock goes on. Each try takes
/// twice the time of the one before.
const TRIES: u32 = 8;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let frames = FreeFrames::now();
    clock(&report);
    lengths(&report);
    order(&report)?;
    many(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn clock(report: &Report) {
    let mut last = time::clock();
    for _ in 0..1000 {
        let now = time::clock();
        if now < last {
            claim!(report, false, "the clock went from {last:?} back to {now:?}");
        }
        last = now;
    }
    let (before, clock) = (time::counter(), time::clock());
    let after = time::counter();
    let frequency = time::frequency();
    let counted = |count: u64| Duration::from_nanos(time::to_nanoseconds(count, frequency));
    // Rounding may be off by a count on either side.
    let step = Duration::from_nanos(1_000_000_000 / frequency.max(1) + 1);
    let agrees = counted(before) <= clock + step && clock <= counted(after) + step;
    claim!(report, agrees, "the clock says {clock:?}, the counter {:?} to {:?}", counted(before), counted(after));
    report.done(format_args!("the clock goes forward and agrees with the counter"));
}

fn lengths(report: &Report) {
    let sleep_for = |wanted: Duration| {
        let before = time::clock();
        sleep(wanted);
        let slept = time::clock() - before;
        claim!(report, slept >= wanted, "sleep({wanted:?}) took {slept:?}");
        slept
    };
    for nanoseconds in [0, 1, 1000, 50_000, 1_000_000, 10_000_000, 100_000_000] {
        sleep_for(Duration::from_nanos(nanoseconds));
    }
    let is_punctual = |wanted: Duration| sleep_for(wanted) < wanted * 2;
    claim!(report, tries(Duration::from_millis(10)).any(is_punctual), "no sleep took less than twice its time");
    report.done(format_args!("sleepers are not woken too early, nor forgotten"));
}

/// This time, then twice as much, and so on.
fn tries(first: Duration) -> impl Iterator<Item = Duration> {
    (0..TRIES).map(move |doublings| first * (1 << doublings))
}

/// Sleepers wake in the order of their deadlines, not of their going to sleep.
fn order(report: &Report) -> Result<(), Error> {
    let mut woken = Vec::new();
    for apart in tries(Duration::from_millis(50)) {
        let start = time::clock();
        let memory = Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?;
        let next = || (0..3).take_while(|&place| memory.read(place) != 0).count();
        let sleeper = |number: u8| {
            Process::fork_into(Share::default(), || {
                let deadline = start + apart * u32::from(number);
                sleep(deadline.saturating_sub(time::clock()));
                memory.write(next(), number);
                i32::from(time::clock() < deadline)
            })
        };
        let (last, first, middle) = (sleeper(3)?, sleeper(1)?, sleeper(2)?);
        for (number, process) in [(1, &first), (2, &middle), (3, &last)] {
            claim_success(report, process, format_args!("sleeper {number}, {apart:?} apart (1: woken too early)"));
        }
        woken = (0..3).map(|place| memory.read(place)).collect();
        if woken == [1, 2, 3] {
            break;
        }
    }
    claim_eq!(report, woken, [1, 2, 3], "the order in which sleepers wake");
    report.done(format_args!("sleepers wake in the order of their deadlines"));
    Ok(())
}

fn many(report: &Report) -> Result<(), Error> {
    let mut numbers = graft_rt::test::Numbers::new(1);
    let mut sleepers = Vec::new();
    for _ in 0..64 {
        let microseconds = numbers.below(30_000) as u64;
        sleepers.push(Process::fork_into(Share::L1, || {
            for _ in 0..3 {
                sleep(Duration::from_micros(microseconds));
                yield_now();
            }
            0
        })?);
    }
    for sleeper in &sleepers {
        claim_success(report, sleeper, format_args!("one of many sleepers"));
    }
    let endless = Process::fork_into(Share::default(), || {
        sleep(Duration::MAX);
        1
    })?;
    sleep(Duration::from_millis(5));
    endless.kill(0)?;
    let status = endless.wait()?;
    claim!(report, status == ExitStatus::Killed(0), "one that sleeps for ever: {status}");
    report.done(format_args!("many sleep at once, and one for ever"));
    Ok(())
}
