//! Memory: reserving, protecting and giving it back, sharing it, and a region that owns its addresses.

use core::mem::ManuallyDrop;
use core::ops::Range;

use graft_abi::{Call, Error, Handle, MAP_NO_INHERIT, PAGE_SIZE, Permissions, Rights};

use crate::call::call;
use crate::process;

/// Whether a forked child gets something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherit {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// Reserves demand-zero memory, which a forked child gets too, and returns its address. With address 0 the kernel
/// chooses. Address and length are multiples of the page size.
pub fn map(address: usize, bytes: usize, permissions: Permissions) -> Result<usize, Error> {
    reserve(address, bytes, permissions, Inherit::Yes)
}

/// As [`map`]; the caller decides whether a forked child gets the memory.
pub fn reserve(address: usize, bytes: usize, permissions: Permissions, inherit: Inherit) -> Result<usize, Error> {
    let flags = match inherit {
        Inherit::Yes => 0,
        Inherit::No => MAP_NO_INHERIT,
    };
    // SAFETY: the kernel maps only where nothing is mapped, so no object of the program changes.
    let answer = unsafe { call(Call::Map, [address as u64, bytes as u64, permissions as u64, flags]) }?;
    Ok(answer.x0 as usize)
}

/// Maps a whole memory object. Returns its address and its length in bytes. With address 0 the kernel chooses.
pub fn map_object(object: Handle, address: usize, permissions: Permissions) -> Result<(usize, usize), Error> {
    // SAFETY: the kernel maps only where nothing is mapped, so no object of the program changes.
    let answer = unsafe { call(Call::MapObject, [object.0.into(), address as u64, permissions as u64]) }?;
    Ok((answer.x0 as usize, answer.x1 as usize))
}

/// Unmaps everything in the range.
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

/// Gives up the content of private memory in the range and keeps the memory: the next read finds zeroes.
///
/// # Safety
///
/// No Rust object lives in the range.
pub unsafe fn discard(address: usize, bytes: usize) -> Result<(), Error> {
    // SAFETY: the caller's contract.
    unsafe { call(Call::Discard, [address as u64, bytes as u64]) }.map(drop)
}

/// Moves everything that is mapped in the range to `to`, a free place, and returns the new address. With `to` 0 the
/// kernel chooses.
///
/// # Safety
///
/// Nothing may be used at its old address afterwards.
pub unsafe fn relocate(from: usize, bytes: usize, to: usize) -> Result<usize, Error> {
    // SAFETY: the caller's contract.
    let answer = unsafe { call(Call::Move, [from as u64, bytes as u64, to as u64]) }?;
    Ok(answer.x0 as usize)
}

/// A memory object that the program has made or whose handle it was passed: the same memory for every process
/// that maps it. Dropping this gives the handle up; mappings stay.
#[derive(Debug)]
pub struct Shared {
    handle: Handle,
}

impl Shared {
    /// A new object, all zeroes. The length is a multiple of the page size; the memory is taken at once.
    pub fn new(bytes: usize) -> Result<Shared, Error> {
        // SAFETY: the call touches no memory.
        let answer = unsafe { call(Call::MemoryCreate, [bytes as u64]) }?;
        Ok(Shared { handle: answer.handle() })
    }

    /// The object that a handle of the program's names; from now on the handle is this value's.
    pub const fn from_handle(handle: Handle) -> Shared {
        Shared { handle }
    }

    /// The handle, for passing on.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// Gives the handle out of this value's hands, to be passed on.
    pub fn into_handle(self) -> Handle {
        core::mem::ManuallyDrop::new(self).handle
    }

    /// A second handle with no more than these rights.
    pub fn duplicate(&self, rights: Rights) -> Result<Shared, Error> {
        Ok(Shared { handle: process::duplicate(self.handle, rights)? })
    }

    /// Maps all of it, to read or to read and write.
    pub fn map(&self, permissions: Permissions) -> Result<Region, Error> {
        self.map_at(0, permissions)
    }

    /// As [`Shared::map`], at an address of the program's choice.
    pub fn map_at(&self, address: usize, permissions: Permissions) -> Result<Region, Error> {
        let (address, bytes) = map_object(self.handle, address, permissions)?;
        Ok(Region { address, bytes: bytes.next_multiple_of(PAGE_SIZE) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = process::close(self.handle);
    }
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
        Region::with(address, bytes, Inherit::Yes)
    }

    /// As [`Region::at`]; the caller decides whether a forked child gets the memory. A child that does not must forget
    /// the region: other memory may be there.
    pub fn with(address: usize, bytes: usize, inherit: Inherit) -> Result<Region, Error> {
        Ok(Region { address: reserve(address, bytes, Permissions::ReadWrite, inherit)?, bytes })
    }

    /// A region of addresses that the program has mapped in another way, or is about to map.
    ///
    /// # Safety
    ///
    /// Nothing else in the program uses these addresses, and no Rust object lives there while the region does.
    pub const unsafe fn from_raw(address: usize, bytes: usize) -> Region {
        Region { address, bytes }
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

    /// Copies bytes from this offset on into the program's own memory. Where others write to the region too, each byte
    /// is what it was at some moment of the copy, and what has been copied does not change any more.
    pub fn copy_to(&self, offset: usize, buffer: &mut [u8]) {
        let (address, _) = self.checked(&(offset..offset.saturating_add(buffer.len())));
        let mut done = 0;
        while done < buffer.len() {
            let from = address + done;
            if from.is_multiple_of(8) && buffer.len() - done >= 8 {
                // SAFETY: inside the region, as checked, and aligned.
                let word = unsafe { (from as *const u64).read_volatile() };
                buffer[done..done + 8].copy_from_slice(&word.to_ne_bytes());
                done += 8;
            } else {
                // SAFETY: inside the region, as checked.
                buffer[done] = unsafe { (from as *const u8).read_volatile() };
                done += 1;
            }
        }
    }

    /// Copies bytes of the program's own into the region, from this offset on.
    pub fn copy_from(&self, offset: usize, bytes: &[u8]) {
        let (address, _) = self.checked(&(offset..offset.saturating_add(bytes.len())));
        let mut done = 0;
        while done < bytes.len() {
            let to = address + done;
            match bytes[done..].first_chunk::<8>() {
                Some(&word) if to.is_multiple_of(8) => {
                    // SAFETY: inside the region, as checked, and aligned; no reference leads there.
                    unsafe { (to as *mut u64).write_volatile(u64::from_ne_bytes(word)) };
                    done += 8;
                }
                _ => {
                    // SAFETY: inside the region, as checked; no reference leads there.
                    unsafe { (to as *mut u8).write_volatile(bytes[done]) };
                    done += 1;
                }
            }
        }
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

    /// Gives up the content of a part of the region, given by byte offsets: the next read finds zeroes.
    pub fn discard(&self, range: Range<usize>) -> Result<(), Error> {
        let (address, bytes) = self.checked(&range);
        // SAFETY: the addresses are the region's own, and no reference into it exists.
        unsafe { discard(address, bytes) }
    }

    /// Moves the region to other addresses, free ones; with 0 the kernel chooses. The error gives the region back.
    pub fn move_to(self, address: usize) -> Result<Region, (Error, Region)> {
        let old = ManuallyDrop::new(self);
        // SAFETY: the addresses are the region's own, no reference into it exists, and it ends here.
        match unsafe { relocate(old.address, old.bytes, address) } {
            Ok(address) => Ok(Region { address, bytes: old.bytes }),
            Err(error) => Err((error, ManuallyDrop::into_inner(old))),
        }
    }

    /// Maps fresh demand-zero memory over a part that was unmapped.
    pub fn remap(&self, range: Range<usize>) -> Result<(), Error> {
        let (address, bytes) = self.checked(&range);
        map(address, bytes, Permissions::ReadWrite).map(drop)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the addresses are the region's own, and no value names them after this.
        let _ = unsafe { unmap(self.address, self.bytes) };
    }
}
