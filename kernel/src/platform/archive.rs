//! The boot archive: where the first program comes from.

use crate::arch::memory::{PAGE, direct};
use crate::platform::PhysRange;
use crate::platform::memory_map::MemoryMap;
use core::fmt;
use graft_archive::gzip::{self, Decompressor, GzipError};
use graft_archive::{Archive, Error, Kind, LookupError, Path};
use spin::Mutex;

/// Why the machine cannot start from its archive.
#[derive(Debug)]
pub enum ArchiveError {
    /// It cannot be unpacked.
    Gzip(GzipError),
    /// It is no archive, or a damaged one.
    Unreadable {
        /// What it is, or what is wrong.
        error: Error,
        /// Whether the error is in the unpacked bytes.
        packing: Packing,
    },
    /// It has no such file at its top.
    NoFile {
        /// The file's name.
        name: &'static str,
        /// What there is instead.
        error: LookupError,
        /// Where there is one in a folder.
        elsewhere: Option<Path<'static>>,
    },
    /// There is no memory for it.
    OutOfMemory,
}

/// How an archive came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// Compressed.
    Gzip,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::Gzip(error) => write!(f, "the archive (initrd) {error}"),
            ArchiveError::Unreadable { error, packing: Packing::Plain } => write!(f, "the archive (initrd) {error}"),
            ArchiveError::Unreadable { error, packing: Packing::Gzip } => {
                write!(f, "what is gzipped in the archive (initrd) {error}")
            }
            ArchiveError::NoFile { name, error: LookupError::Missing, elsewhere: None } => {
                write!(f, "the archive (initrd) has no `{name}`")
            }
            ArchiveError::NoFile { name, error: LookupError::Missing, elsewhere: Some(path) } => {
                write!(
                    f,
                    "the archive (initrd) has no `{name}`, but `{path}`: pack what is in that folder, as `tar -C` does"
                )
            }
            ArchiveError::NoFile { name, error, .. } => write!(f, "`{name}` of the archive (initrd) {error}"),
            ArchiveError::OutOfMemory => f.write_str("there is not enough memory for the archive (initrd)"),
        }
    }
}

/// Sees to it that the archive, which boot found in mapped memory, is unpacked, and has whole pages for itself with
/// zeroes after its end: programs map whole pages.
///
/// It stays where it is if it begins with a page and nothing else lies in its last one. A loader may as well put it
/// right behind the kernel, or the device tree right behind it.
///
/// # Errors
/// [`ArchiveError::OutOfMemory`], [`ArchiveError::Gzip`], [`ArchiveError::Unreadable`].
pub fn settle(found: PhysRange, memory: &mut MemoryMap) -> Result<PhysRange, ArchiveError> {
    // SAFETY: mapped RAM, which nothing writes to before `release_archive`.
    let bytes = unsafe { core::slice::from_raw_parts(direct(found.start), found.size() as usize) };
    let packing = if Kind::of(bytes) == Kind::Gzip { Packing::Gzip } else { Packing::Plain };
    let stays = packing == Packing::Plain && found.start.is_multiple_of(PAGE) && memory.holds_nothing_but(found);
    let range = if stays {
        found
    } else {
        let range = match packing {
            Packing::Gzip => unpack(bytes, memory)?,
            Packing::Plain => {
                let copy = memory.take(found.size()).ok_or(ArchiveError::OutOfMemory)?;
                // SAFETY: in the direct map, and free memory until now.
                unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), direct(copy.start), bytes.len()) };
                copy
            }
        };
        memory.release_archive().map_err(|_| ArchiveError::OutOfMemory)?;
        range
    };
    let rest = range.end.next_multiple_of(PAGE) - range.end;
    // SAFETY: the page is the archive's alone.
    unsafe { core::ptr::write_bytes(direct(range.end), 0, rest as usize) };
    Archive::new(bytes_of(range)).map_err(|error| ArchiveError::Unreadable { error, packing })?;
    Ok(range)
}

/// Unpacks to the start of the largest free piece of memory, so that no length need be known, or believed, in advance.
fn unpack(packed: &[u8], memory: &mut MemoryMap) -> Result<PhysRange, ArchiveError> {
    /// Eleven kilobytes: too much for the kernel stack.
    static DECOMPRESSOR: Mutex<Option<Decompressor>> = Mutex::new(None);
    let room = memory.largest_free().ok_or(ArchiveError::OutOfMemory)?;
    // SAFETY: in the direct map, and nothing uses it before it is taken below.
    let to = unsafe { core::slice::from_raw_parts_mut(direct(room.start), room.size() as usize) };
    let mut decompressor = DECOMPRESSOR.lock();
    let bytes = gzip::unpack(packed, to, decompressor.get_or_insert_default()).map_err(ArchiveError::Gzip)?;
    let range = PhysRange { start: room.start, end: room.start + bytes as u64 };
    memory.occupy(range).map_err(|_| ArchiveError::OutOfMemory)?;
    Ok(range)
}

/// What is in the archive, after [`settle`].
///
/// # Errors
/// [`ArchiveError::Unreadable`].
pub fn open(range: PhysRange) -> Result<Archive<'static>, ArchiveError> {
    let packing = Packing::Plain;
    Archive::new(bytes_of(range)).map_err(|error| ArchiveError::Unreadable { error, packing })
}

fn bytes_of(range: PhysRange) -> &'static [u8] {
    // SAFETY: RAM in the direct map that boot set aside for good; nothing writes to it any more.
    unsafe { core::slice::from_raw_parts(direct(range.start), range.size() as usize) }
}

/// The content of a file in the archive.
///
/// # Errors
/// [`ArchiveError::NoFile`].
pub fn find(archive: &Archive<'static>, name: &'static str) -> Result<&'static [u8], ArchiveError> {
    archive.file(name).map_err(|error| ArchiveError::NoFile { name, error, elsewhere: archive.one_folder_down(name) })
}
