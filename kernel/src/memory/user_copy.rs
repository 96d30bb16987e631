//! Copies to and from user memory.
//!
//! The kernel never uses a user address. It asks the tree for the frame behind it, exactly as a fault of
//! the program's own would, so that a store into a shared page or table breaks the sharing first, and
//! copies through the direct map while it holds the lock on the tree.

use crate::arch::memory::direct;
use crate::memory::kernel_memory::Tree;
use crate::memory::space::Space;
use crate::memory::statistics::Statistics;
use core::mem::{MaybeUninit, size_of};
use graft_abi::{Error, PAGE_SIZE, USER_END};
use graft_paging::{Access, Fault, Tlb, VirtAddr};

/// A type that any bytes are a valid value of, without padding: it may be copied from and to a program
/// byte by byte.
///
/// # Safety
/// Exactly that.
pub unsafe trait Plain: Copy {}

// SAFETY: structures of integers whose sizes add up (`graft_abi` says so of all its layouts).
unsafe impl Plain for graft_abi::SpawnRequest {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::TablesRequest {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::ProcessInfo {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::SystemInfo {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::EntryRecord {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::MemorySizes {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

/// What memory belongs to: a process.
pub trait Owner {
    /// The memory.
    fn space(&self) -> &Space;

    /// Where what is done for an access is counted.
    fn statistics(&self) -> &Statistics;
}

/// Copies from user memory.
///
/// # Errors
/// [`Error::BadAddress`] if a byte may not be read; [`Error::OutOfMemory`]. What was copied before stays.
///
/// Once for all kinds of owners, not inlined: the copies stay out of the callers' way.
#[inline(never)]
pub fn read_bytes(owner: &impl Owner, address: u64, bytes: &mut [u8]) -> Result<(), Error> {
    let mut done = 0;
    each_page(owner, address, bytes.len(), Access::Read, |piece, length| {
        // SAFETY: `each_page` hands out `length` bytes of a frame that the lock keeps, `bytes` has as
        // many left, and kernel and user memory never overlap. A program that writes meanwhile on
        // another core decides which bytes arrive, and nothing else: they are checked after the copy.
        unsafe { core::ptr::copy_nonoverlapping(piece, bytes[done..].as_mut_ptr(), length) };
        done += length;
    })
}

/// Copies into user memory.
///
/// # Errors
/// [`Error::BadAddress`] if a byte may not be written; [`Error::OutOfMemory`]. What was copied before stays.
#[inline(never)]
pub fn write_bytes(owner: &impl Owner, address: u64, bytes: &[u8]) -> Result<(), Error> {
    let mut done = 0;
    each_page(owner, address, bytes.len(), Access::Write, |piece, length| {
        // SAFETY: as in `read_bytes`; resolving for a write has made the frame this space's own.
        unsafe { core::ptr::copy_nonoverlapping(bytes[done..].as_ptr(), piece, length) };
        done += length;
    })
}

/// Reads a value from user memory.
///
/// # Errors
/// As [`read_bytes`].
pub fn read<T: Plain>(owner: &impl Owner, address: u64) -> Result<T, Error> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the value's own bytes, initialised.
    let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) };
    read_bytes(owner, address, bytes)?;
    // SAFETY: any bytes are a valid `T` (`Plain`).
    Ok(unsafe { value.assume_init() })
}

/// Writes values into user memory.
///
/// # Errors
/// As [`write_bytes`].
pub fn write<T: Plain>(owner: &impl Owner, address: u64, values: &[T]) -> Result<(), Error> {
    // SAFETY: the values' own bytes, all initialised (`Plain`: no padding).
    let bytes = unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
    write_bytes(owner, address, bytes)
}

/// Fills part of a tree that no core runs in yet. `read` is asked for the bytes of one page at a time, and told
/// how many came before.
///
/// # Errors
/// As [`write_bytes`]; every error of `read`.
pub fn fill(
    tree: &mut Tree,
    tlb: &impl Tlb,
    address: u64,
    length: usize,
    mut read: impl FnMut(usize, &mut [u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut done = 0;
    while done < length {
        let (start, piece) = next_piece(address, length, done)?;
        let frame = tree.resolve(tlb, start, Access::Write).map_err(refusal)?.frame;
        let first = direct(frame.address() + start.get() % PAGE_SIZE as u64);
        // SAFETY: part of a frame that the tree, held by `&mut` and running nowhere, has for itself; it was
        // zeroed when it was backed.
        read(done, unsafe { core::slice::from_raw_parts_mut(first, piece) })?;
        done += piece;
    }
    Ok(())
}

fn each_page(
    owner: &impl Owner,
    address: u64,
    length: usize,
    access: Access,
    mut copy: impl FnMut(*mut u8, usize),
) -> Result<(), Error> {
    let mut done = 0;
    if length == 0 {
        return Ok(());
    }
    let mut tree = owner.space().lock()?;
    while done < length {
        let (start, piece) = next_piece(address, length, done)?;
        // Not memory, so that the direct map does not have it; and what a look at it does is the program's to know.
        if tree.is_device(start) {
            return Err(Error::BadAddress);
        }
        let resolved = tree.resolve(start, access).map_err(refusal)?;
        owner.statistics().count(&resolved);
        copy(direct(resolved.frame.address() + start.get() % PAGE_SIZE as u64), piece);
        done += piece;
    }
    Ok(())
}

/// Where the bytes after the first `done` go on, and how many of them lie in that page.
fn next_piece(address: u64, length: usize, done: usize) -> Result<(VirtAddr, usize), Error> {
    let start = address.checked_add(done as u64).filter(|&start| start < USER_END as u64).ok_or(Error::BadAddress)?;
    let in_page = PAGE_SIZE - start as usize % PAGE_SIZE;
    Ok((VirtAddr::new(start).ok_or(Error::BadAddress)?, in_page.min(length - done)))
}

fn refusal(fault: Fault) -> Error {
    match fault {
        Fault::OutOfMemory | Fault::Contended => Error::OutOfMemory,
        Fault::Unmapped | Fault::Denied(_) => Error::BadAddress,
    }
}
