//! Runs a target once per input from a warm state, until it finds the bug that is planted in it:
//! `forkserver [--by all|spawn|fork|restore] [--share all|copy|l3|l2|l1] [--runs N] [--bits N] [--seed N] [--csv]`.
//!
//! ```text
//!   spawn     ┌ process: build the table, run ┐ ┌ process: build the table, run ┐
//!   fork      build the table ─┬─▶ child: run   ─┬─▶ child: run   ─┬─▶ …
//!   restore   build the table ─▶ snapshot ─▶ run ─▶ restore ─▶ run ─▶ restore ─▶ …
//! ```
//!
//! The target reads a picture format and needs a table of all colours, which takes long to build. Inputs are made by a
//! fuzzer from the coverage of those before, the same ones in every run and by every way. Inputs and coverage are in
//! memory that all processes share, and so is the fuzzer's own state, which a restore must not take back.
//!
//! The planted bug stores behind the picture's memory, to reserved pages that permit no access: a fault. Once it is
//! found, the input must lead to the same fault from the warm state and in a fresh process. Only then
//! does the program succeed.
//!
//! With `--csv` a row is `forkserver,WAY,SHARE,BYTES,METRIC,UNIT,VALUE`, BYTES being the table's, SHARE `none` for
//! `spawn`; metrics are `execution` (the mean, the fuzzer's own work included), `executions`, `kept` inputs and `edges`
//! seen.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod options;
mod report;
mod run;
#[allow(unsafe_code)]
mod stage;
mod ways;

use graft_rt::{Arguments, eprintln};

use crate::options::Options;

graft_rt::program!(main);

fn main(arguments: Arguments) -> i32 {
    if arguments.get(1) == Some(ways::ROLE) {
        return ways::play(arguments.get(2));
    }
    let options = match Options::parse(arguments.skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("forkserver: {problem}");
            eprintln!("{}", options::USAGE);
            return 2;
        }
    };
    match run::run(&options) {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("forkserver: {problem}");
            1
        }
    }
}
