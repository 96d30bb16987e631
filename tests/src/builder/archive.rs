//! The archive of programs and text files that the kernel gets as its initial RAM disk.

use crate::binary::{elf, flat};
use std::fs;
use std::path::Path;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, with the folders that it is in.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// One of this project's programs, without what only a debugger reads.
    pub fn program(name: &str, path: &Path) -> Result<Entry, String> {
        let bytes = read(path)?;
        let stripped = elf::check_program(&bytes).and_then(|()| elf::strip(&bytes));
        let bytes = stripped.map_err(|error| format!("{} {error}", path.display()))?;
        Ok(Entry { name: name.into(), bytes })
    }

    /// The program that the kernel starts by itself, in the form that it knows (`graft_abi::FirstProgram`).
    pub fn first_program(name: &str, path: &Path) -> Result<Entry, String> {
        let bytes = read(path)?;
        let bytes = flat::of_program(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Entry { name: name.into(), bytes })
    }

    /// A file as it is.
    pub fn file(name: &str, path: &Path) -> Result<Entry, String> {
        Ok(Entry { name: name.into(), bytes: read(path)? })
    }
}

/// The user's own programs and files: everything in `folder` and below, links as what they lead to. An ELF file must be
/// one that the kernel can run.
pub fn extra(folder: &Path) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    collect(folder, "", &mut entries)?;
    Ok(entries)
}

fn collect(folder: &Path, prefix: &str, entries: &mut Vec<Entry>) -> Result<(), String> {
    /// More levels than people nest: deeper than this, a link leads back up.
    const DEEPEST: usize = 32;
    if prefix.matches('/').count() > DEEPEST {
        return Err(format!("{} is nested too deep; does a link lead back up?", folder.display()));
    }
    let listing = fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    for item in listing {
        let path = item.map_err(|error| format!("cannot read {}: {error}", folder.display()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(format!("{} has a name that is not UTF-8", path.display()));
        };
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), entries)?;
            continue;
        }
        let entry = Entry::file(&format!("{prefix}{name}"), &path)?;
        if elf::is_elf(&entry.bytes) {
            elf::check_program(&entry.bytes).map_err(|error| format!("{} {error}", path.display()))?;
        }
        entries.push(entry);
    }
    Ok(())
}

/// Packs the entries in the order of their names; the same entries give the same bytes.
pub fn pack(mut entries: Vec<Entry>) -> Result<Vec<u8>, String> {
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(format!("two files are to be called {} in the archive", pair[0].name));
    }
    let mut archive = tar::Builder::new(Vec::new());
    for entry in &entries {
        // What is too long for ustar is packed as GNU tar does it.
        let mut header = tar::Header::new_ustar();
        if header.set_path(&entry.name).is_err() {
            header = tar::Header::new_gnu();
        }
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(if elf::is_elf(&entry.bytes) { 0o755 } else { 0o644 });
        for set in [tar::Header::set_uid, tar::Header::set_gid, |header: &mut tar::Header, _| header.set_mtime(0)] {
            set(&mut header, 0);
        }
        archive
            .append_data(&mut header, &entry.name, &*entry.bytes)
            .map_err(|error| format!("cannot pack {}: {error}", entry.name))?;
    }
    archive.into_inner().map_err(|error| format!("cannot pack the archive: {error}"))
}

/// What is in an archive, in its order.
pub fn unpack(archive: &[u8]) -> Result<Vec<Entry>, String> {
    let broken = |error: std::io::Error| format!("broken archive: {error}");
    let mut entries = Vec::new();
    for file in tar::Archive::new(archive).entries().map_err(broken)? {
        let mut file = file.map_err(broken)?;
        let name = file.path().map_err(broken)?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).map_err(broken)?;
        entries.push(Entry { name, bytes });
    }
    Ok(entries)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::scratch::Scratch;

    fn entry(name: &str, bytes: &[u8]) -> Entry {
        Entry { name: name.into(), bytes: bytes.into() }
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter() {
        let entries = [entry("sh", b"\x7fELF..."), entry("README.md", b"# Graft"), entry("empty", b"")];
        let forwards = pack(entries.to_vec()).unwrap();
        let backwards = pack(entries.iter().rev().cloned().collect()).unwrap();
        assert_eq!(forwards, backwards);
        let names: Vec<_> = unpack(&forwards).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["README.md", "empty", "sh"]);
        assert_eq!(unpack(&forwards).unwrap()[2].bytes, b"\x7fELF...");
    }

    #[test]
    fn the_format_is_ustar_without_times_and_owners() {
        let archive = pack(vec![entry("sh", b"\x7fELF")]).unwrap();
        assert_eq!(&archive[257..263], b"ustar\0");
        assert_eq!(archive.len() % 512, 0);
        let mut archive = tar::Archive::new(&*archive);
        let file = archive.entries().unwrap().next().unwrap().unwrap();
        let header = file.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        assert_eq!(header.mode().unwrap(), 0o755);
    }

    #[test]
    fn names_are_unique_and_as_long_as_they_are() {
        assert!(pack(vec![entry("sh", b"1"), entry("sh", b"2")]).unwrap_err().contains("called sh"));
        let names = ["n".repeat(100), format!("{}/{}", "p".repeat(150), "n".repeat(100)), "x".repeat(300)];
        let entries: Vec<_> = names.iter().map(|name| entry(name, b"content")).collect();
        assert_eq!(unpack(&pack(entries.clone()).unwrap()).unwrap(), entries);
    }

    #[test]
    fn extra_folders_are_packed_with_what_is_in_them() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path().join("data/deep")).unwrap();
        fs::write(scratch.path().join("data/deep/notes.txt"), "hello").unwrap();
        std::os::unix::fs::symlink("data/deep/notes.txt", scratch.path().join("link")).unwrap();
        let mut entries = extra(scratch.path()).unwrap();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(entries, [entry("data/deep/notes.txt", b"hello"), entry("link", b"hello")]);
        std::os::unix::fs::symlink("..", scratch.path().join("data/up")).unwrap();
        assert!(extra(scratch.path()).unwrap_err().contains("too deep"));
    }

    #[test]
    fn extra_programs_must_run_and_extra_texts_need_not() {
        let scratch = Scratch::new();
        fs::write(scratch.path().join("notes.txt"), "hello").unwrap();
        assert_eq!(extra(scratch.path()).unwrap(), [entry("notes.txt", b"hello")]);
        fs::write(scratch.path().join("tool"), b"\x7fELF\x01nonsense").unwrap();
        let error = extra(scratch.path()).unwrap_err();
        assert!(error.contains("tool") && error.contains("64-bit"), "{error}");
        assert!(extra(&scratch.path().join("nowhere")).unwrap_err().contains("nowhere"));
    }
}
