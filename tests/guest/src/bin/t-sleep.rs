//! Tests sleeping and the clock.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::process::{sleep, yield_now};
use graft_rt::test::{FreeFrames, Report, claim_success};
use graft_rt::{Arguments, Error, ExitStatus, Process, Share, claim, time};

graft_rt::program!(main);

/// How late a sleeper may wake: an emulator on a busy machine is not punctual.
const LATE: Duration = Duration::from_secs(2);

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
    for nanoseconds in [0, 1, 1000, 50_000, 1_000_000, 10_000_000, 100_000_000] {
        let wanted = Duration::from_nanos(nanoseconds);
        let before = time::clock();
        sleep(wanted);
        let slept = time::clock() - before;
        claim!(report, slept >= wanted && slept < wanted + LATE, "sleep({wanted:?}) took {slept:?}");
    }
    report.done(format_args!("nobody is woken too early, nor forgotten"));
}

/// Sleepers wake in the order of their deadlines, not of their going to sleep.
fn order(report: &Report) -> Result<(), Error> {
    let start = time::clock();
    let sleeper = |milliseconds: u64| {
        Process::fork_into(Share::default(), || {
            sleep((start + Duration::from_millis(milliseconds)).saturating_sub(time::clock()));
            0
        })
    };
    let (last, first, middle) = (sleeper(600)?, sleeper(200)?, sleeper(400)?);
    for (milliseconds, process) in [(200, &first), (400, &middle), (600, &last)] {
        claim_success(report, process, format_args!("the sleeper of {milliseconds} ms"));
        let woken = time::clock() - start;
        claim!(
            report,
            woken >= Duration::from_millis(milliseconds),
            "the sleeper of {milliseconds} ms woke after {woken:?}"
        );
    }
    let elapsed = time::clock() - start;
    claim!(report, elapsed < Duration::from_millis(600) + LATE, "three sleepers at once took {elapsed:?}");
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
