//! The build folder: what is in it, and how it gets there.

use super::archive::{self, Entry};
use super::card;
use crate::binary::{elf, symbols};
use std::fs;
use std::path::{Path, PathBuf};

/// Files of the project that go into the archive for `ls` and `cat` to show.
const TEXTS: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// The program that the kernel starts.
const FIRST_PROGRAM: &str = "init";
/// What the first process starts.
const PLAN: &str = "user/servers/plan";
/// Name of the Pi 4's device tree, in the kernel package it comes from and on the boot partition.
pub const PI_TREE: &str = "bcm2711-rpi-4-b.dtb";
/// What the Pi's firmware needs beside its device tree.
const FIRMWARE: [&str; 2] = ["start4.elf", "fixup4.dat"];

/// The folder for everything that is made of the sources.
#[derive(Clone, Debug)]
pub struct Build(pub PathBuf);

impl Build {
    /// The kernel with its symbols.
    pub fn kernel_elf(&self) -> PathBuf {
        self.0.join("kernel.elf")
    }

    /// The kernel as QEMU and the Pi's firmware load it.
    pub fn kernel_image(&self) -> PathBuf {
        self.0.join("kernel8.img")
    }

    /// The archive of programs.
    pub fn archive(&self) -> PathBuf {
        self.0.join("archive.tar")
    }

    /// The Pi 4's device tree, for QEMU.
    pub fn pi_tree(&self) -> PathBuf {
        self.0.join(PI_TREE)
    }

    /// The Linux kernel to compare with.
    pub fn linux(&self) -> PathBuf {
        self.0.join("linux-arm64.img")
    }

    /// The plugin for QEMU that counts cache lines.
    pub fn cache_plugin(&self) -> PathBuf {
        self.0.join("cache-plugin.so")
    }

    /// The plugin for QEMU that records what happens to translation tables.
    pub fn table_plugin(&self) -> PathBuf {
        self.0.join("table-plugin.so")
    }

    /// The folder of logs.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The folder to copy onto a Pi 4's boot partition.
    pub fn pi_folder(&self) -> PathBuf {
        self.0.join("rpi4")
    }

    /// The whole SD card.
    pub fn pi_card(&self) -> PathBuf {
        self.0.join("graft-rpi4.img")
    }

    /// Another file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes another file of the folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), String> {
        write(&self.path(name), content.as_ref())
    }

    /// Makes kernel image and archive of what cargo has left in `compiled`.
    pub fn pack(&self, compiled: &Path, programs: &[String], extra: Option<&Path>) -> Result<(), String> {
        let kernel = compiled.join("graft-kernel");
        let bytes = fs::read(&kernel).map_err(|error| format!("cannot read {}: {error}", kernel.display()))?;
        let image = flat_kernel(&bytes).map_err(|error| format!("{} {error}", kernel.display()))?;
        write(&self.kernel_elf(), &bytes)?;
        write(&self.kernel_image(), &image)?;

        let mut entries = Vec::new();
        for name in programs {
            let path = compiled.join(name);
            let is_first = name == FIRST_PROGRAM;
            entries.push(if is_first { Entry::first_program(name, &path)? } else { Entry::program(name, &path)? });
        }
        for name in TEXTS {
            if Path::new(name).exists() {
                entries.push(Entry::file(name, Path::new(name))?);
            }
        }
        if Path::new(PLAN).exists() {
            entries.push(Entry::file("plan", Path::new(PLAN))?);
        }
        if let Some(folder) = extra {
            entries.extend(archive::extra(folder)?);
        }
        write(&self.archive(), &archive::pack(entries)?)
    }

    /// Makes the folder for a Pi's boot partition, and the whole card if `firmware` has the firmware's files.
    pub fn image(&self, firmware: Option<&Path>) -> Result<(), String> {
        let mut files = vec![
            Entry::file("kernel8.img", &self.kernel_image())?,
            Entry::file("archive.tar", &self.archive())?,
            Entry::file("config.txt", Path::new("boot/rpi4/config.txt"))?,
        ];
        let folder = self.pi_folder();
        // What an earlier run has left there would go onto the card.
        let _ = fs::remove_dir_all(&folder);
        if let Some(firmware) = firmware {
            for name in FIRMWARE.into_iter().chain([PI_TREE]) {
                files.push(Entry::file(name, &firmware.join(name))?);
            }
        }
        for file in &files {
            write(&folder.join(&file.name), &file.bytes)?;
        }
        if firmware.is_some() {
            let card = card::make(&files).map_err(|error| format!("cannot make the card: {error}"))?;
            write(&self.pi_card(), &card)?;
        }
        Ok(())
    }

    /// A table of how many bytes the kernel and each program take in memory.
    pub fn sizes(&self) -> Result<String, String> {
        let mut files = vec![Entry::file("kernel", &self.kernel_elf())?];
        let archive = Entry::file("archive", &self.archive())?;
        files.extend(archive::unpack(&archive.bytes)?.into_iter().filter(|entry| elf::is_elf(&entry.bytes)));

        let mut table = format!("{:<16}{:>12}{:>12}{:>12}{:>12}\n", "bytes", "text", "constants", "data", "zeroed");
        for file in files {
            let size = elf::size(&file.bytes).map_err(|error| format!("{} {error}", file.name))?;
            let elf::Size { text, constants, data, zeroed } = size;
            table += &format!("{:<16}{text:>12}{constants:>12}{data:>12}{zeroed:>12}\n", file.name);
        }
        Ok(table)
    }
}

fn flat_kernel(file: &[u8]) -> Result<Vec<u8>, elf::Unfit> {
    elf::check_kernel(file)?;
    let mut image = elf::flatten(file)?;
    symbols::embed(file, &mut image)?;
    Ok(image)
}

/// Writes a file unless it is there already with the same bytes, so that nothing looks newer than it is.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let written = match path.parent() {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes)),
        None => fs::write(path, bytes),
    };
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
