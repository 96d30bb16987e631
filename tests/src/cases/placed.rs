//! A kernel on `virt` that no boot loader starts: files at their addresses, and a few instructions that jump to it.

use crate::builder::folder::Build;
use crate::harness::machine::{Load, Machine};
use crate::harness::runner::Outcome;
use crate::harness::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `virt`'s memory starts, and where QEMU puts a kernel image in it.
const MEMORY: u64 = 0x4000_0000;
const KERNEL: u64 = MEMORY + 0x20_0000;
/// Free places for a device tree, an archive and the first instructions, inside of 1 GiB.
pub(super) const TREE: u64 = MEMORY + 0x800_0000;
pub(super) const ARCHIVE: u64 = MEMORY + 0x1000_0000;
const STUB: u64 = MEMORY + 0x7ff_0000;

/// The kernel, perhaps a tree at an address, and `code` to begin with.
pub(super) fn load(build: &Build, scratch: &Scratch, tree: Option<(&Path, u64)>, code: &[u8]) -> Outcome<Load> {
    let stub = scratch.path().join("stub");
    fs::write(&stub, code)?;
    let mut files = vec![(build.kernel_image(), KERNEL), (stub, STUB)];
    files.extend(tree.map(|(tree, address)| (PathBuf::from(tree), address)));
    Ok(Load::Placed { files, entry: STUB })
}

/// Instructions that put `tree` into `x0` and jump to the kernel.
pub(super) fn entry_code(tree: u64) -> Vec<u8> {
    code(set(0, tree).into_iter().chain(set(9, KERNEL)).chain([0xd61f_0120]))
}

/// Instructions as bytes.
pub(super) fn code(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Puts a value into a general-purpose register: `movz`, and three `movk`.
pub(super) fn set(register: u32, value: u64) -> [u32; 4] {
    [0, 1, 2, 3].map(|part| {
        let operation = if part == 0 { 0xd280_0000 } else { 0xf280_0000 };
        operation | part << 21 | ((value >> (16 * part)) as u32 & 0xffff) << 5 | register
    })
}

/// A system register as instructions name it: op0, op1, CRn, CRm, op2.
pub(super) type SystemRegister = [u32; 5];

/// Puts a value into a system register, through `x1`, and waits until it counts: `msr`, `isb`.
pub(super) fn set_system(register: SystemRegister, value: u64) -> impl Iterator<Item = u32> {
    let [op0, op1, crn, crm, op2] = register;
    let msr = 0xd510_0000 | (op0 - 2) << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | 1;
    set(1, value).into_iter().chain([msr, 0xd503_3fdf])
}

/// Writes the device tree that QEMU makes for the machine.
pub(super) fn own_tree(machine: &Machine, path: &Path) -> Outcome<()> {
    let virtualization = if machine.virtualization { "virtualization=on," } else { "" };
    let mut option = std::ffi::OsString::from(format!("virt,gic-version={},{virtualization}dumpdtb=", machine.gic));
    option.push(path);
    let mut command = Command::new(&machine.emulator);
    command.arg("-M").arg(option).args(["-cpu", &machine.cpu, "-m", &machine.memory, "-display", "none"]);
    succeed(command.args(["-nic", "none", "-smp"]).arg(machine.cores.to_string()))
}

/// Changes a device tree with `fdtput`.
pub(super) fn edit(path: &Path, options: &[&str], rest: &[&str]) -> Outcome<()> {
    succeed(Command::new("fdtput").args(options).arg(path).args(rest))
}

/// Runs a command that has to succeed.
pub(super) fn succeed(command: &mut Command) -> Outcome<()> {
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

    fn words(code: &[u8]) -> Vec<u32> {
        code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn the_entry_code_loads_both_registers_and_jumps() {
        let words = words(&entry_code(0x4800_0000));
        // As assembled by GNU as.
        assert_eq!(words[..4], [0xd280_0000, 0xf2a9_0000, 0xf2c0_0000, 0xf2e0_0000]);
        assert_eq!(words[4..], [0xd280_0009, 0xf2a8_0409, 0xf2c0_0009, 0xf2e0_0009, 0xd61f_0120]);
    }

    #[test]
    fn a_system_register_is_set_through_x1() {
        // As assembled by GNU as: msr hcr_el2, x1; isb.
        let words: Vec<_> = set_system([3, 4, 1, 1, 0], 0).collect();
        assert_eq!(words[4..], [0xd51c_1101, 0xd503_3fdf]);
    }
}
