//! The machines that most cases boot, and how.

use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::session::{self, Ended};
use crate::harness::verdict::Expected;
use std::path::Path;
use std::time::Duration;

/// Enough for a short run when the computer has other things to do; a good run takes a second or two.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The machine of `make run`.
pub(super) fn virt(build: &Build) -> Machine {
    Machine::new(&build.kernel_image()).with_archive(&build.archive())
}

/// The machine of `make run BOARD=raspi4b`.
pub(super) fn raspi4b(build: &Build) -> Machine {
    virt(build).raspi4b(Some(&build.pi_tree()))
}

/// Runs a machine without input on its console.
pub(super) fn play(machine: &Machine, log: &Path, limit: Duration) -> Outcome<Ended> {
    Ok(session::run(machine.command(Console::Pipe), log, limit)?)
}

/// A case that boots `machine` and judges how it ends.
pub(super) fn boot(name: impl Into<String>, machine: Machine, expected: Expected, limit: Duration) -> Case {
    Case::new(name, move |log| {
        expected.judge(&play(&machine, log, limit)?)?;
        Ok(Report::pass())
    })
}
