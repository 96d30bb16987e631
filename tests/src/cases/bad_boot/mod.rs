//! Machines that cannot work: each says why in one line and ends with status 1; none hangs.

mod device_trees;
mod refusal;

use super::play::{LIMIT, boot, play, raspi4b, virt};
use crate::builder::archive::{self, Entry};
use crate::builder::folder::Build;
use crate::harness::machine::{Load, Machine};
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::scratch::Scratch;
use crate::harness::verdict::Expected;
use refusal::{noise, refused};
use std::fs;

/// Makes a bad archive out of the good one.
type Spoil = fn(&[u8]) -> Outcome<Vec<u8>>;

/// What is wrong with the archive, how to make it so, and a word of the kernel's answer.
const ARCHIVES: [(&str, Spoil, &str); 9] = [
    ("an archive that ends in its first file", |good| Ok(good[..700].to_vec()), "archive"),
    ("an archive that ends in its last file", |good| Ok(good[..good.len() - 4096].to_vec()), "archive"),
    ("an archive of zeroes", |good| Ok(vec![0; good.len()]), "archive"),
    ("an archive of noise", |good| Ok(noise(good.len())), "archive"),
    ("an archive with a wrong length in its first header", wrong_length, "archive"),
    ("an archive without init", |good| change_init(good, |_| None), "init"),
    ("an init that is a text", |good| change_init(good, |_| Some(b"echo hello\n".repeat(99))), "init"),
    ("an init for another processor", |good| change_init(good, other_processor), "init"),
    ("an init that is cut off", |good| change_init(good, |init| Some(init[..200].to_vec())), "init"),
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
        let (machine, build) = (virt(build), build.clone());
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
    for memory in ["16M", "24M", "32M", "48M"] {
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

/// Changes `e_machine` to that of x86-64.
fn other_processor(init: &[u8]) -> Option<Vec<u8>> {
    let mut init = init.to_vec();
    init[0x12] = 62;
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
