//! Tests system calls with wrong and wild arguments: each returns an error, and the program goes on.

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

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    // Calls with any numbers would reach the file server, whose memory is counted here, too.
    if let Some(files) = grants::handle("files") {
        process::close(files)?;
    }
    let frames = FreeFrames::now();
    registers::hold_nothing_of_the_kernels(&report)?;
    wrong::numbers(&report);
    wrong::arguments(&report)?;
    wrong::pointers(&report)?;
    storm::run(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}
