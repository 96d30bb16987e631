//! The results of the searches, as a table for a person or as rows for a program.

use graft_lib::forkserver::table::Table;
use graft_rt::size::{Grouped, Size};
use graft_rt::{FaultKind, print, println, time};

use crate::options::Options;
use crate::stage::Progress;
use crate::ways::{Outcome, Way};

const SECOND: u64 = 1_000_000_000;

/// Prints what is known before the first search.
pub(crate) fn begin(options: &Options, warm_up: u64) {
    if !options.csv {
        let table = Size(Table::bytes(options.bits) as u64);
        println!("The target's table of {table} takes {} ns to build.", Grouped(nanoseconds(warm_up)));
    }
}

/// Prints that a search begins: the kernel is about to report crashes below.
pub(crate) fn search(options: &Options, way: Way) {
    if !options.csv {
        match way.share() {
            None => println!("searching by {}", way.name()),
            Some(share) => println!("searching by {}, sharing {}", way.name(), share.name()),
        }
    }
}

/// Prints how fast the searches were.
pub(crate) fn end(options: &Options, outcomes: &[Outcome]) {
    if options.csv {
        return outcomes.iter().for_each(|outcome| rows(options, outcome));
    }
    println!();
    println!(
        "{:8} {:6} {:>11} {:>14} {:>11} {:>6} {:>6}   end",
        "by", "share", "executions", "ns each", "per second", "kept", "edges"
    );
    for outcome in outcomes {
        let Progress { executions, kept, edges, .. } = outcome.progress;
        let each = each(outcome);
        println!(
            "{:8} {:6} {:>11} {:>14} {:>11} {kept:>6} {edges:>6}   {}",
            outcome.way.name(),
            outcome.way.share().map_or("", |share| share.name()),
            Grouped(executions),
            Grouped(each),
            Grouped(SECOND / each.max(1)),
            if outcome.crash.is_some() { "crash" } else { "limit" },
        );
    }
}

fn rows(options: &Options, outcome: &Outcome) {
    let way = outcome.way.name();
    let share = outcome.way.share().map_or("none", |share| share.name());
    let Progress { executions, kept, edges, .. } = outcome.progress;
    for (metric, unit, value) in [
        ("execution", "ns", each(outcome)),
        ("executions", "runs", executions),
        ("kept", "inputs", kept as u64),
        ("edges", "edges", edges as u64),
    ] {
        println!("forkserver,{way},{share},{},{metric},{unit},{value}", Table::bytes(options.bits));
    }
}

/// Nanoseconds of an execution that ended well, on average.
fn each(outcome: &Outcome) -> u64 {
    let completed = outcome.progress.executions - u64::from(outcome.crash.is_some());
    nanoseconds(outcome.progress.time) / completed.max(1)
}

/// Prints the crash that was found and reproduced.
pub(crate) fn crash(options: &Options, progress: &Progress, fault: FaultKind, repetitions: usize) {
    if options.csv {
        return;
    }
    println!();
    println!("Execution {} ends in a crash: it {}. Its input:", Grouped(progress.executions), fault.message());
    print!("{}", progress.input);
    println!("It came again {repetitions} times by fork and in a fresh process.");
}

fn nanoseconds(counts: u64) -> u64 {
    time::to_nanoseconds(counts, time::frequency())
}
