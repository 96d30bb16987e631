//! No operation keeps interrupts or other threads waiting for longer than it may.

use super::play::virt;
use crate::bench::bounds::{excesses, measure};
use crate::bench::lines;
use crate::builder::folder::Build;
use crate::harness::runner::{Case, Outcome, Report};
use std::path::Path;

/// Enough for hundreds of pieces of each operation.
const MEBIBYTES: u64 = 64;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let build = build.clone();
    vec![Case::new("interrupts wait for 20,000 instructions at most, threads for a slice", move |log| {
        bounded(&build, log)
    })]
}

fn bounded(build: &Build, log: &Path) -> Outcome {
    // The same QEMU takes both plugins, or none.
    if let Err(why) = lines::plugin(build, &virt(build).emulator) {
        return Ok(Report::noted(format!("left out; {why}")));
    }
    let bounds = measure(build, virt(build), MEBIBYTES, log)?;
    let longer: Vec<_> = excesses(&bounds)
        .into_iter()
        .map(|bound| format!("{}: {} at {}", bound.name, bound.masked, bound.address))
        .collect();
    if !longer.is_empty() {
        return Err(longer.join("; ").into());
    }
    let worst = bounds.iter().map(|bound| bound.masked).max().unwrap_or(0);
    Ok(Report { passed: bounds.len() as u32, failed: 0, note: format!("{worst} at most") })
}
