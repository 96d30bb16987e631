//! What is left behind: the kernel image, the SD card, pictures.

use super::play::{LIMIT, play, virt};
use crate::binary::barriers::{self, Maintenance};
use crate::binary::elf;
use crate::builder::archive::{self, Entry};
use crate::builder::card;
use crate::builder::folder::Build;
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::scratch::Scratch;
use crate::harness::verdict::Expected;
use crate::plots::picture;
use graft_abi::Share;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let case = |name: &str, body: fn(&Build, &Path) -> Outcome| {
        let build = build.clone();
        Case::new(name, move |log| body(&build, log))
    };
    vec![
        case("kernel8.img has an arm64 Image header", header),
        case("the kernel has no memory that is writable and executable", exclusive),
        case("TLB and cache maintenance in the kernel has its barriers on every path", barriers),
        case("the SD card's file system is sound and has every file", sound_card),
        case("a program of the user's own, packed with EXTRA, runs", extra_program),
        case("pictures of live tables show what is shared at every depth", pictures),
    ]
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    Ok(fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
}

/// The header of Linux's `Documentation/arch/arm64/booting.rst`, which QEMU and the Pi's firmware read.
fn header(build: &Build, _: &Path) -> Outcome {
    let image = read(&build.kernel_image())?;
    let word = |offset: usize| -> Outcome<u64> {
        let bytes = image.get(offset..offset + 8).ok_or("shorter than its header")?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    let (text_offset, image_size, flags) = (word(8)?, word(16)?, word(24)?);
    if image.get(0x38..0x3c) != Some(b"ARM\x64") {
        return Err("no magic number at 0x38".into());
    }
    // Little-endian, 4 KiB pages, anywhere in memory.
    if (text_offset, flags) != (0, 0xa) {
        return Err(format!("text_offset {text_offset:#x} and flags {flags:#x}, expected 0 and 0xa").into());
    }
    if image_size < image.len() as u64 {
        return Err(format!("image_size {image_size} is less than the file's {}", image.len()).into());
    }
    Ok(Report::noted(format!("{} bytes", image.len())))
}

fn exclusive(build: &Build, _: &Path) -> Outcome {
    elf::check_kernel(&read(&build.kernel_elf())?)?;
    Ok(Report::pass())
}

/// An emulator works without them, so they are looked for in the linked kernel.
fn barriers(build: &Build, _: &Path) -> Outcome {
    use Maintenance::{AllSpaces, Data, Instructions, LeafOfPage, Page, Range, Space};
    let found = barriers::check(&read(&build.kernel_elf())?)?;
    for needed in [LeafOfPage, Page, Range, Space, AllSpaces, Data, Instructions] {
        if !found.contains_key(&needed) {
            return Err(format!("the kernel has no {needed:?}").into());
        }
    }
    Ok(Report::noted(format!("{} instructions", found.values().sum::<usize>())))
}

/// A table that both have is drawn once, one that each has is drawn twice.
fn pictures(build: &Build, log: &Path) -> Outcome {
    for share in Share::ALL {
        let drawn = picture::pictures(build, share, log)?.map(|svg| svg.matches("\nlevel 3 A\n").count());
        let expected = [if share == Share::Copy { 2 } else { 1 }, 2];
        if drawn != expected {
            return Err(format!("{}: level 3 A is drawn {drawn:?} times, not {expected:?}", share.name()).into());
        }
    }
    Ok(Report::pass())
}

/// A user's own program: `echo` under another name, from a folder of its own.
fn extra_program(build: &Build, log: &Path) -> Outcome {
    let scratch = Scratch::new();
    let folder = scratch.path().join("extra");
    fs::create_dir(&folder)?;
    let mut entries = archive::unpack(&read(&build.archive())?)?;
    let echo = entries.iter().find(|entry| entry.name == "echo").ok_or("no echo in the archive")?;
    fs::write(folder.join("parrot"), &echo.bytes)?;
    entries.extend(archive::extra(&folder)?);
    let archive = scratch.path().join("archive.tar");
    fs::write(&archive, archive::pack(entries)?)?;

    let machine = virt(build).with_archive(&archive).with_line("parrot pieces of eight");
    Expected::success().saying("pieces of eight").judge(&play(&machine, log, LIMIT)?)?;
    Ok(Report::pass())
}

/// Builds a card with stand-ins for the firmware and lets independent programs look at it.
fn sound_card(build: &Build, log: &Path) -> Outcome {
    let scratch = Scratch::new();
    let firmware = scratch.path().join("firmware");
    fs::create_dir(&firmware)?;
    for (name, length) in [("start4.elf", 2_250_000), ("fixup4.dat", 5_400), ("bcm2711-rpi-4-b.dtb", 52_000)] {
        let bytes: Vec<u8> = (0..length).map(|index: u32| (index * 7) as u8).collect();
        fs::write(firmware.join(name), bytes)?;
    }
    // In a build folder of its own, so that a card the user has made stays.
    let own = Build(scratch.path().join("build"));
    fs::create_dir_all(&own.0)?;
    for (from, to) in [(build.kernel_image(), own.kernel_image()), (build.archive(), own.archive())] {
        fs::copy(&from, to).map_err(|error| format!("cannot copy {}: {error}", from.display()))?;
    }
    own.image(Some(&firmware))?;

    // What earlier runs have appended to.
    fs::write(log, "")?;
    let image = own.pi_card();
    let bytes = read(&image)?;
    let partition = scratch.path().join("partition");
    fs::write(&partition, &bytes[card::PARTITION_OFFSET as usize..])?;
    let output = outside(Command::new("fsck.fat").arg("-n").arg(&partition), log)?;
    // Its version, and how full the file system is: another line is a complaint.
    if output.lines().count() != 2 {
        return Err("fsck.fat has something to say".into());
    }
    let files = card::files(&bytes)?;
    for Entry { name, bytes } in &files {
        let copy = scratch.path().join("copy");
        let source = format!("{}@@{}", image.display(), card::PARTITION_OFFSET);
        outside(Command::new("mcopy").args(["-n", "-o", "-i", &source, &format!("::{name}")]).arg(&copy), log)?;
        if read(&copy)? != *bytes || read(&own.pi_folder().join(name))? != *bytes {
            return Err(format!("{name} reads back differently").into());
        }
    }
    // Kernel, archive, configuration, and the three of the firmware.
    match files.len() {
        6 => Ok(Report::noted("6 files")),
        other => Err(format!("{other} files on the card, expected 6").into()),
    }
}

/// Runs a program of the system and returns what it said.
fn outside(command: &mut Command, log: &Path) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let appended = fs::OpenOptions::new().create(true).append(true).open(log);
    appended.and_then(|mut log| log.write_all(text.as_bytes()))?;
    if output.status.success() { Ok(text) } else { Err(format!("{:?} failed: {text}", command.get_program()).into()) }
}
