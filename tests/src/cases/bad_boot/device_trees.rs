//! Device trees that are missing, broken, or of unknown boards.

use crate::builder::folder::Build;
use crate::cases::placed::{self, TREE, edit, own_tree};
use crate::cases::play::{LIMIT, play, raspi4b, virt};
use crate::cases::refusal::{noise, refused};
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome};
use crate::harness::scratch::Scratch;
use crate::harness::session::Ended;
use std::fs;
use std::path::Path;

/// Makes a bad device tree out of a good one, in the file with that path.
type Spoil = fn(&Path) -> Outcome<()>;

/// What the kernel calls it.
const WORD: &str = "device tree";

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();

    let machine = Machine { device_tree: None, ..raspi4b(build) };
    cases.push(Case::new(format!("no device tree · {machine}"), move |log| {
        refused(&play(&machine, log, LIMIT)?, WORD)
    }));

    // QEMU refuses to load a broken tree, so these are placed by hand, with a few instructions that jump to the kernel.
    let addresses = [("a null pointer", 0), ("a pointer into zeroes", TREE), ("a pointer to no memory", 1 << 38)];
    for (what, address) in addresses {
        let build = build.clone();
        let name = format!("{what} for a device tree · {}", virt(&build));
        cases.push(Case::new(name, move |log| refused(&placed(&build, log, None, address)?, WORD)));
    }
    let broken: [(&str, Spoil); 6] = [
        ("noise", |path| fill(path, |good| noise(good.len()))),
        ("a header with noise", |path| fill(path, |good| [&good[..40], &noise(good.len() - 40)].concat())),
        ("a tree of the wrong version", |path| fill(path, |good| patched(good, 20, 1))),
        ("a tree of four gigabytes", |path| fill(path, |good| patched(good, 4, u32::MAX))),
        ("a tree of no bytes", |path| fill(path, |good| patched(good, 4, 0))),
        ("a tree with its structure outside", |path| fill(path, |good| patched(good, 8, 0x7fff_fff0))),
    ];
    for (what, spoil) in broken {
        cases.push(spoiled(build, what, spoil, WORD));
    }
    cases.push(spoiled(build, "a tree without memory", |path| edit(path, &["-r"], &["/memory@40000000"]), "memory"));
    // The UART is where it says, the kernel is not.
    cases.push(spoiled(
        build,
        "a tree of a machine with its memory elsewhere",
        |path| edit(path, &["-t", "x"], &["/memory@40000000", "reg", "0", "c0000000", "0", "40000000"]),
        "where that one has no memory",
    ));
    cases.push(spoiled(
        build,
        "a tree without an interrupt controller",
        |path| edit(path, &["-r"], &["/intc@8000000"]),
        "gic",
    ));
    cases.push(spoiled(
        build,
        "a tree with registers beyond the last physical address",
        |path| {
            let registers = ["ffff", "fffff000", "0", "10000", "0", "8010000", "0", "10000"];
            edit(path, &["-t", "x"], &[&["/intc@8000000", "reg"][..], &registers[..]].concat())
        },
        "interrupt controller cannot be mapped",
    ));
    cases.push(spoiled(
        build,
        "a tree of an unknown board",
        |path| edit(path, &["-t", "s"], &["/", "compatible", "acme,rocket"]),
        "unknown board",
    ));
    cases
}

/// A case that starts the kernel with a spoiled copy of `virt`'s own device tree.
fn spoiled(build: &Build, what: &'static str, spoil: Spoil, word: &'static str) -> Case {
    let build = build.clone();
    Case::new(format!("{what} · {}", virt(&build)), move |log| -> Outcome {
        let scratch = Scratch::new();
        let tree = scratch.path().join("tree.dtb");
        own_tree(&virt(&build), &tree)?;
        spoil(&tree)?;
        refused(&placed(&build, log, Some(&tree), TREE)?, word)
    })
}

/// Starts the kernel with `address` in register 0 and perhaps a tree at [`TREE`].
fn placed(build: &Build, log: &Path, tree: Option<&Path>, address: u64) -> Outcome<Ended> {
    let scratch = Scratch::new();
    let load = placed::load(build, &scratch, tree.map(|tree| (tree, TREE)), &placed::entry_code(address))?;
    play(&Machine { load, ..virt(build) }, log, LIMIT)
}

fn fill(path: &Path, change: impl Fn(&[u8]) -> Vec<u8>) -> Outcome<()> {
    let good = fs::read(path)?;
    Ok(fs::write(path, change(&good))?)
}

/// The tree with another big-endian word at `offset` of its header.
fn patched(good: &[u8], offset: usize, word: u32) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[offset..offset + 4].copy_from_slice(&word.to_be_bytes());
    bad
}
