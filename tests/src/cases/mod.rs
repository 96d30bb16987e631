//! The runs on QEMU that make up `make test`.

mod artefacts;
mod bad_boot;
mod counted;
mod dialogue;
mod matrix;
mod memory;
mod programs;

use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::session::{self, Ended};
use crate::harness::verdict::Expected;
use std::path::Path;
use std::time::Duration;

/// Enough for a short run when the computer has other things to do; a good run takes a second or two.
const LIMIT: Duration = Duration::from_secs(60);

/// Every case there is for what `build` holds.
pub fn all(build: &Build) -> Result<Vec<Case>, String> {
    let mut cases = dialogue::cases(build);
    cases.extend(artefacts::cases(build));
    cases.extend(counted::cases(build));
    cases.extend(matrix::cases(build)?);
    cases.extend(memory::cases(build));
    cases.extend(programs::cases(build));
    cases.extend(bad_boot::cases(build));
    Ok(cases)
}

/// The machine of `make run`.
fn virt(build: &Build) -> Machine {
    Machine::new(&build.kernel_image()).with_archive(&build.archive())
}

/// The machine of `make run BOARD=raspi4b`.
fn raspi4b(build: &Build) -> Machine {
    virt(build).raspi4b(Some(&build.pi_tree()))
}

/// Plays a machine without anybody at its console.
fn play(machine: &Machine, log: &Path, limit: Duration) -> Outcome<Ended> {
    Ok(session::run(machine.command(Console::Pipe), log, limit)?)
}

/// A case that boots `machine` and judges how it ends.
fn boot(name: impl Into<String>, machine: Machine, expected: Expected, limit: Duration) -> Case {
    Case::new(name, move |log| {
        expected.judge(&play(&machine, log, limit)?)?;
        Ok(Report::pass())
    })
}
