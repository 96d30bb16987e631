//! Archives as people make them, with the usual tools.

use super::placed::succeed;
use super::play::{LIMIT, play, raspi4b, virt};
use crate::builder::archive;
use crate::builder::folder::Build;
use crate::harness::machine::Machine;
use crate::harness::runner::{Case, Outcome, Report};
use crate::harness::scratch::Scratch;
use crate::harness::verdict::Expected;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Makes an archive of what is in a folder.
type Pack = fn(&Path, &Path) -> Outcome<()>;

/// The command that a person would type, and what it does.
const WAYS: [(&str, Pack); 8] = [
    ("tar -C DIR -cf FILE .", |folder, file| tar(folder, file, &["-cf"], &["."])),
    ("tar --format=gnu -C DIR -czf FILE .", |folder, file| tar(folder, file, &["--format=gnu", "-czf"], &["."])),
    ("tar --format=pax -C DIR -cf FILE .", |folder, file| tar(folder, file, &["--format=pax", "-cf"], &["."])),
    ("tar --format=pax -C DIR -czf FILE .", |folder, file| tar(folder, file, &["--format=pax", "-czf"], &["."])),
    ("cd DIR; tar -cf FILE *", |folder, file| tar(folder, file, &["-cf"], &["init", LONG, "hard", "bin"])),
    ("a newc cpio", |folder, file| Ok(fs::write(file, cpio(folder)?)?)),
    ("a newc cpio, gzipped", |folder, file| {
        fs::write(file, cpio(folder)?)?;
        gzip(file)
    }),
    ("two newc cpios in a row, gzipped", |folder, file| {
        fs::write(file, [cpio(&folder.join("bin"))?, vec![0; 300], cpio(folder)?].concat())?;
        gzip(file)
    }),
];

/// Longer than a header of tar has room for.
const LONG: &str =
    "a-file-with-a-name-that-is-longer-than-the-one-hundred-bytes-that-a-header-of-tar-has-room-for-without-extension";

pub(super) fn cases(build: &Build) -> Vec<Case> {
    let mut cases = Vec::new();
    for (way, pack) in WAYS {
        for machine in [Machine { memory: "128M".into(), ..virt(build) }, raspi4b(build)] {
            let build = build.clone();
            cases.push(Case::new(format!("{way} · {machine}"), move |log| {
                let scratch = Scratch::new();
                let [folder, file] = ["folder", "archive"].map(|name| scratch.path().join(name));
                fill(&build, &folder)?;
                pack(&folder, &file)?;
                let machine =
                    machine.clone().with_archive(&file).with_line(&format!("hard && ls {LONG} && bin/echo end"));
                let expected = Expected::success().saying(LONG).saying("end");
                expected.judge(&play(&machine, log, LIMIT)?)?;
                Ok(Report::pass())
            }));
        }
    }
    cases
}

/// A folder with all programs in `bin`, links of both kinds to two of them, and a file with a long name.
fn fill(build: &Build, folder: &Path) -> Outcome<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    for entry in archive::unpack(&fs::read(build.archive())?)? {
        let path = bin.join(&entry.name);
        fs::create_dir_all(path.parent().unwrap_or(&bin))?;
        fs::write(path, &entry.bytes)?;
    }
    // The shell is started by its name alone.
    fs::rename(bin.join("sh"), folder.join("sh"))?;
    fs::rename(bin.join("ls"), folder.join("ls"))?;
    symlink("bin/init", folder.join("init"))?;
    fs::hard_link(bin.join("true"), folder.join("hard"))?;
    Ok(fs::write(folder.join(LONG), "content\n")?)
}

fn tar(folder: &Path, file: &Path, options: &[&str], what: &[&str]) -> Outcome<()> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(folder).args(options).arg(file).args(what);
    // Not in the list because of what it is, but where it is.
    let others = if what == ["."] { &[][..] } else { &["sh", "ls"] };
    succeed(command.args(others))
}

/// Replaces a file by itself, gzipped.
fn gzip(file: &Path) -> Outcome<()> {
    succeed(Command::new("gzip").arg("-n").arg(file))?;
    let mut packed = file.as_os_str().to_owned();
    packed.push(".gz");
    Ok(fs::rename(packed, file)?)
}

/// A `newc` archive of everything in a folder, names from `./` on, as `find . | cpio -o -H newc` makes it.
fn cpio(folder: &Path) -> Outcome<Vec<u8>> {
    let mut inputs = Vec::new();
    walk(folder, ".", &mut inputs)?;
    Ok(cpio::write_cpio(inputs.into_iter(), Vec::new())?)
}

fn walk(folder: &Path, name: &str, inputs: &mut Vec<(cpio::NewcBuilder, Cursor<Vec<u8>>)>) -> Outcome<()> {
    inputs.push((cpio::NewcBuilder::new(name).mode(0o040_755), Cursor::default()));
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            walk(&path, &name, inputs)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?.to_string_lossy().into_owned().into_bytes();
            inputs.push((cpio::NewcBuilder::new(&name).mode(0o120_777), Cursor::new(target)));
        } else {
            inputs.push((cpio::NewcBuilder::new(&name).mode(0o100_755), Cursor::new(fs::read(&path)?)));
        }
    }
    Ok(())
}
