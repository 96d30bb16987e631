//! A file system in memory, with a limit on everything that a client could make it grow by.
//!
//! ```text
//!   directory: name ──▶ node          file: page, page, hole, page … and a length
//!   a node lives while a name leads to it, or while it is open
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use graft_rt::files::{FileError, FileKind, Result};

/// Bytes of a file are kept in pieces of this size.
pub const PAGE: usize = 4096;

/// Names a node of one file system, until that is neither named nor open any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node(u32);

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages of all files together.
    pub pages: usize,
    /// Files and directories, the top one too.
    pub nodes: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Pages of all files.
    pub pages: usize,
    /// Files and directories, those too that only an open file keeps.
    pub nodes: usize,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// File or directory.
    pub kind: FileKind,
    /// Bytes of a file.
    pub bytes: u64,
}

type Page = Box<[u8; PAGE]>;

#[derive(Debug)]
enum Content {
    /// A hole takes nothing, wherever the pages behind it are.
    File {
        pages: BTreeMap<usize, Page>,
        bytes: u64,
    },
    Directory(BTreeMap<String, Node>),
}

#[derive(Debug)]
struct Record {
    content: Content,
    /// Whether a name leads here. There are no second names.
    named: bool,
    opens: u32,
}

/// The file system.
#[derive(Debug)]
pub struct RamFs {
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    usage: Usage,
    limits: Limits,
}

impl RamFs {
    /// The top directory, which is always there.
    pub const TOP: Node = Node(0);

    /// An empty one.
    pub fn new(limits: Limits) -> RamFs {
        let top = Record { content: Content::Directory(BTreeMap::new()), named: true, opens: 0 };
        RamFs { records: [Some(top)].into(), free: Vec::new(), usage: Usage { pages: 0, nodes: 1 }, limits }
    }

    /// How much there is.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// How much there may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn record(&self, node: Node) -> Result<&Record> {
        self.records.get(node.0 as usize).and_then(Option::as_ref).ok_or(FileError::BadFile)
    }

    fn record_mut(&mut self, node: Node) -> Result<&mut Record> {
        self.records.get_mut(node.0 as usize).and_then(Option::as_mut).ok_or(FileError::BadFile)
    }

    fn directory(&self, node: Node) -> Result<&BTreeMap<String, Node>> {
        match &self.record(node)?.content {
            Content::Directory(entries) => Ok(entries),
            Content::File { .. } => Err(FileError::NotADirectory),
        }
    }

    fn directory_mut(&mut self, node: Node) -> Result<&mut BTreeMap<String, Node>> {
        match &mut self.record_mut(node)?.content {
            Content::Directory(entries) => Ok(entries),
            Content::File { .. } => Err(FileError::NotADirectory),
        }
    }

    /// What these names lead to, from the top.
    ///
    /// # Errors
    /// [`FileError::NoSuchFile`], [`FileError::NotADirectory`].
    pub fn find(&self, path: &[&str]) -> Result<Node> {
        path.iter()
            .try_fold(RamFs::TOP, |node, &name| self.directory(node)?.get(name).copied().ok_or(FileError::NoSuchFile))
    }

    fn add(&mut self, path: &[&str], content: Content) -> Result<Node> {
        let (&name, parents) = path.split_last().ok_or(FileError::Exists)?;
        let parent = self.find(parents)?;
        if self.directory(parent)?.contains_key(name) {
            return Err(FileError::Exists);
        }
        // A directory that only an open file keeps leads nowhere: what is made in it could not be found.
        if !self.record(parent)?.named {
            return Err(FileError::NoSuchFile);
        }
        if self.usage.nodes >= self.limits.nodes {
            return Err(FileError::NoSpace);
        }
        let record = Record { content, named: true, opens: 0 };
        let node = match self.free.pop() {
            Some(number) => {
                self.records[number as usize] = Some(record);
                Node(number)
            }
            None => {
                self.records.push(Some(record));
                Node(self.records.len() as u32 - 1)
            }
        };
        self.usage.nodes += 1;
        self.directory_mut(parent)?.insert(String::from(name), node);
        Ok(node)
    }

    /// Makes an empty file.
    ///
    /// # Errors
    /// [`FileError::Exists`], [`FileError::NoSpace`], and those of [`find`](Self::find) for the directory.
    pub fn create(&mut self, path: &[&str]) -> Result<Node> {
        self.add(path, Content::File { pages: BTreeMap::new(), bytes: 0 })
    }

    /// Makes an empty directory.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn make_directory(&mut self, path: &[&str]) -> Result<()> {
        self.add(path, Content::Directory(BTreeMap::new())).map(drop)
    }

    /// Keeps a node until it is [closed](Self::close) as often.
    ///
    /// # Errors
    /// [`FileError::BadFile`].
    pub fn open(&mut self, node: Node) -> Result<()> {
        let record = self.record_mut(node)?;
        record.opens = record.opens.checked_add(1).ok_or(FileError::TooManyFiles)?;
        Ok(())
    }

    /// Gives a node up that was [opened](Self::open).
    pub fn close(&mut self, node: Node) {
        if let Ok(record) = self.record_mut(node) {
            debug_assert!(record.opens != 0, "closed more often than opened");
            record.opens = record.opens.saturating_sub(1);
            self.forget_unused(node);
        }
    }

    /// Drops a node that no name leads to and that is not open.
    fn forget_unused(&mut self, node: Node) {
        let Ok(Record { named: false, opens: 0, content }) = self.record(node) else { return };
        if let Content::File { pages, .. } = content {
            self.usage.pages -= pages.len();
        }
        self.usage.nodes -= 1;
        self.records[node.0 as usize] = None;
        self.free.push(node.0);
    }

    /// Takes a name away. What was open stays until it is closed.
    ///
    /// # Errors
    /// [`FileError::NotEmpty`] for a directory with something in it, [`FileError::NotAllowed`] for the top one, and
    /// those of [`find`](Self::find).
    pub fn unlink(&mut self, path: &[&str]) -> Result<()> {
        let (&name, parents) = path.split_last().ok_or(FileError::NotAllowed)?;
        let (parent, node) = (self.find(parents)?, self.find(path)?);
        if matches!(&self.record(node)?.content, Content::Directory(entries) if !entries.is_empty()) {
            return Err(FileError::NotEmpty);
        }
        self.directory_mut(parent)?.remove(name);
        self.record_mut(node)?.named = false;
        self.forget_unused(node);
        Ok(())
    }

    /// Gives a file or a directory another name. A file that has that name already is replaced, in one step.
    ///
    /// # Errors
    /// [`FileError::NotAllowed`] to move a directory into itself, [`FileError::IsADirectory`],
    /// [`FileError::NotADirectory`] or [`FileError::NotEmpty`] if what is there cannot be replaced, and those of
    /// [`find`](Self::find).
    pub fn rename(&mut self, from: &[&str], to: &[&str]) -> Result<()> {
        let (&old_name, old_parents) = from.split_last().ok_or(FileError::NotAllowed)?;
        let (&new_name, new_parents) = to.split_last().ok_or(FileError::NotAllowed)?;
        let (old_parent, node, new_parent) = (self.find(old_parents)?, self.find(from)?, self.find(new_parents)?);
        self.directory(new_parent)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(from) {
            return Err(FileError::NotAllowed);
        }
        if let Ok(replaced) = self.find(to) {
            match (&self.record(node)?.content, &self.record(replaced)?.content) {
                (Content::Directory(_), Content::File { .. }) => return Err(FileError::NotADirectory),
                (Content::File { .. }, Content::Directory(_)) => return Err(FileError::IsADirectory),
                _ => self.unlink(to)?,
            }
        }
        self.directory_mut(old_parent)?.remove(old_name);
        self.directory_mut(new_parent)?.insert(String::from(new_name), node);
        Ok(())
    }

    /// File or directory, and bytes.
    ///
    /// # Errors
    /// [`FileError::BadFile`].
    pub fn status(&self, node: Node) -> Result<(FileKind, u64)> {
        Ok(match &self.record(node)?.content {
            Content::File { bytes, .. } => (FileKind::File, *bytes),
            Content::Directory(_) => (FileKind::Directory, 0),
        })
    }

    /// The entry of a directory with this number, in the order of the names.
    ///
    /// # Errors
    /// [`FileError::NotADirectory`].
    pub fn entry(&self, directory: Node, index: usize) -> Result<Option<Entry>> {
        let Some((name, &node)) = self.directory(directory)?.iter().nth(index) else { return Ok(None) };
        let (kind, bytes) = self.status(node)?;
        Ok(Some(Entry { name: name.clone(), kind, bytes }))
    }

    /// Copies what is in a file from this byte on. Returns how much: 0 at its end.
    ///
    /// # Errors
    /// [`FileError::IsADirectory`].
    pub fn read(&self, node: Node, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let Content::File { pages, bytes } = &self.record(node)?.content else { return Err(FileError::IsADirectory) };
        let count = bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (page, start) = place(offset + done as u64);
            let piece = (PAGE - start).min(count - done);
            let to = &mut buffer[done..done + piece];
            match pages.get(&page) {
                Some(page) => to.copy_from_slice(&page[start..start + piece]),
                None => to.fill(0),
            }
            done += piece;
        }
        Ok(count)
    }

    /// Writes to a file; what lies between its end and `offset` reads as zeroes. All is written, or nothing.
    ///
    /// # Errors
    /// [`FileError::IsADirectory`], [`FileError::TooLarge`], [`FileError::NoSpace`].
    pub fn write(&mut self, node: Node, offset: u64, data: &[u8]) -> Result<()> {
        let limits = self.limits;
        let used = self.usage.pages;
        let Content::File { pages, bytes } = &mut self.record_mut(node)?.content else {
            return Err(FileError::IsADirectory);
        };
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).filter(|&end| end <= limits.file_bytes);
        let end = end.ok_or(FileError::TooLarge)?;
        let (first, last) = (place(offset).0, place(end - 1).0);
        let missing = (first..=last).filter(|page| !pages.contains_key(page)).count();
        if missing > limits.pages.saturating_sub(used) {
            return Err(FileError::NoSpace);
        }
        let mut done = 0;
        while done < data.len() {
            let (page, start) = place(offset + done as u64);
            let piece = (PAGE - start).min(data.len() - done);
            let page = pages.entry(page).or_insert_with(|| Box::new([0; PAGE]));
            page[start..start + piece].copy_from_slice(&data[done..done + piece]);
            done += piece;
        }
        *bytes = (*bytes).max(end);
        self.usage.pages += missing;
        Ok(())
    }

    /// Cuts a file off, or has it read as zeroes up to there.
    ///
    /// # Errors
    /// [`FileError::IsADirectory`], [`FileError::TooLarge`].
    pub fn truncate(&mut self, node: Node, length: u64) -> Result<()> {
        let limit = self.limits.file_bytes;
        let Content::File { pages, bytes } = &mut self.record_mut(node)?.content else {
            return Err(FileError::IsADirectory);
        };
        if length > limit {
            return Err(FileError::TooLarge);
        }
        let dropped = pages.split_off(&(length.div_ceil(PAGE as u64) as usize)).len();
        if length < *bytes
            && let (page, start @ 1..) = place(length)
            && let Some(page) = pages.get_mut(&page)
        {
            page[start..].fill(0);
        }
        *bytes = length;
        self.usage.pages -= dropped;
        Ok(())
    }
}

/// The page of a byte, and its place there.
fn place(offset: u64) -> (usize, usize) {
    ((offset / PAGE as u64) as usize, (offset % PAGE as u64) as usize)
}

#[cfg(test)]
mod tests;
