//! What the kernel does to its translation tables while it runs keeps the architecture's rules.

use super::play::{raspi4b, virt};
use crate::bench::lines;
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use crate::judges::runs::{self, Planted};
use std::fs;
use std::path::Path;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let machines = [
        (virt(build).with_line("forkdemo"), "forkdemo"),
        (raspi4b(build).with_line("forkdemo"), "forkdemo"),
        (virt(build).with_line("t-fork l2").with_boot_word("graft.asid-bits=8"), "t-fork l2, 8-bit ASIDs"),
    ];
    let case = |(machine, line): (Machine, &str)| {
        let build = build.clone();
        Case::new(format!("trace of the tables: {line} · {machine}"), move |log| judged(&build, &machine, log))
    };
    machines.into_iter().map(case).collect()
}

/// The trace breaks no rule, and with something left out it breaks one.
fn judged(build: &Build, machine: &Machine, log: &Path) -> Outcome {
    if let Err(why) = lines::plugin(build, &machine.emulator) {
        return Ok(Report::noted(format!("left out; {why}")));
    }
    let trace = log.with_extension("trace");
    runs::record(build, machine.clone(), &trace, log)?;
    let content = runs::judge(&trace, None)?;
    if content.cores.len() as u32 != machine.cores {
        return Err(format!("{} of {} cores are in the trace", content.cores.len(), machine.cores).into());
    }
    for planted in Planted::ALL {
        if runs::judge(&trace, Some(planted)).is_ok() {
            return Err(format!("{planted:?} is not noticed").into());
        }
    }
    // Large, and made again by every run.
    fs::remove_file(&trace)?;
    Ok(Report { passed: 1 + Planted::ALL.len() as u32, failed: 0, note: content.to_string() })
}
