//! The archive of programs and text files that the machine was started with.

use alloc::string::String;
use core::fmt;

use graft_abi::{Error, Handle, Permissions};
use graft_archive::{Content, Path};

/// The archive, mapped read-only into this program and unmapped with this value.
#[derive(Debug)]
pub struct Archive {
    address: usize,
    bytes: usize,
    /// Only lent for as long as this value is borrowed.
    content: graft_archive::Archive<'static>,
}

/// A file of the archive.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its name, without a leading `./` or `/`.
    pub name: String,
    /// Its contents.
    pub data: &'a [u8],
}

impl File<'_> {
    /// Whether it begins as a program does.
    pub fn is_program(&self) -> bool {
        self.data.starts_with(b"\x7fELF")
    }
}

/// Why a file could not be had or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The archive has no file of this name.
    NoSuchFile,
    /// The archive is damaged.
    Archive(graft_archive::Error),
    /// The kernel refused.
    Call(Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NoSuchFile => f.write_str("no such file in the archive"),
            FileError::Archive(error) => write!(f, "the archive {error}"),
            FileError::Call(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FileError {}

impl From<Error> for FileError {
    fn from(error: Error) -> FileError {
        FileError::Call(error)
    }
}

impl Archive {
    /// Maps the archive and checks that it is one.
    pub fn open() -> Result<Archive, FileError> {
        let (address, bytes) = crate::memory::map_object(Handle::ARCHIVE, 0, Permissions::Read)?;
        // SAFETY: the kernel has mapped the object here, `bytes` long and readable, until `drop`; no process can write
        // it.
        let content = unsafe { core::slice::from_raw_parts(address as *const u8, bytes) };
        match graft_archive::Archive::new(content) {
            Ok(content) => Ok(Archive { address, bytes, content }),
            Err(error) => {
                unmap(address, bytes);
                Err(FileError::Archive(error))
            }
        }
    }

    /// One past its last address in this program.
    pub fn end(&self) -> usize {
        self.address + self.bytes
    }

    fn content(&self) -> graft_archive::Archive<'_> {
        self.content
    }

    /// Every file and every link to one, in the archive's order. Names that are not text are left out.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        let archive = self.content();
        let files = archive.entries().filter(|entry| !matches!(entry.content, Content::Directory | Content::Other));
        files.filter_map(move |entry| Some(File { name: text(entry.name)?, data: archive.resolve(&entry).ok()? }))
    }

    /// Where bytes of this archive begin in its memory object.
    pub fn offset_of(&self, data: &[u8]) -> usize {
        data.as_ptr().addr() - self.address
    }

    /// The contents of the file with this name, through links.
    pub fn file(&self, name: &str) -> Result<&[u8], FileError> {
        self.content().file(name).map_err(|_| FileError::NoSuchFile)
    }
}

/// A name as programs write it: without components that lead nowhere.
fn text(path: Path<'_>) -> Option<String> {
    let mut text = String::new();
    for component in path.components() {
        if !text.is_empty() {
            text.push('/');
        }
        text.push_str(core::str::from_utf8(component).ok()?);
    }
    Some(text)
}

impl Drop for Archive {
    fn drop(&mut self) {
        unmap(self.address, self.bytes);
    }
}

/// Unmaps the archive, after every borrow of it has ended.
fn unmap(address: usize, bytes: usize) {
    let pages = bytes.next_multiple_of(graft_abi::PAGE_SIZE);
    // SAFETY: `open` mapped it, and no borrow of its content is left.
    let _ = unsafe { crate::memory::unmap(address, pages) };
}
