//! Tests that programs that never yield do not stop the others, and share the processors fairly.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::process::{sleep, yield_now};
use graft_rt::test::{FreeFrames, Report, claim_end};
use graft_rt::{Arguments, Error, ExitStatus, Process, Share, claim, claim_eq, system};

graft_rt::program!(main);

/// How long the programs spin before their shares are compared, from the first try to the last.
const MILLISECONDS: [u64; 5] = [800, 1600, 3200, 6400, 12_800];

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let cores = system::info()?.cores;
    let frames = FreeFrames::now();
    // Two more than there are processors: on each, one has to be interrupted.
    let programs = cores + 2;
    // When the host halts a processor, the program that runs there loses time. The longer the test goes on, the less
    // that weighs.
    let mut times = Vec::new();
    for long in MILLISECONDS.map(Duration::from_millis) {
        times = spin(&report, programs, long)?;
        if are_close(&times) {
            break;
        }
    }
    let fair = share(&times);
    claim!(&report, are_close(&times), "processor times {times:?}: one is far from {fair:?}");
    report.done(format_args!("{} spinning programs, {cores} running at a time: about {fair:?} each", times.len()));
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// Lets so many programs spin for so long. Returns the processor time that each has had.
fn spin(report: &Report, programs: u64, long: Duration) -> Result<Vec<Duration>, Error> {
    let mut spinners = Vec::new();
    for _ in 0..programs {
        spinners.push(Process::fork_into(Share::default(), || {
            loop {
                core::hint::spin_loop();
            }
        })?);
    }
    // That these end is the claim: a program that never got a processor back would wait for ever.
    for _ in 0..20 {
        sleep(Duration::from_millis(10));
        yield_now();
    }
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_end(report, &child, ExitStatus::Exited(0), format_args!("a child among spinning programs"));

    sleep(long);
    let mut times = Vec::new();
    for spinner in &spinners {
        claim_eq!(report, spinner.kill(1), Ok(()), "ending a spinning program");
        claim_end(report, spinner, ExitStatus::Killed(1), format_args!("a spinning program"));
        times.push(Duration::from_nanos(spinner.info()?.processor_time));
    }
    Ok(times)
}

/// The share of each.
fn share(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / times.len() as u32
}

fn are_close(times: &[Duration]) -> bool {
    let fair = share(times);
    times.iter().all(|time| *time * 4 > fair && *time < fair * 4)
}
