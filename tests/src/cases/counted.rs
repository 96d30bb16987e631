//! Runs that count instructions: the same figures every time, and fork as fast as it promises to be.

use super::{play, virt};
use crate::build::Build;
use crate::figures::{self, Figure};
use crate::machine::Machine;
use crate::runner::{Case, Outcome, Report};
use crate::verdict::Expected;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(400);
const SMALL: u64 = 16 << 20;
const LARGE: u64 = 1 << 30;
/// More than a load that hits, less than any exception taken: what "no fault" means in nanoseconds of guest time.
const READ_WITHOUT_FAULT: u64 = 40;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let machine = Machine { cores: 1, memory: "3G".into(), icount: true, ..virt(build) };
    let case = |name: &str, body: fn(&Machine, &Path) -> Outcome| {
        let machine = machine.clone();
        Case::new(format!("{name} · {machine}"), move |log| body(&machine, log))
    };
    vec![
        case("l3 fork of 1 GiB costs at most 1/100 of copy", ratio),
        case("l2 and l1 fork cost the same at 16 MiB and 1 GiB", constant),
        case("two runs print the same numbers", repeatable),
    ]
}

fn bench(machine: &Machine, lines: &str, log: &Path) -> Outcome<(Vec<Figure>, String)> {
    let ended = play(&machine.clone().with_line(lines), log, LIMIT)?;
    Expected::success().judge(&ended)?;
    Ok((figures::parse(&ended.output), ended.output))
}

fn ratio(machine: &Machine, log: &Path) -> Outcome {
    let line = "forkbench --mem 1G --share copy --csv && forkbench --mem 1G --share l3 --csv";
    let (figures, _) = bench(machine, line, log)?;
    let copy = figures::median(&figures, "copy", LARGE, "fork")?;
    let l3 = figures::median(&figures, "l3", LARGE, "fork")?;
    no_read_fault(&figures, "l3")?;
    let note = format!("{l3} against {copy}");
    if l3 * 100 <= copy { Ok(Report::noted(note)) } else { Err(note.into()) }
}

fn constant(machine: &Machine, log: &Path) -> Outcome {
    let lines: Vec<_> = ["l2", "l1"]
        .iter()
        .flat_map(|share| ["16M", "1G"].map(|size| format!("forkbench --mem {size} --share {share} --csv")))
        .collect();
    let (figures, _) = bench(machine, &lines.join(" && "), log)?;
    let mut notes = Vec::new();
    for share in ["l2", "l1"] {
        let small = figures::median(&figures, share, SMALL, "fork")?;
        let large = figures::median(&figures, share, LARGE, "fork")?;
        no_read_fault(&figures, share)?;
        notes.push(format!("{share}: {small}, {large}"));
        if small.abs_diff(large) * 5 > small {
            return Err(format!("{share} fork: {small} at 16 MiB, {large} at 1 GiB, more than 20 % apart").into());
        }
    }
    Ok(Report::noted(notes.join("; ")))
}

fn no_read_fault(figures: &[Figure], share: &str) -> Outcome<()> {
    match figures::median(figures, share, LARGE, "child_read")? {
        read if read <= READ_WITHOUT_FAULT => Ok(()),
        read => Err(format!("a read in the {share} child takes {read} ns: it faults").into()),
    }
}

fn repeatable(machine: &Machine, log: &Path) -> Outcome {
    let line = "forkbench --mem 16M --share copy --csv && forkbench --mem 16M --share l3 --csv";
    let (figures, first) = bench(machine, line, log)?;
    let (_, second) = bench(machine, line, log)?;
    if figures.is_empty() {
        return Err("no figures".into());
    }
    match first.lines().zip(second.lines()).find(|(first, second)| first != second) {
        Some((first, second)) => Err(format!("first {first:?}, then {second:?}").into()),
        None if first.len() != second.len() => Err("one run said more than the other".into()),
        None => Ok(Report::noted(format!("{} figures", figures.len()))),
    }
}
