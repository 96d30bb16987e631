//! Device trees that are missing, broken, or of boards that nobody knows.

use super::refusal::{noise, refused};
use crate::builder::folder::Build;
use crate::cases::play::{LIMIT, play, raspi4b, virt};
use crate::harness::machine::{Load, Machine};
use crate::harness::runner::{Case, Outcome};
use crate::harness::scratch::Scratch;
use crate::harness::session::Ended;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `virt`'s memory starts, and where QEMU puts a kernel image in it.
const MEMORY: u64 = 0x4000_0000;
const KERNEL: u64 = MEMORY + 0x20_0000;
/// Free places for a device tree and for the first instructions, inside of 1 GiB.
const TREE: u64 = MEMORY + 0x800_0000;
const STUB: u64 = MEMORY + 0x7ff_0000;

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
    let broken: [(&str, Spoil); 5] = [
        ("noise", |path| fill(path, |good| noise(good.len()))),
        ("a header with noise", |path| fill(path, |good| [&good[..40], &noise(good.len() - 40)].concat())),
        ("a tree of the wrong version", |path| fill(path, |good| patched(good, 20, 1))),
        ("a tree of four gigabytes", |path| fill(path, |good| patched(good, 4, u32::MAX))),
        ("a tree with its structure outside", |path| fill(path, |good| patched(good, 8, 0x7fff_fff0))),
    ];
    for (what, spoil) in broken {
        cases.push(spoiled(build, what, spoil, WORD));
    }
    cases.push(spoiled(build, "a tree without memory", |path| edit(path, &["-r"], &["/memory@40000000"]), "memory"));
    cases.push(spoiled(
        build,
        "a tree without an interrupt controller",
        |path| edit(path, &["-r"], &["/intc@8000000"]),
        "gic",
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
    let stub = scratch.path().join("stub");
    fs::write(&stub, entry_code(address))?;
    let mut files = vec![(build.kernel_image(), KERNEL), (stub, STUB)];
    files.extend(tree.map(|tree| (PathBuf::from(tree), TREE)));
    let machine = Machine { load: Load::Placed { files, entry: STUB }, ..virt(build) };
    play(&machine, log, LIMIT)
}

/// Instructions that put `address` into `x0` and jump to the kernel: `movz` and three `movk` for each, then `br x9`.
fn entry_code(address: u64) -> Vec<u8> {
    let wide = |register: u32, value: u64| {
        (0..4u32).map(move |part| {
            let operation = if part == 0 { 0xd280_0000 } else { 0xf280_0000 };
            operation | part << 21 | ((value >> (16 * part)) as u32 & 0xffff) << 5 | register
        })
    };
    wide(0, address).chain(wide(9, KERNEL)).chain([0xd61f_0120]).flat_map(u32::to_le_bytes).collect()
}

/// Writes the device tree that QEMU makes for the machine.
fn own_tree(machine: &Machine, path: &Path) -> Outcome<()> {
    let mut option = std::ffi::OsString::from(format!("virt,gic-version={},dumpdtb=", machine.gic));
    option.push(path);
    let mut command = Command::new(&machine.emulator);
    command.arg("-M").arg(option).args(["-cpu", &machine.cpu, "-m", &machine.memory, "-display", "none"]);
    succeed(command.args(["-nic", "none", "-smp"]).arg(machine.cores.to_string()))
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

fn edit(path: &Path, options: &[&str], rest: &[&str]) -> Outcome<()> {
    succeed(Command::new("fdtput").args(options).arg(path).args(rest))
}

fn succeed(command: &mut Command) -> Outcome<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_code_loads_both_registers_and_jumps() {
        let code = entry_code(0x4800_0000);
        let words: Vec<u32> = code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        // As assembled by GNU as.
        assert_eq!(words[..4], [0xd280_0000, 0xf2a9_0000, 0xf2c0_0000, 0xf2e0_0000]);
        assert_eq!(words[4..], [0xd280_0009, 0xf2a8_0409, 0xf2c0_0009, 0xf2e0_0009, 0xd61f_0120]);
    }
}
