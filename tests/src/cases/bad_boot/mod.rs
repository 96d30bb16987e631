//! Machines that cannot work: each says why in one line and ends with status 1; none hangs.

mod device_trees;

use super::play::{LIMIT, boot, play, raspi4b, virt};
use super::refusal::{noise, refused};
use crate::builder::archive::{self, Entry};
use crate::builder::folder::Build;
use crate::harness::machine::{Load, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::scratch::Scratch;
use crate::harness::verdict::Expected;
use std::fs;
use std::process::Command;

/// Makes a bad archive out of the good one.
type Spoil = fn(&[u8]) -> Outcome<Vec<u8>>;

/// What is wrong with the archive, how to make it so, and a word of the kernel's answer.
const ARCHIVES: [(&str, Spoil, &str); 23] = [
    ("an archive that ends in its first file", |good| Ok(good[..700].to_vec()), "archive"),
    ("an archive that ends in its last file", |good| Ok(good[..good.len() - 4096].to_vec()), "archive"),
    ("an archive of zeroes", |good| Ok(vec![0; good.len()]), "archive"),
    ("an archive of noise", |good| Ok(noise(good.len())), "archive"),
    ("an archive with a wrong length in its first header", wrong_length, "archive"),
    ("an archive without init", |good| change_init(good, |_| None), "init"),
    ("an init that is a text", |good| change_init(good, |_| Some(b"echo hello\n".repeat(99))), "init"),
    ("an init that is an ELF file", |good| change_init(good, |_| Some(b"\x7fELF\x02\x01\x01".repeat(99))), "init"),
    ("an init whose segments overlap", |good| change_init(good, |init| move_word(init, 24, 24 + 48)), "mapped"),
    ("an init whose segment has no whole pages", |good| change_init(good, |init| set_byte(init, 24, 1)), "aligned"),
    ("an init with more segments than bytes", |good| change_init(good, |init| set_byte(init, 16, 0xff)), "init"),
    ("an init that is cut off", |good| change_init(good, |init| Some(init[..200].to_vec())), "init"),
    ("an archive that ends without a mark", |good| Ok(good[..good.len() - 1024].to_vec()), "cut off"),
    ("an init one folder down", |good| rename_init(good, "folder/init"), "but `folder/init`"),
    ("a zip file for an archive", |good| Ok([&b"PK\x03\x04"[..], &noise(good.len())].concat()), "a zip file"),
    (
        "an xz file for an archive",
        |good| Ok([&b"\xfd7zXZ\0"[..], &noise(good.len())].concat()),
        "xz; a tar or a newc cpio works",
    ),
    ("a zstd file for an archive", |good| Ok([&b"\x28\xb5\x2f\xfd"[..], &noise(good.len())].concat()), "zstd"),
    ("a program for an archive", |good| program(good), "an elf file"),
    ("a text for an archive", |_| Ok(b"Dear kernel,\n".repeat(99)), "a text file"),
    (
        "a gzipped archive that is cut off",
        |good| gzipped(good).map(|packed| packed[..packed.len() / 2].to_vec()),
        "cut off",
    ),
    ("a gzipped archive with a wrong checksum", |good| gzipped(good).map(wrong_checksum), "checksum"),
    ("noise with gzip's magic number", |good| Ok([&b"\x1f\x8b\x08\0"[..], &noise(good.len())].concat()), "gzip"),
    ("a gzipped gigabyte", |_| gzipped(&vec![0; 1 << 20]).map(|packed| packed.repeat(1 << 10)), "unpacks to more than"),
];

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for machine in [virt(build), raspi4b(build)] {
        let bare = machine.clone();
        cases.push(Case::new(format!("no archive · {machine}"), move |log| {
            let mut machine = bare.clone();
            set_archive(&mut machine, None);
            refused(&play(&machine, log, LIMIT)?, "archive")
        }));
    }
    for (what, spoil, word) in ARCHIVES {
        // Little memory, so that an archive is soon too large for it.
        let (machine, build) = (Machine { memory: "64M".into(), ..virt(build) }, build.clone());
        cases.push(Case::new(format!("{what} · {machine}"), move |log| {
            let good = fs::read(build.archive())?;
            let scratch = Scratch::new();
            let path = scratch.path().join("archive.tar");
            fs::write(&path, spoil(&good)?)?;
            let mut machine = machine.clone();
            set_archive(&mut machine, Some(path));
            refused(&play(&machine, log, LIMIT)?, word)
        }));
    }
    // QEMU itself refuses less: it puts the archive into the upper half, and the device tree behind that.
    for memory in ["20M", "24M", "32M", "48M"] {
        let machine = Machine { memory: memory.into(), ..virt(build) }.with_line("true");
        let name = format!("little memory: it works or says why not · {machine}");
        cases.push(Case::new(name, move |log| {
            let ended = play(&machine, log, LIMIT)?;
            match Expected::success().judge(&ended) {
                Ok(()) => Ok(Report::noted("works")),
                Err(_) => refused(&ended, "memory"),
            }
        }));
    }
    let machine = Machine { memory: "64M".into(), ..virt(build) };
    cases.push(boot(format!("true · {machine}"), machine.with_line("true"), Expected::success(), LIMIT));
    cases.extend(device_trees::cases(build));
    cases
}

fn set_archive(machine: &mut Machine, path: Option<std::path::PathBuf>) {
    if let Load::Image { archive, .. } = &mut machine.load {
        *archive = path;
    }
}

/// The archive with another init, or none.
fn change_init(good: &[u8], change: fn(&[u8]) -> Option<Vec<u8>>) -> Outcome<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in archive::unpack(good)? {
        if entry.name != "init" {
            entries.push(entry);
        } else if let Some(bytes) = change(&entry.bytes) {
            entries.push(Entry { bytes, ..entry });
        }
    }
    Ok(archive::pack(entries)?)
}

/// The archive with its init under another name.
fn rename_init(good: &[u8], name: &str) -> Outcome<Vec<u8>> {
    let mut entries = archive::unpack(good)?;
    for entry in entries.iter_mut().filter(|entry| entry.name == "init") {
        entry.name = name.into();
    }
    Ok(archive::pack(entries)?)
}

fn program(good: &[u8]) -> Outcome<Vec<u8>> {
    let program = archive::unpack(good)?.into_iter().find(|entry| entry.name == "sh");
    Ok(program.ok_or("no sh")?.bytes)
}

fn gzipped(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let scratch = Scratch::new();
    let path = scratch.path().join("file");
    fs::write(&path, bytes)?;
    let output = Command::new("gzip").arg("-c").arg(&path).output()?;
    Ok(output.stdout)
}

/// Changes a bit of the last member's checksum.
fn wrong_checksum(mut packed: Vec<u8>) -> Vec<u8> {
    let place = packed.len() - 8;
    packed[place] ^= 1;
    packed
}

/// Puts a word of `init` into the place of another one.
fn move_word(init: &[u8], from: usize, to: usize) -> Option<Vec<u8>> {
    let mut init = init.to_vec();
    init.copy_within(from..from + 8, to);
    Some(init)
}

/// Changes a byte of `init`.
fn set_byte(init: &[u8], at: usize, byte: u8) -> Option<Vec<u8>> {
    let mut init = init.to_vec();
    init[at] = byte;
    Some(init)
}

/// Sets the octal length in the first header to the largest there is, and the header's checksum to match.
fn wrong_length(good: &[u8]) -> Outcome<Vec<u8>> {
    let mut bad = good.to_vec();
    bad[124..135].fill(b'7');
    // POSIX, "ustar Interchange Format": the sum of all bytes, with blanks in the place of the sum.
    bad[148..156].fill(b' ');
    let sum: u32 = bad[..512].iter().map(|&byte| u32::from(byte)).sum();
    bad[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(bad)
}
