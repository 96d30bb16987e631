//! What the server's names lead to: the archive's files and directories, and what is in memory.

use alloc::string::String;
use alloc::vec::Vec;

use graft_lib::files::{Limits, Node, RamFs};
use graft_rt::archive::Archive;
use graft_rt::files::{FileError, FileKind, Flags, Result};

/// Where the file system in memory is.
pub(crate) const MEMORY: &str = "tmp";

/// What an open file leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file of the archive, by its number.
    Archive(usize),
    /// A directory of the archive: the number of a file below it, and how many components lead to it.
    ArchiveDirectory(usize, usize),
    /// A node in memory.
    Memory(Node),
}

/// Everything that has a name.
pub(crate) struct Tree<'a> {
    archive: &'a Archive,
    /// In the order of their names.
    files: Vec<(String, &'a [u8])>,
    pub(crate) memory: RamFs,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(archive: &'a Archive, pages: usize) -> Tree<'a> {
        let mut files: Vec<_> = archive.files().map(|file| (file.name, file.data)).collect();
        files.sort_unstable();
        let limits = Limits { pages, nodes: 4096, file_bytes: (pages * graft_lib::files::PAGE) as u64 };
        Tree { archive, files, memory: RamFs::new(limits) }
    }

    /// The names behind `/tmp`, for a path that leads there.
    pub(crate) fn in_memory<'p, 'n>(path: &'p [&'n str]) -> Option<&'p [&'n str]> {
        path.strip_prefix(&[MEMORY])
    }

    fn in_archive(&self, path: &[&str]) -> Result<Target> {
        let leads = |name: &str| name.split('/').zip(path).all(|(one, other)| one == *other);
        let depth = |name: &str| name.split('/').count();
        let below = |(name, _): &(String, &[u8])| depth(name) >= path.len() && leads(name);
        match self.files.iter().position(below) {
            Some(index) if depth(&self.files[index].0) == path.len() => Ok(Target::Archive(index)),
            Some(index) => Ok(Target::ArchiveDirectory(index, path.len())),
            None if path.is_empty() => Ok(Target::ArchiveDirectory(0, 0)),
            None => Err(FileError::NoSuchFile),
        }
    }

    /// What a path leads to.
    pub(crate) fn find(&self, path: &[&str]) -> Result<Target> {
        match Tree::in_memory(path) {
            Some(rest) => self.memory.find(rest).map(Target::Memory),
            None => self.in_archive(path),
        }
    }

    /// As [`find`](Self::find), with what the flags ask for.
    pub(crate) fn open(&mut self, path: &[&str], flags: Flags) -> Result<Target> {
        let found = self.find(path);
        let target = match (found, Tree::in_memory(path)) {
            (Ok(_), _) if flags.has(Flags::NEW) => return Err(FileError::Exists),
            (Err(FileError::NoSuchFile), Some(rest)) if flags.has(Flags::CREATE) => {
                Target::Memory(self.memory.create(rest)?)
            }
            (Err(FileError::NoSuchFile), None) if flags.has(Flags::CREATE) => return Err(FileError::ReadOnly),
            (found, _) => found?,
        };
        if flags.has(Flags::WRITE.or(Flags::TRUNCATE)) {
            let node = Tree::writable(target)?;
            if self.memory.status(node)?.0 == FileKind::Directory {
                return Err(FileError::IsADirectory);
            }
            if flags.has(Flags::TRUNCATE) {
                self.memory.truncate(node, 0)?;
            }
        }
        if let Target::Memory(node) = target {
            self.memory.open(node)?;
        }
        Ok(target)
    }

    /// The node of what can be written.
    pub(crate) fn writable(target: Target) -> Result<Node> {
        match target {
            Target::Memory(node) => Ok(node),
            _ => Err(FileError::ReadOnly),
        }
    }

    /// Kind and bytes.
    pub(crate) fn status(&self, target: Target) -> Result<(FileKind, u64)> {
        match target {
            Target::Memory(node) => self.memory.status(node),
            Target::Archive(index) => Ok((FileKind::File, self.files[index].1.len() as u64)),
            Target::ArchiveDirectory(..) => Ok((FileKind::Directory, 0)),
        }
    }

    /// The bytes of a file of the archive.
    pub(crate) fn archived(&self, index: usize) -> &'a [u8] {
        self.files[index].1
    }

    /// Where those are in the archive's memory object.
    pub(crate) fn place(&self, data: &[u8]) -> usize {
        self.archive.offset_of(data)
    }

    /// The entry of a directory with this number.
    pub(crate) fn entry(&self, target: Target, index: usize) -> Result<Option<(String, FileKind, u64)>> {
        let (first, depth) = match target {
            Target::Memory(node) => {
                let entry = self.memory.entry(node, index)?;
                return Ok(entry.map(|entry| (entry.name, entry.kind, entry.bytes)));
            }
            Target::Archive(_) => return Err(FileError::NotADirectory),
            Target::ArchiveDirectory(first, depth) => (first, depth),
        };
        let prefix: Vec<&str> = self.files.get(first).map_or("", |file| &file.0).split('/').take(depth).collect();
        let mut names: Vec<(&str, FileKind, u64)> = Vec::new();
        for (name, data) in &self.files {
            let mut components = name.split('/');
            if components.by_ref().take(depth).ne(prefix.iter().copied()) {
                continue;
            }
            let Some(next) = components.next() else { continue };
            let entry = match components.next() {
                Some(_) => (next, FileKind::Directory, 0),
                None => (next, FileKind::File, data.len() as u64),
            };
            if names.last().is_none_or(|last| last.0 != next) {
                names.push(entry);
            }
        }
        if depth == 0 {
            names.push((MEMORY, FileKind::Directory, 0));
        }
        Ok(names.get(index).map(|&(name, kind, bytes)| (name.into(), kind, bytes)))
    }
}
