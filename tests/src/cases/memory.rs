//! Whether the kernel finds all of the memory that a machine has.

use super::play::{LIMIT, play, virt};
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::verdict::Expected;
use std::path::Path;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Most that kernel and archive take.
const IMAGES: u64 = 6 * MIB;
/// The kernel keeps 36 bytes for each page.
const FOR_EACH_PAGE: u64 = 40;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    [64, 128, 1024, 3072]
        .into_iter()
        .map(|mebibytes: u64| {
            let machine = Machine { memory: format!("{mebibytes}M"), ..virt(build) }.with_line("free");
            Case::new(format!("all of the memory is used · {machine}"), move |log| all_of_it(&machine, mebibytes, log))
        })
        .collect()
}

fn all_of_it(machine: &Machine, mebibytes: u64, log: &Path) -> Outcome {
    let ended = play(machine, log, LIMIT)?;
    Expected::success().saying(&format!("{mebibytes} MiB")).judge(&ended)?;
    let total = |line: &str| line.strip_prefix("total")?.split_whitespace().next()?.parse().ok();
    let frames: u64 = ended.output.lines().find_map(total).ok_or("`free` prints no total")?;
    let missing = mebibytes * MIB - (frames * PAGE).min(mebibytes * MIB);
    let allowed = IMAGES + mebibytes * MIB / PAGE * FOR_EACH_PAGE;
    if missing > allowed {
        return Err(format!("{missing} bytes of {mebibytes} MiB are not used, {allowed} at most should be").into());
    }
    Ok(Report::noted(format!("{frames} frames")))
}
