//! The boot archive: where the first program comes from, and a memory object for all who want the others.

use crate::arch::memory::direct;
use crate::memory::frames;
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::platform::PhysRange;
use core::fmt;
use graft_abi::PAGE_SIZE;
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

/// Makes a memory object of the archive that boot found. Returns its content, too.
///
/// # Errors
/// [`ArchiveError::OutOfMemory`].
pub fn take(range: &PhysRange) -> Result<(Ref<MemoryObject>, &'static [u8]), ArchiveError> {
    let page = PAGE_SIZE as u64;
    let length = range.end - range.start;
    let mut start = range.start;
    if !start.is_multiple_of(page) {
        // Some firmware puts it right behind the kernel. Programs map whole pages, which must hold
        // nothing else.
        let copy = frames::allocate_block(length).ok_or(ArchiveError::OutOfMemory)?;
        // SAFETY: the copy is a block of at least that size, just allocated.
        unsafe { core::ptr::copy_nonoverlapping(direct(start), direct(copy), length as usize) };
        start = copy;
    }
    let rest = length.next_multiple_of(page) - length;
    // SAFETY: the rest of the last page belongs to the archive's block, or to the archive alone: boot hands
    // out whole free pages only.
    unsafe { core::ptr::write_bytes(direct(start + length), 0, rest as usize) };
    // SAFETY: RAM that boot set aside for good; from now on nobody writes to it.
    let bytes = unsafe { core::slice::from_raw_parts(direct(start), length as usize) };
    let object = MemoryObject::permanent(Frame::containing(start), length).map_err(|_| ArchiveError::OutOfMemory)?;
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
