//! Calls about the caller's own memory.

#![forbid(unsafe_code)]

use crate::memory::space::{self, Locked};
use crate::object::Ref;
use crate::object::memory::MemoryObject;
use crate::object::process::Process;
use crate::program;
use graft_abi::{Error, Handle, MAP_BASE, MAP_NO_INHERIT, PAGE_SIZE, Permissions, Rights, USER_END, USER_START};
use graft_paging::{Inherit, Reservation, VirtAddr, VirtRange};

/// What whoever makes a memory object may do with it.
const MEMORY_RIGHTS: Rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE);

/// `map`: reserves demand-zero memory.
pub(super) fn map(process: &Process, address: u64, bytes: u64, permissions: u64, flags: u64) -> Result<u64, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let inherit = match flags {
        0 => Inherit::Yes,
        MAP_NO_INHERIT => Inherit::No,
        _ => return Err(Error::BadArgument),
    };
    // As `protect` has it.
    if inherit == Inherit::No && permissions == Permissions::ReadExecute {
        return Err(Error::NotAllowed);
    }
    let mut tree = process.space.lock()?;
    let range = place(&tree, address, bytes)?;
    let reservation = Reservation { permissions: space::permissions(permissions), inherit };
    tree.edit(|tree, tlb| tree.reserve(tlb, range, reservation))?;
    Ok(range.start())
}

/// `unmap`: removes whatever is mapped in a range.
pub(super) fn unmap(process: &Process, address: u64, bytes: u64) -> Result<u64, Error> {
    let range = checked(address, bytes)?;
    let mut tree = process.space.lock()?;
    tree.edit(|tree, tlb| tree.unmap(tlb, range))?;
    Ok(0)
}

/// `protect`: changes what is mapped in a range.
pub(super) fn protect(process: &Process, address: u64, bytes: u64, permissions: u64) -> Result<u64, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let range = checked(address, bytes)?;
    let mut tree = process.space.lock()?;
    if permissions == Permissions::ReadExecute {
        // What the program wrote there before, it may mean to run.
        program::make_fetchable(&tree, range);
    }
    tree.edit(|tree, tlb| tree.protect(tlb, range, space::permissions(permissions)))?;
    Ok(0)
}

/// `discard`: gives up the content of private memory.
pub(super) fn discard(process: &Process, address: u64, bytes: u64) -> Result<u64, Error> {
    let range = checked(address, bytes)?;
    let mut tree = process.space.lock()?;
    tree.edit(|tree, tlb| tree.discard(tlb, range))?;
    Ok(0)
}

/// `move`: gives what is mapped in a range other addresses.
pub(super) fn relocate(process: &Process, from: u64, bytes: u64, to: u64) -> Result<u64, Error> {
    let from = checked(from, bytes)?;
    let mut tree = process.space.lock()?;
    let to = place(&tree, to, bytes)?;
    tree.edit(|tree, tlb| tree.relocate(tlb, from, to))?;
    Ok(to.start())
}

/// Whether `memory_create` wants more than the machine has, which no retry can help.
pub(super) fn is_hopeless(bytes: u64) -> bool {
    check_length(bytes).is_ok() && !MemoryObject::is_possible(bytes)
}

/// `memory_create`: a memory object of zeroes.
pub(super) fn create(process: &Process, bytes: u64) -> Result<u64, Error> {
    check_length(bytes)?;
    let object: Ref<MemoryObject> = MemoryObject::zeroed(bytes)?;
    let handle = process.handles.lock().insert(object.erase(), MEMORY_RIGHTS)?;
    Ok(handle.0.into())
}

/// `map_object`: maps a memory object whole.
pub(super) fn map_object(
    process: &Process,
    handle: Handle,
    address: u64,
    permissions: u64,
) -> Result<(u64, u64), Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let needed = if permissions == Permissions::ReadWrite { Rights::READ.or(Rights::WRITE) } else { Rights::READ };
    let memory = process.object::<MemoryObject>(handle, needed)?;
    let mut tree = process.space.lock()?;
    let range = place(&tree, address, memory.mapped_length())?;
    memory.map(&mut tree, range, permissions)?;
    Ok((range.start(), memory.length()))
}

/// The range for a new mapping: where the program wants it, or, at address 0, where there is room.
fn place(tree: &Locked<'_>, address: u64, bytes: u64) -> Result<VirtRange, Error> {
    if address != 0 {
        return checked(address, bytes);
    }
    // Where the program has named no place, none is wrong: there are too few.
    let range = checked(MAP_BASE as u64, bytes).map_err(|error| match error {
        Error::BadAddress => Error::AddressesExhausted,
        other => other,
    })?;
    let base = VirtAddr::new(range.start()).ok_or(Error::BadAddress)?;
    let start = tree.find_gap(base, bytes).ok_or(Error::AddressesExhausted)?;
    checked(start.get(), bytes)
}

/// A range of whole pages in user memory.
fn checked(address: u64, bytes: u64) -> Result<VirtRange, Error> {
    if !address.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Error::Unaligned);
    }
    check_length(bytes)?;
    if address < USER_START as u64 {
        return Err(Error::BadAddress);
    }
    VirtRange::new(address, bytes).ok_or(Error::BadAddress)
}

/// Whole pages, at least one, and no more than there are addresses.
fn check_length(bytes: u64) -> Result<(), Error> {
    if !bytes.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Error::Unaligned);
    }
    if bytes == 0 || bytes > USER_END as u64 { Err(Error::BadLength) } else { Ok(()) }
}
