//! The results of a run, as tables for a person or as rows for a program.

use alloc::format;

use graft_rt::size::{Grouped, Size};
use graft_rt::{println, time};

use crate::options::Options;
use crate::run::Outcome;

const PHASES: [&str; 3] = ["before", "during", "after"];
/// Percentiles in thousandths, beside the largest value.
const PERCENTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

/// Prints what is known before the first snapshot.
pub(crate) fn begin(options: &Options, period: u64) {
    if options.csv {
        return;
    }
    println!(
        "{} records in {}, {} % of the requests write; one arrives every {} ns",
        Grouped(options.keys as u64),
        Size(options.bytes()),
        options.set_percent,
        Grouped(nanoseconds(period)),
    );
    println!();
    println!(
        "{:5} {:6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}   latency in ns",
        "share", "phase", "requests", "p50", "p90", "p99", "p99.9", "max"
    );
}

/// Prints one depth's latencies, or all of its figures as rows.
pub(crate) fn outcome(options: &Options, outcome: &Outcome) {
    if options.csv {
        return rows(options, outcome);
    }
    for (phase, histogram) in PHASES.iter().zip(&outcome.latencies) {
        let share = if *phase == PHASES[0] { outcome.share.name() } else { "" };
        let [p50, p90, p99, p999] = PERCENTILES.map(|(_, part)| Grouped(nanoseconds(histogram.per_mille(part))));
        let (requests, most) = (Grouped(histogram.count()), Grouped(nanoseconds(histogram.most())));
        println!("{share:5} {phase:6} {requests:>9} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {most:>11}");
    }
}

fn rows(options: &Options, outcome: &Outcome) {
    let row = |metric: &str, unit: &str, value: u64| {
        println!("kvd,{},{},{metric},{unit},{value}", outcome.share.name(), options.bytes());
    };
    for (phase, histogram) in PHASES.iter().zip(&outcome.latencies) {
        for (name, part) in PERCENTILES {
            row(&format!("{phase}_{name}"), "ns", nanoseconds(histogram.per_mille(part)));
        }
        row(&format!("{phase}_max"), "ns", nanoseconds(histogram.most()));
        row(&format!("{phase}_requests"), "requests", histogram.count());
    }
    row("fork", "ns", nanoseconds(outcome.fork));
    row("save", "ns", outcome.save.as_nanos() as u64);
    row("image", "bytes", outcome.image as u64);
    row("page_copies", "faults", outcome.page_copies);
    row("table_splits", "faults", outcome.table_splits);
    row("reuses", "faults", outcome.reuses);
}

/// Prints the figures that compare all depths.
pub(crate) fn end(options: &Options, outcomes: &[Outcome]) {
    if options.csv {
        return;
    }
    println!();
    println!(
        "share {:>11} {:>11} {:>14} {:>14} {:>11}",
        "fork, ns", "save, us", "pages copied", "tables copied", "taken over"
    );
    for outcome in outcomes {
        println!(
            "{:5} {:>11} {:>11} {:>14} {:>14} {:>11}",
            outcome.share.name(),
            Grouped(nanoseconds(outcome.fork)),
            Grouped(outcome.save.as_micros() as u64),
            Grouped(outcome.page_copies),
            Grouped(outcome.table_splits),
            Grouped(outcome.reuses),
        );
    }
    let image = outcomes.last().map_or(0, |outcome| outcome.image as u64);
    println!();
    println!(
        "Each snapshot of {} was compared byte for byte with the state at its fork, replayed from the seed.",
        Size(image)
    );
}

fn nanoseconds(counts: u64) -> u64 {
    time::to_nanoseconds(counts, time::frequency())
}
