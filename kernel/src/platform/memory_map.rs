//! Physical memory: what the device tree calls memory, less what is spoken for, mapped for the kernel.
//!
//! ```text
//! ram      everything that the device tree calls memory
//! mapped   ram − kernel image − regions marked no-map          → direct map, frame metadata
//! free     mapped − device tree − archive − reservations − spin-table pages − what is taken here
//! ```

use crate::{
    arch::{
        StartMethod,
        kernel_map::{KernelMap, KernelMapError, MAP, Mapping},
        memory::{self, COUNTS_BASE, DIRECT_LIMIT, PAGE, REFERENCES_BASE},
    },
    platform::{
        PhysRange,
        device_tree::DeviceTree,
        pieces::{self, TooManyPieces},
    },
};
use core::fmt;
use graft_boot::{MAX_CORES, STACK_SIZE, STACK_STRIDE, STACKS_BASE};
use spin::Once;

/// Most pieces of memory that are kept apart. Real machines have less than ten.
const PIECES: usize = 64;
type Pieces = pieces::Pieces<PIECES>;
/// Bytes that a level-2 descriptor maps.
const BLOCK: u64 = 2 << 20;
/// Least free memory with which it is worth going on, in bytes.
const LEAST: u64 = 16 << 20;

/// Bytes of metadata per frame: a reference count, and a table's counts.
const REFERENCE_BYTES: u64 = 4;
const COUNTS_BYTES: u64 = 32;

/// Why there is not enough memory to go on.
#[derive(Debug)]
pub enum Error {
    /// The device tree names no memory.
    None,
    /// Bytes of RAM: not enough.
    TooLittle(u64),
    /// Memory and reservations make more pieces than the kernel keeps apart.
    TooManyPieces,
    /// The kernel cannot map it.
    Map(KernelMapError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::None => f.write_str("the device tree names no memory"),
            Error::TooLittle(bytes) => write!(f, "too little memory: {} MiB, and 64 are known to suffice", bytes >> 20),
            Error::TooManyPieces => write!(f, "memory is in more than {PIECES} pieces"),
            Error::Map(error) => write!(f, "memory cannot be mapped: {error}"),
        }
    }
}

impl From<KernelMapError> for Error {
    fn from(error: KernelMapError) -> Self {
        Error::Map(error)
    }
}

impl From<TooManyPieces> for Error {
    fn from(_: TooManyPieces) -> Self {
        Error::TooManyPieces
    }
}

/// The machine's memory.
pub struct MemoryMap {
    ram: Pieces,
    mapped: Pieces,
    free: Pieces,
    /// Pages that hold a part of the archive and nothing else.
    archive: Pieces,
}

impl MemoryMap {
    /// Finds all memory and makes the kernel's map of it: direct map, metadata, stacks.
    pub fn build(tree: &DeviceTree, archive: Option<PhysRange>) -> Result<Self, Error> {
        let mut ram = Pieces::default();
        let mut result = Ok(());
        tree.for_each_memory(|range| {
            result = result.and(ram.add(PhysRange { start: range.start, end: range.end.min(DIRECT_LIMIT) }));
        });
        let mut mapped = ram.clone();
        result = result.and(mapped.remove(memory::image()));
        tree.for_each_reservation(|range, unmapped| {
            if unmapped {
                result = result.and(mapped.remove(range));
            }
        });
        let mut free = mapped.clone();
        result = result.and(free.remove(tree.range()));
        tree.for_each_reservation(|range, _| result = result.and(free.remove(range)));
        tree.for_each_core(|_, method| {
            // Cores that are still off spin in, and read from, such a page; on the Pi 4 it is page 0.
            if let Some(StartMethod::SpinTable { release }) = method {
                result = result.and(free.remove(PhysRange { start: release, end: release.saturating_add(8) }));
            }
        });
        // Last: what is still free where it lies is the archive's alone.
        let mut archive_pages = Pieces::default();
        if let Some(archive) = archive {
            let pages = whole_pages(archive);
            for piece in free.as_slice() {
                let own = PhysRange { start: piece.start.max(pages.start), end: piece.end.min(pages.end) };
                result = result.and(archive_pages.add(own));
            }
            result = result.and(free.remove(archive));
        }
        result?;
        if ram.total() == 0 {
            return Err(Error::None);
        }
        let mut map = MemoryMap { ram, mapped, free, archive: archive_pages };
        map.make_kernel_map()?;
        Ok(map)
    }

    /// Bytes of RAM.
    pub fn total(&self) -> u64 {
        self.ram.total()
    }

    /// Whether all of the range is in the direct map.
    pub fn is_mapped(&self, range: PhysRange) -> bool {
        self.mapped.contains(range)
    }

    /// Whether the archive, which this range is, has its pages for itself.
    pub fn holds_nothing_but(&self, archive: PhysRange) -> bool {
        self.archive.contains(whole_pages(archive))
    }

    /// Takes `bytes` of free memory, in whole pages, for good.
    pub fn take(&mut self, bytes: u64) -> Option<PhysRange> {
        let pages = self.free.take(bytes.next_multiple_of(PAGE), PAGE, 0)?;
        Some(PhysRange { start: pages.start, end: pages.start + bytes })
    }

    /// The largest piece of free memory, less so much that at least `LEAST` bytes of free memory are left.
    pub fn largest_free(&self) -> Option<PhysRange> {
        let piece = *self.free.as_slice().iter().max_by_key(|piece| piece.size())?;
        let spare = (self.free.total() - piece.size()).min(LEAST);
        let end = piece.end.checked_sub(LEAST - spare).filter(|&end| end > piece.start)?;
        Some(PhysRange { end, ..piece })
    }

    /// Takes the pages that hold this range out of the free memory.
    ///
    /// # Errors
    /// [`Error::TooManyPieces`].
    pub fn occupy(&mut self, range: PhysRange) -> Result<(), Error> {
        Ok(self.free.remove(range)?)
    }

    /// Frees the pages of the archive that hold nothing else: its content is elsewhere now.
    ///
    /// # Errors
    /// [`Error::TooManyPieces`].
    pub fn release_archive(&mut self) -> Result<(), Error> {
        let pages = core::mem::take(&mut self.archive);
        Ok(pages.as_slice().iter().try_for_each(|&piece| self.free.add(piece))?)
    }

    /// What is free for good, once the kernel's map is complete.
    pub fn into_free(mut self) -> Result<&'static [PhysRange], Error> {
        static FREE: Once<Pieces> = Once::new();
        self.free.add(MAP.lock().reclaim())?;
        Ok(FREE.call_once(|| self.free).as_slice())
    }

    fn make_kernel_map(&mut self) -> Result<(), Error> {
        let total = self.ram.total();
        if self.free.total() < LEAST {
            return Err(Error::TooLittle(total));
        }
        // Tables come out of one block of RAM, which is mapped first, so that each can be reached and
        // zeroed before it is linked.
        let block = self.free.take(BLOCK, BLOCK, 0).ok_or(Error::TooLittle(total))?;
        let mut map = MAP.lock();
        let map_directly = |map: &mut KernelMap, range: PhysRange| {
            map.map(memory::direct(range.start) as u64, range.start, range.size(), Mapping::ReadWrite)
        };
        map_directly(&mut map, block)?;
        map.supply(block);
        for &piece in self.mapped.as_slice() {
            // The block is mapped already: what lies before it and behind it.
            map_directly(&mut map, PhysRange { end: piece.end.min(block.start), ..piece })?;
            map_directly(&mut map, PhysRange { start: piece.start.max(block.end), ..piece })?;
        }
        drop(map);

        for piece in self.mapped.clone().as_slice() {
            for (base, bytes) in [(REFERENCES_BASE, REFERENCE_BYTES), (COUNTS_BASE, COUNTS_BYTES)] {
                let start = base + piece.start / PAGE * bytes;
                let end = base + piece.end / PAGE * bytes;
                self.map_zeroed(start & !(PAGE - 1), end.next_multiple_of(PAGE), total)?;
            }
        }
        for core in 0..MAX_CORES as u64 {
            let top = STACKS_BASE + (core + 1) * STACK_STRIDE;
            self.map_zeroed(top - STACK_SIZE, top, total)?;
        }
        Ok(())
    }

    /// Maps fresh zeroed memory at these kernel addresses, except where a neighbour did already.
    fn map_zeroed(&mut self, mut start: u64, mut end: u64, total: u64) -> Result<(), Error> {
        let map = MAP.lock();
        while start < end && map.is_mapped(start) {
            start += PAGE;
        }
        while start < end && map.is_mapped(end - PAGE) {
            end -= PAGE;
        }
        drop(map);
        if start == end {
            return Ok(());
        }
        // Blocks of 2 MiB map most of what is larger, if memory begins as far from one as addresses do.
        let bytes = end - start;
        let (alignment, offset) = if bytes < BLOCK { (PAGE, 0) } else { (BLOCK, start % BLOCK) };
        let fresh = self.free.take(bytes, alignment, offset).ok_or(Error::TooLittle(total))?;
        for page in (fresh.start..fresh.end).step_by(PAGE as usize) {
            // SAFETY: the page was free until now and is in the direct map.
            unsafe { memory::zero_page(memory::direct(page)) };
        }
        MAP.lock().map(start, fresh.start, bytes, Mapping::ReadWrite)?;
        Ok(())
    }
}

/// The pages that a range touches.
pub(super) const fn whole_pages(range: PhysRange) -> PhysRange {
    PhysRange { start: range.start / PAGE * PAGE, end: range.end.saturating_add(PAGE - 1) / PAGE * PAGE }
}
