//! Whether the kernel finds all of the memory that a machine has.

use super::play::{LIMIT, play, virt};
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::verdict::Expected;
use std::fs;
use std::path::Path;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
/// Most that the kernel and the copy of the device tree take: QEMU's is 1 MiB, mostly empty.
const KERNEL: u64 = 5 * MIB / 2;
/// The kernel keeps 36 bytes for each page.
const FOR_EACH_PAGE: u64 = 40;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let archive = build.archive();
    [64, 128, 1024, 3072]
        .into_iter()
        .map(|mebibytes: u64| {
            let machine = Machine { memory: format!("{mebibytes}M"), ..virt(build) }.with_line("free");
            let archive = archive.clone();
            let name = format!("all of the memory is used · {machine}");
            Case::new(name, move |log| all_of_it(&machine, mebibytes, &archive, log))
        })
        .collect()
}

fn all_of_it(machine: &Machine, mebibytes: u64, archive: &Path, log: &Path) -> Outcome {
    let ended = play(machine, log, LIMIT)?;
    Expected::success().saying(&format!("{mebibytes} MiB")).judge(&ended)?;
    let total = |line: &str| line.strip_prefix("total")?.split_whitespace().next()?.parse().ok();
    let frames: u64 = ended.output.lines().find_map(total).ok_or("`free` prints no total")?;
    let missing = mebibytes * MIB - (frames * PAGE).min(mebibytes * MIB);
    let archive = fs::metadata(archive).map_err(|error| format!("cannot look at the archive: {error}"))?.len();
    let allowed = KERNEL + archive + mebibytes * MIB / PAGE * FOR_EACH_PAGE;
    if missing > allowed {
        return Err(format!("{missing} bytes of {mebibytes} MiB are not used, {allowed} at most should be").into());
    }
    Ok(Report::noted(format!("{frames} frames")))
}
