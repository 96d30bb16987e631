//! Loaders that leave registers in a state that only the manual allows, or pack memory tightly, and cores that answer
//! late.

use super::placed::{self, ARCHIVE, SystemRegister, TREE, set_system};
use super::play::{LIMIT, boot, play, raspi4b, virt};
use crate::builder::folder::Build;
use crate::harness::machine::{Load, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::scratch::Scratch;
use crate::harness::verdict::Expected;
use std::fs;
use std::path::Path;

const HCR_EL2: SystemRegister = [3, 4, 1, 1, 0];
const CPTR_EL2: SystemRegister = [3, 4, 1, 1, 2];
const CNTHCTL_EL2: SystemRegister = [3, 4, 14, 1, 0];
const SCTLR_EL1: SystemRegister = [3, 0, 1, 0, 0];
/// What EL1 calls `SCTLR_EL1`, at EL2 with E2H.
const SCTLR_EL12: SystemRegister = [3, 5, 1, 0, 0];
const MDSCR_EL1: SystemRegister = [2, 0, 0, 2, 2];

/// `HCR_EL2`: RW and E2H.
const HOST_EXTENSIONS: u64 = 1 << 31 | 1 << 34;
/// `SCTLR_EL1` with its RES1 bits and translation on, though there are no tables.
const TRANSLATING: u64 = 0x30D0_0800 | 1;
/// The same in big-endian order, translation off: EE and E0E.
const BIG_ENDIAN: u64 = 0x30D0_0800 | 1 << 24;
/// `MDSCR_EL1`: single steps, and debug exceptions of every kind.
const DEBUGGING: u64 = 1 | 1 << 13 | 1 << 15;

/// What a loader has left where.
type Residue = &'static [(SystemRegister, u64)];

/// The exception level, what it is, the residue.
const RESIDUES: [(u32, &str, Residue); 3] = [
    (1, "debug exceptions on", &[(MDSCR_EL1, DEBUGGING)]),
    (
        2,
        "E2H set, translation of EL1 on, its floating point and timers trapped",
        &[(HCR_EL2, HOST_EXTENSIONS), (SCTLR_EL12, TRANSLATING), (CPTR_EL2, 0), (CNTHCTL_EL2, 0)],
    ),
    (2, "EL1 big-endian, debug exceptions on", &[(SCTLR_EL1, BIG_ENDIAN), (MDSCR_EL1, DEBUGGING)]),
];

/// How long the first core waits for another, in nanoseconds: from not at all to longer than most take.
const PATIENCE: [u32; 5] = [0, 2_000, 20_000, 200_000, 2_000_000];

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for (level, what, residue) in RESIDUES {
        let machine = Machine { cpu: "max".into(), gic: 3, virtualization: level == 2, ..virt(build) };
        let build = build.clone();
        cases.push(Case::new(format!("a loader that leaves {what} · {machine}"), move |log| {
            placed_boot(&build, &machine, residue, Places::Apart, log)
        }));
    }
    for (what, places) in [
        ("a device tree right behind the archive", Places::TreeBehind),
        ("an archive in the middle of a page", Places::ArchiveUnaligned),
    ] {
        let (build, machine) = (build.clone(), virt(build));
        cases.push(Case::new(format!("{what} · {machine}"), move |log| {
            placed_boot(&build, &machine, &[], places, log)
        }));
    }
    for patience in PATIENCE {
        for machine in [virt(build), raspi4b(build)] {
            let name = format!("cores that have {patience} ns to answer · {machine}");
            let machine = machine.with_line("forkdemo").with_boot_word(&format!("graft.core-patience={patience}"));
            cases.push(boot(name, machine, Expected::success().saying("claims held, 0 failed"), LIMIT));
        }
    }
    cases
}

/// Where archive and device tree are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    /// Each in pages of its own.
    Apart,
    /// The tree begins in the archive's last page.
    TreeBehind,
    /// The archive begins in the middle of a page.
    ArchiveUnaligned,
}

/// Boots with these values in the registers, and archive and tree in these places.
fn placed_boot(build: &Build, machine: &Machine, residue: Residue, places: Places, log: &Path) -> Outcome {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree.dtb");
    placed::own_tree(machine, &tree)?;
    // Zeroes at its end are no part of it; with these it never fills its last page.
    let mut archive = fs::read(build.archive())?;
    archive.resize(archive.len().next_multiple_of(0x1000) + 0x200, 0);
    let length = archive.len() as u64;
    let archive_file = scratch.path().join("archive.tar");
    fs::write(&archive_file, archive)?;
    let (start, tree_at) = match places {
        Places::Apart => (ARCHIVE, TREE),
        Places::ArchiveUnaligned => (ARCHIVE + 0x208, TREE),
        Places::TreeBehind => (ARCHIVE, (ARCHIVE + length).next_multiple_of(8)),
    };
    let end = start + length;
    for (property, address) in [("linux,initrd-start", start), ("linux,initrd-end", end)] {
        let [high, low] = [address >> 32, address & 0xffff_ffff].map(|cell| format!("{cell:x}"));
        placed::edit(&tree, &["-t", "x"], &["/chosen", property, &high, &low])?;
    }
    placed::edit(&tree, &["-t", "s"], &["/chosen", "bootargs", "graft.cmd=forkdemo"])?;

    let leave = residue.iter().flat_map(|&(register, value)| set_system(register, value));
    let code = [placed::code(leave), placed::entry_code(tree_at)].concat();
    let mut load = placed::load(build, &scratch, Some((&tree, tree_at)), &code)?;
    if let Load::Placed { files, .. } = &mut load {
        files.push((archive_file, start));
    }
    let machine = Machine { load, ..machine.clone() };
    Expected::success().saying("claims held, 0 failed").judge(&play(&machine, log, LIMIT)?)?;
    Ok(Report::pass())
}
