//! The boot archive: where the first program comes from, and a memory object for all who want the others.

use super::memory_map::MemoryMap;
use crate::arch::memory::{PAGE, direct};
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::platform::PhysRange;
use core::fmt;
use graft_paging::Frame;
use tar_no_std::{CorruptDataError, TarArchiveRef};

/// Why the machine cannot start from its archive.
#[derive(Debug)]
pub enum ArchiveError {
    /// It is not a tar file, or a damaged one.
    Corrupt(CorruptDataError),
    /// There is no such file in it.
    Missing(&'static str),
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::Corrupt(error) => write!(f, "the archive (initrd) is damaged: {error}"),
            ArchiveError::Missing(name) => write!(f, "the archive (initrd) has no `{name}`"),
            ArchiveError::OutOfMemory => f.write_str("there is not enough memory for the archive (initrd)"),
        }
    }
}

/// Sees to it that the archive, which boot found in mapped memory, has whole pages for itself, and that what follows it
/// in the last of them is zero: programs map whole pages. Returns where it is then.
///
/// It stays where it is if it begins with a page and nothing else lies in its last one. A loader may as well put it
/// right behind the kernel, or the device tree right behind it.
///
/// # Errors
/// [`ArchiveError::OutOfMemory`].
pub fn settle(found: PhysRange, memory: &mut MemoryMap) -> Result<PhysRange, ArchiveError> {
    let mut archive = found;
    if !found.start.is_multiple_of(PAGE) || !memory.holds_nothing_but(found) {
        archive = memory.take(found.size()).ok_or(ArchiveError::OutOfMemory)?;
        // SAFETY: both are in the direct map, and the copy was free memory until now.
        unsafe {
            core::ptr::copy_nonoverlapping(direct(found.start), direct(archive.start), found.size() as usize);
        }
        memory.release_archive().map_err(|_| ArchiveError::OutOfMemory)?;
    }
    let rest = archive.end.next_multiple_of(PAGE) - archive.end;
    // SAFETY: the page is the archive's alone.
    unsafe { core::ptr::write_bytes(direct(archive.end), 0, rest as usize) };
    Ok(archive)
}

/// Makes a memory object of the archive, after [`settle`]. Returns its content, too.
///
/// # Errors
/// [`ArchiveError::OutOfMemory`].
pub fn object(archive: PhysRange) -> Result<(Ref<MemoryObject>, &'static [u8]), ArchiveError> {
    // SAFETY: RAM that boot set aside for good; nothing writes to it any more.
    let bytes = unsafe { core::slice::from_raw_parts(direct(archive.start), archive.size() as usize) };
    let object = MemoryObject::permanent(Frame::containing(archive.start), archive.size())
        .map_err(|_| ArchiveError::OutOfMemory)?;
    Ok((object, bytes))
}

/// The content of a file in the archive.
///
/// # Errors
/// [`ArchiveError::Corrupt`], [`ArchiveError::Missing`].
pub fn find<'a>(archive: &'a [u8], name: &'static str) -> Result<&'a [u8], ArchiveError> {
    // What follows the last whole block cannot be part of the archive.
    let blocks = &archive[..archive.len() & !511];
    let files = TarArchiveRef::new(blocks).map_err(ArchiveError::Corrupt)?;
    let file = files.entries().find(|entry| entry.filename().as_str() == Ok(name));
    file.map(|entry| entry.data()).ok_or(ArchiveError::Missing(name))
}
