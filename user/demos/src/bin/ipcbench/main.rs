//! Measures messages between processes, and what servers need beside them: `ipcbench [--reps N] [--csv] [--spans]`.
//!
//! Every figure is taken N times, after a few that are not counted: both processes have by then what they write to. A
//! time covers the whole way, from the client's program into the kernel, to the server's program and back.
//!
//! | metric | what |
//! |---|---|
//! | `call_reply_0` | a call without words, and its answer |
//! | `call_reply_6h` | a call with six words and a handle, which the server keeps, and its answer with six words |
//! | `call_reply_donate` | as `call_reply_0`, with a deadline |
//! | `call_reply_fp` | as `call_reply_0`, by a client that uses floating point before and after |
//! | `call_reply_10` | a call that lends 80 bytes, which the server copies before it answers |
//! | `call_reply_4k` | as `call_reply_10`, with a page |
//! | `notify_switch` | from a notification to the more urgent thread of another process that waits for it; with one core only |
//! | `fault_supervisor` | an instruction that there is not, to the supervisor, and on behind it |
//! | `foreign_call` | a call of another system, to the supervisor, and its answer |
//! | `map`, `unmap` | a page mapped beside another, and unmapped after it was written |
//! | `spawn_warm` | from before a process is started from a template to its first line |
//! | `heal` | from a call in which the file server faults, through its way back, to the answer to the next call |
//! | `yield_switch` | to another process by a yield: half of the way there and back |
//!
//! With `--csv` a row is `ipcbench,METRIC,UNIT,MIN,MEDIAN,MAX,N`; with `--spans` there is another one for each time
//! that was taken, as `forkbench` has them. A switch to another process is measured on machines with one core.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod exchange;
mod run;

use alloc::format;
use alloc::string::String;

use graft_rt::message::{Connection, Message};
use graft_rt::size::Grouped;
use graft_rt::{Arguments, eprintln, grants, println, time};

graft_rt::program!(main);

const USAGE: &str = "usage: ipcbench [--reps N] [--csv] [--spans]";
/// Most repetitions: the server keeps a handle for each.
const REPETITIONS_MAX: usize = 100;

/// The command line.
struct Options {
    repetitions: usize,
    csv: bool,
    /// Whether to say when each time was taken, too.
    spans: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = &'static str>) -> Result<Options, String> {
        let mut options = Options { repetitions: 5, csv: false, spans: false };
        while let Some(option) = arguments.next() {
            match option {
                "--reps" => {
                    let text = arguments.next().ok_or("--reps needs a value")?;
                    let number = text.parse().ok().filter(|number| (1..=REPETITIONS_MAX).contains(number));
                    options.repetitions =
                        number.ok_or_else(|| format!("--reps {text}: a number from 1 to {REPETITIONS_MAX}"))?;
                }
                "--csv" => options.csv = true,
                "--spans" => options.spans = true,
                _ => return Err(format!("{option}: there is no such option")),
            }
        }
        Ok(options)
    }
}

fn main(arguments: Arguments) -> i32 {
    let begun = time::counter();
    if let Some(connection) = grants::handle(run::FIRST_LINE) {
        let told = Connection::from_handle(connection).call(Message::words([begun, 0, 0, 0, 0, 0]));
        return i32::from(told.is_err());
    }
    let options = match Options::parse(arguments.skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("ipcbench: {problem}");
            eprintln!("{USAGE}");
            return 2;
        }
    };
    let figures = match run::run(options.repetitions) {
        Ok(figures) => figures,
        Err(problem) => {
            eprintln!("ipcbench: {problem}");
            return 1;
        }
    };
    if options.spans {
        figures.print_spans("ipcbench,ipc,0");
    }
    if options.csv {
        figures.print_rows("ipcbench");
    } else {
        let plural = if options.repetitions == 1 { "" } else { "s" };
        let frequency = Grouped(time::frequency());
        println!("{} repetition{plural}; the counter runs at {frequency} Hz", options.repetitions);
        figures.print_table();
    }
    0
}
