//! Measures fork, the writes after it, and calls to compare with:
//! `forkbench --mem SIZE --share copy|l3|l2|l1 [--reps N] [--csv] [--spans]`.
//!
//! Every figure is taken N times from the same state: SIZE bytes of memory, each page written
//! since the last fork. Times are read from the machine's counter and cover the whole way from the
//! program into the kernel and back; frames are the decrease in the allocator's free count. A switch between
//! processes (`context_switch`) is measured on machines with one core.
//!
//! With `--csv` a row is `forkbench,SHARE,BYTES,METRIC,UNIT,MIN,MEDIAN,MAX,N`. With `--spans` there is another row for
//! each time that was taken, by which an observer outside the machine finds it again:
//! `span,forkbench,SHARE,BYTES,METRIC,COUNTS,BY`. The span took COUNTS between two readings of the counter, and had
//! ended when the counter was BY; no other span ended in between.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod calls;
mod options;
mod run;
#[allow(unsafe_code)]
mod sequences;

use alloc::format;
use graft_demos::figures::Figures;
use graft_rt::size::{Grouped, Size};
use graft_rt::{Arguments, eprintln, println, time};

use crate::options::Options;

graft_rt::program!(main);

fn main(arguments: Arguments) -> i32 {
    let options = match Options::parse(arguments.skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("forkbench: {problem}");
            eprintln!("{}", options::USAGE);
            return 2;
        }
    };
    match run::run(&options) {
        Ok(figures) => {
            print(&figures, &options);
            0
        }
        Err(problem) => {
            eprintln!("forkbench: {problem}");
            1
        }
    }
}

fn print(figures: &Figures, options: &Options) {
    let Options { bytes, share, repetitions, csv, spans } = *options;
    let prefix = format!("forkbench,{},{bytes}", share.name());
    if spans {
        figures.print_spans(&prefix);
    }
    if csv {
        return figures.print_rows(&prefix);
    }
    println!(
        "{} touched, --share {}, {repetitions} repetition{}; the counter runs at {} Hz",
        Size(bytes as u64),
        share.name(),
        if repetitions == 1 { "" } else { "s" },
        Grouped(time::frequency()),
    );
    figures.print_table();
}
