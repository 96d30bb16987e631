//! Tests that programs that never give way do not stop the others, and share the processors fairly.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::process::{sleep, yield_now};
use graft_rt::test::{FreeFrames, Report, claim_end};
use graft_rt::{Arguments, Error, ExitStatus, Process, Share, claim, claim_eq, system, time};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let cores = system::info()?.cores;
    let frames = FreeFrames::now();
    // Two more than there are processors: on each, somebody has to be interrupted.
    let mut spinners = Vec::new();
    for _ in 0..cores + 2 {
        spinners.push(Process::fork_into(Share::default(), || {
            loop {
                core::hint::spin_loop();
            }
        })?);
    }
    let begin = time::clock();
    for _ in 0..20 {
        sleep(Duration::from_millis(10));
        yield_now();
    }
    let elapsed = time::clock() - begin;
    claim!(&report, elapsed < Duration::from_secs(20), "20 short sleeps took {elapsed:?} among spinning programs");
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_end(&report, &child, ExitStatus::Exited(0), format_args!("a child among spinning programs"));

    sleep(Duration::from_millis(800));
    let mut times = Vec::new();
    for spinner in &spinners {
        claim_eq!(&report, spinner.kill(1), Ok(()), "ending a spinning program");
        claim_end(&report, spinner, ExitStatus::Killed(1), format_args!("a spinning program"));
        times.push(Duration::from_nanos(spinner.info()?.processor_time));
    }
    let total: Duration = times.iter().sum();
    let fair = total / spinners.len() as u32;
    for time in &times {
        claim!(&report, *time * 4 > fair && *time < fair * 4, "processor times {times:?}: one is far from {fair:?}");
    }
    report.done(format_args!("{} spinning programs, {cores} running at a time: about {fair:?} each", spinners.len()));
    drop((spinners, child));
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}
