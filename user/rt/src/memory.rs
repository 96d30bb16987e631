//! Memory: reserving, protecting and giving it back, and a region that owns its addresses.

use core::ops::Range;

use graft_abi::{Call, Error, Handle, PAGE_SIZE, Permissions};

use crate::call::call;

/// Reserves demand-zero memory and returns its address. With address 0 the kernel chooses.
/// Address and length are multiples of the page size.
pub fn map(address: usize, bytes: usize, permissions: Permissions) -> Result<usize, Error> {
    // SAFETY: the kernel maps only where nothing is mapped, so no object of the program changes.
    let answer = unsafe { call(Call::Map, [address as u64, bytes as u64, permissions as u64]) }?;
    Ok(answer.x0 as usize)
}

/// Maps a whole memory object read-only. Returns its address and its length in bytes.
/// With address 0 the kernel chooses.
pub fn map_object(object: Handle, address: usize) -> Result<(usize, usize), Error> {
    // SAFETY: the kernel maps only where nothing is mapped, so no object of the program changes.
    let answer = unsafe { call(Call::MapObject, [object.0.into(), address as u64, Permissions::Read as u64]) }?;
    Ok((answer.x0 as usize, answer.x1 as usize))
}

/// Removes whatever is mapped in the range.
///
/// # Safety
///
/// Nothing in the range may be used afterwards.
pub unsafe fn unmap(address: usize, bytes: usize) -> Result<(), Error> {
    // SAFETY: the caller's contract.
    unsafe { call(Call::Unmap, [address as u64, bytes as u64]) }.map(drop)
}

/// Changes what may be done with the memory in the range.
pub fn protect(address: usize, bytes: usize, permissions: Permissions) -> Result<(), Error> {
    // SAFETY: contents do not change. An access that is no longer permitted ends the process,
    // which no Rust code sees.
    unsafe { call(Call::Protect, [address as u64, bytes as u64, permissions as u64]) }.map(drop)
}

/// A run of pages that belongs to this value and is unmapped with it.
///
/// Its bytes are reached one by one with volatile accesses, so that each access in the source is
/// one that the translation tables see. An access outside the region panics; an access that the
/// permissions forbid ends the process.
#[derive(Debug)]
pub struct Region {
    address: usize,
    bytes: usize,
}

impl Region {
    /// Reserves demand-zero, writable memory. The length is a multiple of the page size.
    pub fn new(bytes: usize) -> Result<Region, Error> {
        Region::at(0, bytes)
    }

    /// As [`Region::new`], at an address of the program's choice.
    pub fn at(address: usize, bytes: usize) -> Result<Region, Error> {
        Ok(Region { address: map(address, bytes, Permissions::ReadWrite)?, bytes })
    }

    /// The first address.
    pub const fn address(&self) -> usize {
        self.address
    }

    /// The length in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The length in pages.
    pub const fn pages(&self) -> usize {
        self.bytes / PAGE_SIZE
    }

    fn pointer(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.bytes, "offset {offset:#x} in a region of {:#x} bytes", self.bytes);
        (self.address + offset) as *mut u8
    }

    /// Reads the byte at this offset.
    pub fn read(&self, offset: usize) -> u8 {
        // SAFETY: the offset is inside the region, which owns its addresses. Where the region
        // has been unmapped or protected, the processor ends the program.
        unsafe { self.pointer(offset).read_volatile() }
    }

    /// Writes the byte at this offset.
    pub fn write(&self, offset: usize, value: u8) {
        // SAFETY: as for `read`; no reference into the region is ever handed out.
        unsafe { self.pointer(offset).write_volatile(value) }
    }

    /// Writes a byte into every page, the one that `value` gives for the page's number.
    pub fn fill(&self, value: impl Fn(usize) -> u8) {
        for page in 0..self.pages() {
            self.write(page * PAGE_SIZE, value(page));
        }
    }

    /// The number of the first page whose first byte is not what `value` gives for it.
    pub fn first_difference(&self, value: impl Fn(usize) -> u8) -> Option<usize> {
        (0..self.pages()).find(|&page| self.read(page * PAGE_SIZE) != value(page))
    }

    fn checked(&self, range: &Range<usize>) -> (usize, usize) {
        assert!(range.start <= range.end && range.end <= self.bytes, "{range:x?} in a region of {:#x}", self.bytes);
        (self.address + range.start, range.end - range.start)
    }

    /// Changes what may be done with a part of the region, given by byte offsets.
    pub fn protect(&self, range: Range<usize>, permissions: Permissions) -> Result<(), Error> {
        let (address, bytes) = self.checked(&range);
        protect(address, bytes, permissions)
    }

    /// Unmaps a part of the region, given by byte offsets, and keeps the addresses: nothing
    /// else of the program must be mapped there while the region lives.
    ///
    /// # Safety
    ///
    /// Until the region is dropped, or has mapped the range again with [`Region::remap`], the
    /// program must not let the kernel choose addresses: it might choose these.
    pub unsafe fn unmap(&self, range: Range<usize>) -> Result<(), Error> {
        let (address, bytes) = self.checked(&range);
        // SAFETY: the addresses are the region's own, and no reference into it exists.
        unsafe { unmap(address, bytes) }
    }

    /// Maps fresh demand-zero memory over a part that was unmapped.
    pub fn remap(&self, range: Range<usize>) -> Result<(), Error> {
        let (address, bytes) = self.checked(&range);
        map(address, bytes, Permissions::ReadWrite).map(drop)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the addresses are the region's own, and nobody can name them after this.
        let _ = unsafe { unmap(self.address, self.bytes) };
    }
}
