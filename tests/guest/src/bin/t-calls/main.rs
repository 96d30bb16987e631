//! Tests system calls with wrong and wild arguments: each returns an error, and the program goes on.
//! `t-calls [CALLS [SEED]]`: so many random calls, from that seed on.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod registers;
#[allow(unsafe_code)]
mod storm;
#[allow(unsafe_code)]
mod wrong;

use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, Error, grants, process};

graft_rt::program!(main);

/// Random calls, unless told otherwise.
const CALLS: u64 = 50_000;

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let _name = arguments.next();
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (calls, seed) = (number(CALLS), number(1));
    let report = Report::new();
    // Calls with any numbers would reach servers, whose memory is counted here, too.
    if let Some(names) = grants::handle("names") {
        process::close(names)?;
    }
    let frames = FreeFrames::now();
    registers::hold_nothing_of_the_kernels(&report)?;
    wrong::numbers(&report);
    wrong::arguments(&report)?;
    wrong::pointers(&report)?;
    storm::run(&report, calls, seed)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}
