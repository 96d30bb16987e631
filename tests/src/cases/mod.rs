//! The runs on QEMU that make up `make test`.

mod archives;
mod artefacts;
mod bad_boot;
mod boards;
mod counted;
mod dialogue;
mod firmware;
mod matrix;
mod memory;
mod placed;
mod play;
mod programs;
mod refusal;
mod shell;
mod traces;
mod waits;

use crate::builder::folder::Build;
use crate::harness::runner::Case;

/// Every case there is for what `build` holds.
pub fn all(build: &Build) -> Result<Vec<Case>, String> {
    let mut cases = dialogue::cases(build);
    cases.extend(archives::cases(build));
    cases.extend(artefacts::cases(build));
    cases.extend(boards::cases(build));
    cases.extend(counted::cases(build));
    cases.extend(firmware::cases(build));
    cases.extend(matrix::cases(build)?);
    cases.extend(waits::cases(build));
    cases.extend(traces::cases(build));
    cases.extend(memory::cases(build));
    cases.extend(programs::cases(build));
    cases.extend(shell::cases(build));
    cases.extend(bad_boot::cases(build));
    Ok(cases)
}
