//! Runs that count instructions: the figures are the same every time, fork is as fast as promised, and no operation
//! takes more than it did.

use crate::bench::figures::{self, Figure};
use crate::bench::guard::Accepted;
use crate::bench::lines;
use crate::bench::plan::{self, Point};
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use graft_abi::Share;
use std::path::Path;

const SMALL: u64 = 16 << 20;
const LARGE: u64 = 1 << 30;
/// More than a load that hits, less than any exception taken: what "no fault" means in instructions.
const READ_WITHOUT_FAULT: u64 = 40;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let case = |name: &str, body: fn(&Build, &Machine, &Path) -> Outcome| {
        let (build, machine) = (build.clone(), plan::machine(build));
        Case::new(format!("{name} · {machine}"), move |log| body(&build, &machine, log))
    };
    vec![
        case("l3 fork of 1 GiB costs at most 1/100 of copy", ratio),
        case("instructions and cache lines as accepted; l2 and l1 fork cost the same at 16 MiB and 1 GiB", accepted),
        case("two runs print the same numbers, instructions and cache lines", repeatable),
    ]
}

const fn point(share: Share, bytes: u64) -> Point {
    Point::Fork { share, bytes }
}

fn ratio(_: &Build, machine: &Machine, log: &Path) -> Outcome {
    let figures = plan::measure(machine, None, &[point(Share::Copy, LARGE), point(Share::L3, LARGE)], log)?;
    let copy = figures::median(&figures, "copy", LARGE, "fork")?;
    let l3 = figures::median(&figures, "l3", LARGE, "fork")?;
    let note = format!("{l3} against {copy}");
    if l3 * 100 <= copy { Ok(Report::noted(note)) } else { Err(note.into()) }
}

/// One measurement for two questions: it takes most of the time.
fn accepted(build: &Build, machine: &Machine, log: &Path) -> Outcome {
    let accepted = Accepted::read()?;
    let plugin = lines::plugin(build, &machine.emulator)?;
    let figures = plan::measure(machine, Some(&plugin), &accepted.points(), log)?;
    for share in [Share::L2, Share::L1] {
        constant(&figures, share.name())?;
    }
    for share in [Share::L3, Share::L2, Share::L1] {
        no_read_fault(&figures, share.name())?;
    }
    Ok(Report { passed: 2, failed: 0, note: accepted.judge(&figures)? })
}

fn constant(figures: &[Figure], share: &str) -> Outcome<()> {
    let small = figures::median(figures, share, SMALL, "fork")?;
    let large = figures::median(figures, share, LARGE, "fork")?;
    if small.abs_diff(large) * 5 > small {
        return Err(format!("{share} fork: {small} at 16 MiB, {large} at 1 GiB, more than 20 % apart").into());
    }
    Ok(())
}

fn no_read_fault(figures: &[Figure], share: &str) -> Outcome<()> {
    match figures::median(figures, share, LARGE, "child_read")? {
        read if read <= READ_WITHOUT_FAULT => Ok(()),
        read => Err(format!("a read in the {share} child takes {read} instructions: it faults").into()),
    }
}

fn repeatable(build: &Build, machine: &Machine, log: &Path) -> Outcome {
    let plugin = lines::plugin(build, &machine.emulator)?;
    let points = [point(Share::Copy, SMALL), point(Share::L3, SMALL)];
    let first = plan::measure(machine, Some(&plugin), &points, log)?;
    let second = plan::measure(machine, Some(&plugin), &points, log)?;
    if first.is_empty() || first.len() != second.len() {
        return Err(format!("first {} figures, then {}", first.len(), second.len()).into());
    }
    match first.iter().zip(&second).find(|(first, second)| first != second) {
        Some((first, second)) => Err(format!("first {first}, then {second}").into()),
        None => Ok(Report::noted(format!("{} figures", first.len()))),
    }
}
