//! Calls about the caller's own memory.

#![forbid(unsafe_code)]

use crate::archive::MemoryObject;
use crate::loader;
use crate::process::Process;
use crate::space::{self, Locked};
use graft_abi::{Error, Handle, MAP_BASE, PAGE_SIZE, Permissions, Rights, USER_END, USER_START};
use graft_paging::{Foreign, Inherit, Reservation, VirtAddr, VirtRange};

/// `map`: reserves demand-zero memory.
pub(super) fn map(process: &Process, address: u64, bytes: u64, permissions: u64) -> Result<u64, Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let mut tree = process.space.lock()?;
    let range = place(&tree, address, bytes)?;
    let reservation = Reservation { permissions: space::permissions(permissions), inherit: Inherit::Yes };
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
    tree.edit(|tree, tlb| tree.protect(tlb, range, space::permissions(permissions)))?;
    if permissions == Permissions::ReadExecute {
        // What the program wrote there before, it may mean to run.
        loader::make_fetchable(&tree, range);
    }
    Ok(0)
}

/// `map_object`: maps a memory object whole.
pub(super) fn map_object(
    process: &Process,
    handle: Handle,
    address: u64,
    permissions: u64,
) -> Result<(u64, u64), Error> {
    let permissions = Permissions::from_number(permissions).ok_or(Error::BadArgument)?;
    let memory = process.object::<MemoryObject>(handle, Rights::READ)?;
    // Every object that there is so far is there to be read.
    if permissions != Permissions::Read {
        return Err(Error::NotAllowed);
    }
    let mut tree = process.space.lock()?;
    let range = place(&tree, address, memory.mapped_length())?;
    let (first, permissions) = (memory.first(), space::permissions(permissions));
    tree.edit(|tree, tlb| tree.map_frames(tlb, range, first, permissions, Foreign::Normal))?;
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
    let page = PAGE_SIZE as u64;
    if !address.is_multiple_of(page) || !bytes.is_multiple_of(page) {
        return Err(Error::Unaligned);
    }
    if bytes == 0 || bytes > USER_END as u64 {
        return Err(Error::BadLength);
    }
    if address < USER_START as u64 {
        return Err(Error::BadAddress);
    }
    VirtRange::new(address, bytes).ok_or(Error::BadAddress)
}
