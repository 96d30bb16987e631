//! The archive of programs and text files that the machine was started with.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use graft_abi::{Error, Handle, Permissions};
use tar_no_std::{CorruptDataError, TarArchiveRef};

/// The archive, mapped read-only into this program and unmapped with this value.
#[derive(Debug)]
pub struct Archive {
    address: usize,
    bytes: usize,
}

/// A file of the archive.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its name, without a leading `./`.
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
    Archive(CorruptDataError),
    /// The kernel refused.
    Call(Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NoSuchFile => f.write_str("no such file in the archive"),
            FileError::Archive(error) => write!(f, "the archive is damaged: {error}"),
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
        let archive = Archive { address, bytes };
        TarArchiveRef::new(archive.data()).map_err(FileError::Archive)?;
        Ok(archive)
    }

    fn data(&self) -> &[u8] {
        // SAFETY: the kernel has mapped the object here, `bytes` long and readable, until `drop`;
        // nobody can write it.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.bytes) }
    }

    /// Every regular file, in the archive's order. Names that are not text are left out.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        // `open` has seen that the archive is sound.
        TarArchiveRef::new(self.data()).into_iter().flat_map(|archive| archive.entries()).filter_map(|entry| {
            let name = entry.filename();
            let name = name.as_str().ok()?;
            Some(File { name: name.strip_prefix("./").unwrap_or(name).to_owned(), data: entry.data() })
        })
    }

    /// The contents of the file with this name.
    pub fn file(&self, name: &str) -> Result<&[u8], FileError> {
        let wanted = name.strip_prefix("./").unwrap_or(name);
        self.files().find(|file| file.name == wanted).map(|file| file.data).ok_or(FileError::NoSuchFile)
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let pages = self.bytes.next_multiple_of(graft_abi::PAGE_SIZE);
        // SAFETY: every borrow of the archive's data ends before its owner does.
        let _ = unsafe { crate::memory::unmap(self.address, pages) };
    }
}
