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
        kernel_map::{MAP, Mapping},
        memory::{self, COUNTS_BASE, DIRECT_LIMIT, PAGE, REFERENCES_BASE},
    },
    device_tree::DeviceTree,
    platform::PhysRange,
};
use core::fmt;
use graft_boot::{MAX_CORES, STACK_SIZE, STACK_STRIDE, STACKS_BASE};
use heapless::Vec;
use spin::Once;

/// Most pieces of memory that are kept apart. Real machines have less than ten.
const PIECES: usize = 64;
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::None => f.write_str("the device tree names no memory"),
            Error::TooLittle(bytes) => write!(f, "too little memory: {} MiB, and 64 are known to suffice", bytes >> 20),
            Error::TooManyPieces => write!(f, "memory is in more than {PIECES} pieces"),
        }
    }
}

/// The machine's memory.
pub struct MemoryMap {
    ram: Pieces,
    mapped: Pieces,
    free: Pieces,
}

impl MemoryMap {
    /// Finds all memory and makes the kernel's map of it: direct map, metadata, stacks.
    pub fn build(tree: &DeviceTree, archive: Option<PhysRange>) -> Result<Self, Error> {
        let mut ram = Pieces::default();
        let mut overflow = false;
        tree.for_each_memory(|range| overflow |= ram.add(range).is_err());
        let image = memory::image_physical();
        let mut mapped = ram.clone();
        overflow |= mapped.remove((image..image + memory::image_size()).into()).is_err();
        tree.for_each_reservation(|range, unmapped| {
            overflow |= unmapped && mapped.remove(range).is_err();
        });
        let mut free = mapped.clone();
        overflow |= free.remove(tree.range()).is_err();
        overflow |= archive.is_some_and(|archive| free.remove(archive).is_err());
        tree.for_each_reservation(|range, _| overflow |= free.remove(range).is_err());
        tree.for_each_core(|_, method| {
            // Cores that are still off spin in, and read from, such a page; on the Pi 4 it is page 0.
            if let Some(StartMethod::SpinTable { release }) = method {
                overflow |= free.remove((release..release + 8).into()).is_err();
            }
        });
        if overflow {
            return Err(Error::TooManyPieces);
        }
        if ram.total() == 0 {
            return Err(Error::None);
        }
        let mut map = MemoryMap { ram, mapped, free };
        map.make_kernel_map()?;
        Ok(map)
    }

    /// Bytes of RAM.
    pub fn total(&self) -> u64 {
        self.ram.total()
    }

    /// Whether all of the range is in the direct map.
    pub fn is_mapped(&self, range: PhysRange) -> bool {
        self.mapped.0.iter().any(|piece| piece.contains(range))
    }

    /// What is free for good, once the kernel's map is complete.
    pub fn into_free(mut self) -> Result<&'static [PhysRange], Error> {
        static FREE: Once<Pieces> = Once::new();
        let unused = MAP.lock().reclaim();
        self.free.add(unused.into()).map_err(|()| Error::TooManyPieces)?;
        Ok(&FREE.call_once(|| self.free).0)
    }

    fn make_kernel_map(&mut self) -> Result<(), Error> {
        let total = self.ram.total();
        if self.free.total() < LEAST {
            return Err(Error::TooLittle(total));
        }
        // Tables come out of one block of RAM, which is mapped first, so that each can be reached and
        // zeroed before it is linked.
        let block = self.take(BLOCK, 0).ok_or(Error::TooLittle(total))?;
        let mut map = MAP.lock();
        map.map(memory::direct(block) as u64, block, BLOCK, Mapping::ReadWrite);
        map.supply(block..block + BLOCK);
        for piece in &self.mapped.0 {
            map.map(memory::direct(piece.start) as u64, piece.start, piece.size(), Mapping::ReadWrite);
        }
        drop(map);

        for piece in self.mapped.clone().0 {
            for (base, bytes) in [(REFERENCES_BASE, REFERENCE_BYTES), (COUNTS_BASE, COUNTS_BYTES)] {
                let start = base + piece.start / PAGE * bytes;
                let end = base + piece.end / PAGE * bytes;
                self.map_zeroed(start & !(PAGE - 1), end.next_multiple_of(PAGE)).ok_or(Error::TooLittle(total))?;
            }
        }
        for core in 0..MAX_CORES as u64 {
            let top = STACKS_BASE + (core + 1) * STACK_STRIDE;
            self.map_zeroed(top - STACK_SIZE, top).ok_or(Error::TooLittle(total))?;
        }
        Ok(())
    }

    /// Maps fresh zeroed memory at these kernel addresses, except where a neighbour did already.
    fn map_zeroed(&mut self, mut start: u64, mut end: u64) -> Option<()> {
        let mut map = MAP.lock();
        while start < end && map.is_mapped(start) {
            start += PAGE;
        }
        while start < end && map.is_mapped(end - PAGE) {
            end -= PAGE;
        }
        drop(map);
        if start == end {
            return Some(());
        }
        let physical = self.take(end - start, start % BLOCK)?;
        for page in (physical..physical + (end - start)).step_by(PAGE as usize) {
            // SAFETY: the page was free until now and is in the direct map.
            unsafe { memory::zero_page(memory::direct(page)) };
        }
        MAP.lock().map(start, physical, end - start, Mapping::ReadWrite);
        Some(())
    }

    /// Takes free memory, as high as possible. From 2 MiB on it begins at `offset` from a multiple of
    /// 2 MiB, so that block descriptors can map most of it.
    fn take(&mut self, bytes: u64, offset: u64) -> Option<u64> {
        let start = self.free.0.iter().rev().find_map(|piece| {
            let highest = piece.end.checked_sub(bytes)?;
            let start = if bytes < BLOCK { highest } else { highest.checked_sub(offset)? / BLOCK * BLOCK + offset };
            (start >= piece.start).then_some(start)
        })?;
        self.free.remove((start..start + bytes).into()).ok()?;
        Some(start)
    }
}

/// Disjoint runs of whole pages in ascending order.
#[derive(Clone, Default)]
struct Pieces(Vec<PhysRange, PIECES>);

impl Pieces {
    fn total(&self) -> u64 {
        self.0.iter().map(|piece| piece.size()).sum()
    }

    /// Adds the whole pages of a range, as far as the direct map has room for them.
    fn add(&mut self, range: PhysRange) -> Result<(), ()> {
        let end = range.end.min(DIRECT_LIMIT) & !(PAGE - 1);
        let Some(start) = range.start.checked_next_multiple_of(PAGE).filter(|&start| start < end) else {
            return Ok(());
        };
        let mut merged = PhysRange { start, end };
        self.0.retain(|piece| {
            let touches = piece.start <= merged.end && merged.start <= piece.end;
            if touches {
                merged = PhysRange { start: merged.start.min(piece.start), end: merged.end.max(piece.end) };
            }
            !touches
        });
        self.insert(merged)
    }

    /// Removes every page that a range touches.
    fn remove(&mut self, range: PhysRange) -> Result<(), ()> {
        let start = range.start & !(PAGE - 1);
        let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1));
        if range.start >= range.end {
            return Ok(());
        }
        let mut rest: Vec<PhysRange, 2> = Vec::new();
        let mut result = Ok(());
        self.0.retain_mut(|piece| {
            let (below, above) =
                (PhysRange { start: piece.start, end: start }, PhysRange { start: end, end: piece.end });
            if piece.end <= start || end <= piece.start {
                return true;
            }
            for part in [below, above] {
                if part.size() > 0 {
                    result = result.and(rest.push(part).map_err(drop));
                }
            }
            false
        });
        rest.into_iter().try_for_each(|part| self.insert(part)).and(result)
    }

    fn insert(&mut self, piece: PhysRange) -> Result<(), ()> {
        let position = self.0.iter().position(|other| piece < *other).unwrap_or(self.0.len());
        self.0.insert(position, piece).map_err(drop)
    }
}
