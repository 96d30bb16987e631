//! Every board with the Pi 4's chip, and device trees of other machines than the one that gets them.

use super::placed::{own_tree, succeed};
use super::play::{LIMIT, boot, raspi4b, virt};
use super::refusal::refused;
use crate::builder::folder::Build;
use crate::harness::machine::{Console, Machine};
use crate::harness::runner::{Case, Outcome};
use crate::harness::scratch::Scratch;
use crate::harness::session;
use crate::harness::verdict::Expected;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Of Debian's kernel: the tree, and what it calls its board.
const SAME_CHIP: [(&str, &str); 2] =
    [("bcm2711-rpi-400.dtb", "Raspberry Pi 400"), ("bcm2711-rpi-cm4-io.dtb", "Raspberry Pi Compute Module 4 IO Board")];
const OTHER_CHIP: &str = "bcm2837-rpi-3-b.dtb";

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for (tree, board) in SAME_CHIP {
        let machine = raspi4b(build).raspi4b(Some(&build.path(tree))).with_line("forkdemo");
        let expected = Expected::success().saying(&format!("on {board}: 4 cores")).saying("claims held, 0 failed");
        cases.push(boot(format!("{board} · {machine}"), machine, expected, LIMIT));
    }
    let tree = build.path(OTHER_CHIP);
    let machine = raspi4b(build).raspi4b(Some(&tree));
    cases.push(Case::new(format!("a Raspberry Pi 3's device tree · {machine}"), move |log| {
        refused_everywhere(&machine, log, "unknown board")
    }));
    let (machine, of) = (raspi4b(build), virt(build));
    cases.push(Case::new(format!("virt's device tree · {machine}"), move |log| {
        let scratch = Scratch::new();
        let [tree, small] = ["tree.dtb", "small.dtb"].map(|name| scratch.path().join(name));
        own_tree(&of, &tree)?;
        // QEMU leaves room in it, and doubles that when it loads the tree again.
        succeed(Command::new("dtc").args(["-q", "-I", "dtb", "-O", "dtb", "-o"]).args([&small, &tree]))?;
        refused_everywhere(&machine.clone().raspi4b(Some(&small)), log, "another machine")
    }));
    // With 3 GiB there is memory where the Pi has its UART.
    for memory in ["1G", "3G"] {
        let tree = Some(build.pi_tree());
        let machine = Machine { memory: memory.into(), device_tree: tree, ..virt(build) };
        cases.push(Case::new(format!("a Raspberry Pi 4's device tree · {machine}"), move |log| {
            refused(&session::run(machine.command(Console::Pipe), log, LIMIT)?, "another machine")
        }));
    }
    cases
}

/// Judges a boot that cannot work: the line is on the Pi's PL011 and on its mini UART.
fn refused_everywhere(machine: &Machine, log: &Path, word: &str) -> Outcome {
    let scratch = Scratch::new();
    let other = scratch.path().join("mini-uart");
    let mut command = machine.command(Console::Pipe);
    command.arg("-serial").arg(format!("file:{}", other.display()));
    let report = refused(&session::run(command, log, LIMIT)?, word)?;
    let heard = fs::read_to_string(&other)?;
    match heard.trim().lines().collect::<Vec<_>>()[..] {
        [line] if line.contains(word) => Ok(report),
        _ => Err(format!("the mini UART says {heard:?}").into()),
    }
}
