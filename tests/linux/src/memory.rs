//! Mapped memory, and single accesses to it that are measured.

use core::arch::asm;

use crate::call::{Call, Refused, Timed, call, timed};
use crate::span::Span;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Protection and flags of `mmap`.
const READ_WRITE: usize = 1 | 2;
const SHARED: usize = 1;
const PRIVATE: usize = 2;
const FIXED_ANONYMOUS: usize = 0x10 | 0x20;

/// Pages that are mapped at a fixed address until this is dropped.
pub(crate) struct Memory {
    address: usize,
    bytes: usize,
}

impl Memory {
    /// Maps demand-zero pages of this process; a forked child gets a copy.
    pub(crate) fn private(address: usize, bytes: usize) -> Result<Memory, Refused> {
        Memory::map(address, bytes, PRIVATE)
    }

    /// Maps demand-zero pages that a forked child shares.
    pub(crate) fn shared(address: usize, bytes: usize) -> Result<Memory, Refused> {
        Memory::map(address, bytes, SHARED)
    }

    fn map(address: usize, bytes: usize, kind: usize) -> Result<Memory, Refused> {
        // SAFETY: nothing else uses the addresses in `sequences`.
        unsafe { call(Call::Mmap, [address, bytes, READ_WRITE, kind | FIXED_ANONYMOUS, usize::MAX, 0])? };
        Ok(Memory { address, bytes })
    }

    /// The address of a page.
    #[inline(always)]
    pub(crate) fn page(&self, index: usize) -> usize {
        assert!(index < self.bytes / PAGE, "page {index} of {} bytes", self.bytes);
        self.address + index * PAGE
    }

    /// Writes to every page.
    pub(crate) fn touch(&self) {
        for index in 0..self.bytes / PAGE {
            self.set(index, index as u64);
        }
    }

    /// The word at the beginning of a page.
    pub(crate) fn get(&self, page: usize) -> u64 {
        // SAFETY: the page is mapped and aligned, and no Rust object lives in it.
        unsafe { (self.page(page) as *const u64).read_volatile() }
    }

    /// Sets the word at the beginning of a page.
    #[inline(always)]
    pub(crate) fn set(&self, page: usize, value: u64) {
        // SAFETY: as in `get`.
        unsafe { (self.page(page) as *mut u64).write_volatile(value) }
    }

    /// Unmaps all of it, measured. Dropping it then finds nothing and does no harm.
    #[inline(always)]
    pub(crate) fn unmap(&self) -> Timed {
        // SAFETY: a later access to this memory would end the process; nothing else is mapped there.
        unsafe { timed(Call::Munmap, [self.address, self.bytes]) }
    }

    /// A read of one byte.
    #[inline(always)]
    pub(crate) fn read(&self, page: usize) -> Span {
        let (begin, end): (u64, u64);
        // SAFETY: as in `get`.
        unsafe {
            asm!(
                "isb",
                "mrs     {begin}, cntvct_el0",
                "ldrb    {byte:w}, [{address}]",
                "isb",
                "mrs     {end}, cntvct_el0",
                address = in(reg) self.page(page),
                begin = out(reg) begin,
                byte = out(reg) _,
                end = out(reg) end,
                options(nostack),
            );
        }
        Span::between(begin, end)
    }

    /// A write of one byte.
    #[inline(always)]
    pub(crate) fn write(&self, page: usize) -> Span {
        let (begin, end): (u64, u64);
        // SAFETY: as in `set`.
        unsafe {
            asm!(
                "isb",
                "mrs     {begin}, cntvct_el0",
                "strb    wzr, [{address}]",
                "isb",
                "mrs     {end}, cntvct_el0",
                address = in(reg) self.page(page),
                begin = out(reg) begin,
                end = out(reg) end,
                options(nostack),
            );
        }
        Span::between(begin, end)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Linux refuses this only where it is out of memory for its own books; then the next mapping says so.
        let _ = self.unmap();
    }
}
