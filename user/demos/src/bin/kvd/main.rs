//! A key-value store that saves snapshots through fork while it serves requests:
//! `kvd [--mem SIZE] [--share all|copy|l3|l2|l1] [--requests N] [--sets PERCENT] [--seed N] [--csv]`.
//!
//! ```text
//!   before             fork   during                    after
//!   serve N requests ──┬────▶ serve while it saves ───▶ serve N requests ──▶ compare image and replay
//!                      └────▶ child: walk the store ─▶ image in shared memory
//! ```
//!
//! A client in the program itself sends requests that follow from the seed; each reply is checked.
//! After the snapshot every byte of the image is compared with the state at the fork, found by
//! replaying the requests that came before it. One byte that differs makes the program fail.
//!
//! A latency is the time from a request's arrival to its reply. Requests arrive at a steady rate that keeps the server
//! busy half of the time, and queue while it is busy; the first request after a fork has waited for the fork.
//! The measured time is the server's own. On one core parent and child take turns, and the server ends its turn between
//! two requests: the child's turns are no part of a latency, as if the child had a core of its own.
//!
//! With `--csv` a row is `kvd,SHARE,BYTES,METRIC,UNIT,VALUE`; the metrics are `PHASE_PERCENTILE` and
//! `PHASE_requests` for the phases `before`, `during` and `after`, then `fork`, `save` and `image`, and what happened
//! in the parent from the fork to the end: `page_copies`, `table_splits`, `reuses`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod options;
mod report;
mod run;
mod server;
#[allow(unsafe_code)]
mod snapshot;

use graft_rt::{Arguments, eprintln};

use crate::options::Options;

graft_rt::program!(main);

fn main(arguments: Arguments) -> i32 {
    let options = match Options::parse(arguments.skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("kvd: {problem}");
            eprintln!("{}", options::USAGE);
            return 2;
        }
    };
    match run::run(&options) {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("kvd: {problem}");
            1
        }
    }
}
