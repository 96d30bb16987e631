//! Copies to and from user memory.
//!
//! The kernel never uses a user address. It asks the tree for the frame behind it, exactly as a fault of
//! the program's own would, so that a store into a shared page or table breaks the sharing first, and
//! copies through the direct map while it holds the lock on the tree.

use crate::arch::memory::{copy_page, direct};
use crate::memory::change::persist;
use crate::memory::frames;
use crate::memory::kernel_memory::Tree;
use crate::memory::space::{self, Locked, Obstacle, Space};
use crate::memory::statistics::Statistics;
use core::mem::{MaybeUninit, size_of};
use graft_abi::{Error, PAGE_SIZE, USER_END};
use graft_paging::{Access, Fault, Frame, Kind, Tlb, Translation, VirtAddr};

/// A type that any bytes are a valid value of, without padding: it may be copied from and to a program
/// byte by byte.
///
/// # Safety
/// Exactly that.
pub unsafe trait Plain: Copy {}

// SAFETY: structures of integers whose sizes add up (`graft_abi` says so of all its layouts).
unsafe impl Plain for graft_abi::SpawnRequest {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::Segment {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [graft_abi::Segment; N] {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::FirstProgram {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::TablesRequest {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::ProcessInfo {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::SystemInfo {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::ThreadInfo {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::TraceRequest {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::TraceEvent {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::EntryRecord {}
// SAFETY: as above.
unsafe impl Plain for graft_abi::MemorySizes {}
// SAFETY: integers.
unsafe impl Plain for [u64; graft_abi::REGISTERS] {}
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

    /// Whether its pages may come out of the reserve.
    fn may_use_reserve(&self) -> bool;
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
    each_page(owner, address, bytes.len(), (Access::Read, Tables::First), |piece, length| {
        // SAFETY: `each_page` hands out `length` bytes of a frame that the lock keeps, `bytes` has as
        // many left, and kernel and user memory never overlap. A program that writes meanwhile on
        // another core decides which bytes arrive, and nothing else: they are checked after the copy.
        unsafe { core::ptr::copy_nonoverlapping(piece, bytes[done..].as_mut_ptr(), length) };
        done += length;
    })
}

/// As [`read_bytes`], but not from pages that are to be backed first: then the call is made again, as behind an
/// obstacle.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_bytes_that_are_there(owner: &impl Owner, address: u64, bytes: &mut [u8]) -> Result<(), Error> {
    let tree = owner.space().lock()?;
    let mut done = 0;
    each_piece(address, bytes.len(), |start, piece| {
        let Some(Translation { page, .. }) = tree.translate(start) else {
            return Err(space::refuse_for(Obstacle::Tables));
        };
        if page.kind == Kind::Device || !page.permissions.allow(Access::Read) {
            return Err(Error::BadAddress);
        }
        let first = direct(page.frame.address() + start.get() % PAGE_SIZE as u64);
        // SAFETY: as in `read_bytes`.
        unsafe { core::ptr::copy_nonoverlapping(first, bytes[done..].as_mut_ptr(), piece) };
        done += piece;
        Ok(())
    })
}

/// Copies into user memory.
///
/// # Errors
/// [`Error::BadAddress`] if a byte may not be written; [`Error::OutOfMemory`]. Nothing has changed then.
#[inline(never)]
pub fn write_bytes(owner: &impl Owner, address: u64, bytes: &[u8]) -> Result<(), Error> {
    write_bytes_after(owner, address, bytes, Tables::First)
}

fn write_bytes_after(owner: &impl Owner, address: u64, bytes: &[u8], tables: Tables) -> Result<(), Error> {
    let mut done = 0;
    each_page(owner, address, bytes.len(), (Access::Write, tables), |piece, length| {
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
    value(|bytes| read_bytes(owner, address, bytes))
}

/// A value whose bytes `read` copies.
///
/// # Errors
/// Those of `read`.
pub fn value<T: Plain>(read: impl FnOnce(&mut [u8]) -> Result<(), Error>) -> Result<T, Error> {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the value's own bytes, initialised.
    let bytes = unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast(), size_of::<T>()) };
    read(bytes)?;
    // SAFETY: any bytes are a valid `T` (`Plain`).
    Ok(unsafe { value.assume_init() })
}

/// Writes values into user memory.
///
/// # Errors
/// As [`write_bytes`].
pub fn write<T: Plain>(owner: &impl Owner, address: u64, values: &[T]) -> Result<(), Error> {
    write_bytes(owner, address, bytes_of(values))
}

/// As [`write()`], for a call that copies nothing else: up to a page's border it has time for tables, too, so that the
/// figures that it tells are from before.
///
/// # Errors
/// As [`write_bytes`].
pub fn write_figures<T: Plain>(owner: &impl Owner, address: u64, figures: &T) -> Result<(), Error> {
    write_bytes_after(owner, address, bytes_of(core::slice::from_ref(figures)), Tables::InPassing)
}

fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: the values' own bytes, all initialised (`Plain`: no padding).
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Fills part of a tree that no core runs in yet. `read` is asked for the bytes of one page at a time, and told
/// how many came before.
///
/// # Errors
/// [`Error::BadAddress`], [`Error::OutOfMemory`], every error of `read`; also when shared tables had to be copied first,
/// as for [`refuse_for`](space::refuse_for). What is there stays.
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
        let resolved =
            persist(|| tree.resolve(tlb, start, Access::Write), |fault| *fault == Fault::Contended).map_err(refusal)?;
        if resolved.table_splits != 0 {
            return Err(space::refuse_for(Obstacle::Tables));
        }
        let first = direct(resolved.frame.address() + start.get() % PAGE_SIZE as u64);
        // SAFETY: part of a frame that the tree, held by `&mut` and running nowhere, has for itself; it was
        // zeroed when it was backed, or is the copy of another.
        read(done, unsafe { core::slice::from_raw_parts_mut(first, piece) })?;
        done += piece;
    }
    Ok(())
}

/// Copies from one owner's memory to another's, as far as the destination goes on in one page, and not into a second
/// page of the source that is to be backed first. Returns how many bytes that were.
///
/// # Errors
/// As [`read_bytes`] and [`write_bytes`]. What was copied before stays.
#[inline(never)]
pub fn between(from: (&impl Owner, u64), to: (&impl Owner, u64), length: u64) -> Result<u64, Error> {
    let room = PAGE_SIZE as u64 - to.1 % PAGE_SIZE as u64;
    let length = length.min(room) as usize;
    if length == 0 {
        return Ok(0);
    }
    let (source, target) = (from.0.space(), to.0.space());
    // In the order of their addresses, as every core that locks two.
    let (mut target, mut source) = match core::ptr::from_ref(source).cmp(&core::ptr::from_ref(target)) {
        core::cmp::Ordering::Equal => (target.lock()?, None),
        core::cmp::Ordering::Less => {
            let source = source.lock()?;
            (target.lock()?, Some(source))
        }
        core::cmp::Ordering::Greater => (target.lock()?, Some(source.lock()?)),
    };
    // First, because it may replace the page that both lie in.
    let (start, _) = next_piece(to.1, length, 0)?;
    let store = accessible(to.0, &mut target, start, (Access::Write, Tables::First))?;
    let mut done = 0;
    while done < length {
        let (start, piece) = next_piece(from.1, length, done)?;
        let source = source.as_mut().unwrap_or(&mut target);
        // Only what is there is read without a change of the tree.
        if done != 0 && source.translate(start).is_none() {
            break;
        }
        let load = accessible(from.0, source, start, (Access::Read, Tables::First))?;
        // SAFETY: `piece` bytes of a frame, and as many of another or of the same one, which the locks keep: two spaces
        // can have a frame in common, too. A program that writes meanwhile decides which bytes arrive, and nothing
        // else.
        unsafe {
            let store = store.add(done);
            if load.addr() / PAGE_SIZE == store.addr() / PAGE_SIZE {
                core::ptr::copy(load, store, piece);
            } else if piece == PAGE_SIZE {
                copy_page(store, load);
            } else {
                core::ptr::copy_nonoverlapping(load, store, piece);
            }
        }
        done += piece;
    }
    Ok(done as u64)
}

/// What follows when tables have to be copied for an access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// They are enough for a piece, as there may be others to come: the call is made again.
    First,
    /// The access.
    InPassing,
}

/// Where the kernel finds a byte of user memory, as long as the lock is held.
#[inline(always)]
fn accessible(
    owner: &impl Owner,
    tree: &mut Locked<'_>,
    address: VirtAddr,
    (access, tables): (Access, Tables),
) -> Result<*mut u8, Error> {
    let frame = match tree.memory_at(address, access) {
        Some(frame) => frame,
        None => make_accessible(owner, tree, address, (access, tables))?,
    };
    Ok(direct(frame.address() + address.get() % PAGE_SIZE as u64))
}

/// The frame of a byte that is not accessible yet.
#[cold]
#[inline(never)]
fn make_accessible(
    owner: &impl Owner,
    tree: &mut Locked<'_>,
    address: VirtAddr,
    (access, tables): (Access, Tables),
) -> Result<Frame, Error> {
    // Not memory, so that the direct map does not have it; and what a look at it does is the program's to know.
    if tree.translate(address).is_some_and(|found| found.page.kind == Kind::Device) {
        return Err(Error::BadAddress);
    }
    let resolved = match tree.resolve(address, access) {
        Err(Fault::OutOfMemory) if owner.may_use_reserve() => frames::with_reserve(|| tree.resolve(address, access)),
        resolved => resolved,
    };
    let resolved = resolved.map_err(refusal)?;
    owner.statistics().count(&resolved);
    if resolved.table_splits != 0 && tables == Tables::First {
        return Err(space::refuse_for(Obstacle::Tables));
    }
    Ok(resolved.frame)
}

fn each_page(
    owner: &impl Owner,
    address: u64,
    length: usize,
    (access, tables): (Access, Tables),
    mut copy: impl FnMut(*mut u8, usize),
) -> Result<(), Error> {
    if length == 0 {
        return Ok(());
    }
    let mut tree = owner.space().lock()?;
    let (start, piece) = next_piece(address, length, 0)?;
    if piece == length {
        copy(accessible(owner, &mut tree, start, (access, tables))?, piece);
        return Ok(());
    }
    let how = (access, Tables::First);
    // All pages before the first byte is stored: a call that is refused or made again has changed nothing.
    if access == Access::Write {
        each_piece(address, length, |start, _| accessible(owner, &mut tree, start, how).map(drop))?;
    }
    each_piece(address, length, |start, piece| {
        copy(accessible(owner, &mut tree, start, how)?, piece);
        Ok(())
    })
}

/// The parts of a range that lie in one page each: their first bytes, and how many they are.
fn each_piece(
    address: u64,
    length: usize,
    mut visit: impl FnMut(VirtAddr, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut done = 0;
    while done < length {
        let (start, piece) = next_piece(address, length, done)?;
        visit(start, piece)?;
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
