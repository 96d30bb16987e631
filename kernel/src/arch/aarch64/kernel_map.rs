//! The kernel's own translation tables: what is added to the root that `boot/` made.
//!
//! Only entries that are invalid get a value, and a value never changes: no break-before-make, no
//! TLB invalidation. Done by the first core before the others run.

use super::memory::{self, PAGE};
use crate::arch::PhysRange;
use aarch64_cpu::asm::barrier;
use core::{cell::UnsafeCell, mem};
use graft_boot::IMAGE_BASE;
use spin::Mutex;

/// What may be done with a kernel mapping. Never executable: only the image's text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Ordinary memory.
    ReadWrite,
    /// Ordinary memory that nobody stores to.
    ReadOnly,
    /// Device registers: Device-nGnRE.
    Device,
}

impl Mapping {
    /// Descriptor bits of a block; a page has bit 1 set as well.
    const fn attributes(self) -> u64 {
        const VALID: u64 = 1;
        const DEVICE: u64 = 1 << 2; // AttrIndx, see `graft_boot::MEMORY_ATTRIBUTES`
        const READ_ONLY: u64 = 1 << 7; // AP[2]
        const INNER_SHAREABLE: u64 = 3 << 8;
        const ACCESSED: u64 = 1 << 10;
        const NEVER_EXECUTE: u64 = 1 << 53 | 1 << 54; // PXN, UXN
        let common = VALID | ACCESSED | NEVER_EXECUTE;
        match self {
            Mapping::ReadWrite => common | INNER_SHAREABLE,
            Mapping::ReadOnly => common | INNER_SHAREABLE | READ_ONLY,
            Mapping::Device => common | DEVICE,
        }
    }
}

const VALID: u64 = 0b01;
const TABLE: u64 = 0b11;
const TABLE_OR_PAGE: u64 = 0b10;
const ADDRESS: u64 = 0x0000_FFFF_FFFF_F000;
const ENTRIES: usize = 512;
const BLOCK: u64 = 2 << 20;

/// Tables that exist before any RAM is known: windows for the device tree, the first devices and the
/// first piece of RAM.
const EARLY_TABLES: usize = 8;

#[repr(C, align(4096))]
struct EarlyTables(UnsafeCell<[[u64; ENTRIES]; EARLY_TABLES]>);

// SAFETY: each table is handed out once, to `MAP`, whose lock orders everything after.
unsafe impl Sync for EarlyTables {}

static EARLY: EarlyTables = EarlyTables(UnsafeCell::new([[0; ENTRIES]; EARLY_TABLES]));

unsafe extern "C" {
    static KERNEL_ROOT: UnsafeCell<[u64; ENTRIES]>;
}

/// Adds to the kernel's half of the address space.
pub struct KernelMap {
    early_used: usize,
    /// RAM for more tables, already in the direct map.
    spare: PhysRange,
    next_device: u64,
}

const NONE: PhysRange = PhysRange { start: 0, end: 0 };

/// The one instance.
pub static MAP: Mutex<KernelMap> =
    Mutex::new(KernelMap { early_used: 0, spare: NONE, next_device: memory::DEVICES_BASE });

/// Takes the lock away from whoever holds it, for a panic.
///
/// # Safety
///
/// The holder, if there is one, does not go on.
pub unsafe fn seize() {
    // SAFETY: the caller has seen to it that nobody is using what the lock protects.
    unsafe { MAP.force_unlock() };
}

impl KernelMap {
    /// Maps `bytes` of physical memory at `address`. All three are multiples of the page size. What is
    /// mapped in the same way already stays.
    ///
    /// # Panics
    ///
    /// Something else is mapped there, or no memory is left for tables: the caller saw to both.
    pub fn map(&mut self, address: u64, physical: u64, bytes: u64, mapping: Mapping) {
        assert_eq!((address | physical | bytes) % PAGE, 0, "kernel mapping is not a number of pages");
        let mut done = 0;
        while done < bytes {
            done += self.map_one(address + done, physical + done, bytes - done, mapping);
        }
        // The walks of this core, and of those that start later, see the new descriptors.
        barrier::dsb(barrier::ISHST);
        barrier::isb(barrier::SY);
    }

    /// Whether something is mapped at `address`.
    pub fn is_mapped(&mut self, address: u64) -> bool {
        let mut table = &raw const KERNEL_ROOT as *mut u64;
        for level in 1..=3 {
            // SAFETY: `table` is a table of the kernel's, the lock on `MAP` is held.
            let entry = unsafe { table.add(index(address, level)).read_volatile() };
            if entry & VALID == 0 {
                return false;
            }
            if level == 3 || entry & TABLE_OR_PAGE == 0 {
                return true;
            }
            table = table_at(entry & ADDRESS);
        }
        false
    }

    /// Gives RAM, already in the direct map, for tables.
    pub fn supply(&mut self, spare: PhysRange) {
        self.spare = spare;
    }

    /// Takes back what is left of it.
    pub fn reclaim(&mut self) -> PhysRange {
        mem::replace(&mut self.spare, NONE)
    }

    /// Maps the pages that hold device registers; returns where the first register is.
    pub fn map_device(&mut self, physical: u64, bytes: u64) -> u64 {
        let first = physical & !(PAGE - 1);
        let end = (physical + bytes).next_multiple_of(PAGE);
        let window = if end - first < BLOCK {
            self.next_device
        } else {
            // Congruent to the physical address, so that most of it is mapped in blocks of 2 MiB.
            self.next_device.next_multiple_of(BLOCK) + first % BLOCK
        };
        self.map(window, first, end - first, Mapping::Device);
        // One page stays free between devices: a wrong offset faults.
        self.next_device = window + (end - first) + PAGE;
        window + (physical - first)
    }

    /// Maps the largest block or page that fits at `address`; returns its size.
    fn map_one(&mut self, address: u64, physical: u64, left: u64, mapping: Mapping) -> u64 {
        let mut table = &raw const KERNEL_ROOT as *mut u64;
        for level in 1..=3 {
            let size = PAGE << (9 * (3 - level));
            // SAFETY: `table` is a table of the kernel's, and the index is below 512.
            let slot = unsafe { table.add(index(address, level)) };
            // SAFETY: the lock on `MAP` is held; other than by walks nobody else reads it.
            let entry = unsafe { slot.read_volatile() };
            let fits = left >= size && (address | physical).is_multiple_of(size);
            if fits && (entry & VALID == 0 || level == 3 || entry & TABLE_OR_PAGE == 0) {
                let page = if level == 3 { TABLE_OR_PAGE } else { 0 };
                let leaf = physical | mapping.attributes() | page;
                assert!(entry == 0 || entry == leaf, "kernel address {address:#x} is mapped already");
                // SAFETY: the entry was invalid or has this value.
                unsafe { slot.write_volatile(leaf) };
                return size;
            }
            if entry & VALID == 0 {
                let next = self.new_table();
                // SAFETY: the entry was invalid; the new table is all invalid.
                unsafe { slot.write_volatile(next | TABLE) };
                table = table_at(next);
            } else {
                assert!(entry & TABLE_OR_PAGE != 0, "kernel address {address:#x} is mapped already");
                table = table_at(entry & ADDRESS);
            }
        }
        unreachable!("a page fits at level 3")
    }

    /// The physical address of a table whose entries are all invalid, before any walk can find it.
    fn new_table(&mut self) -> u64 {
        if self.early_used < EARLY_TABLES {
            let table = EARLY.0.get() as u64 + self.early_used as u64 * PAGE;
            self.early_used += 1;
            return memory::image_to_physical(table);
        }
        assert!(self.spare.size() > 0, "no memory for kernel tables");
        let table = self.spare.start;
        self.spare.start += PAGE;
        // SAFETY: the page was given for this purpose and is in the direct map.
        unsafe { memory::zero_page(memory::direct(table)) };
        // The zeroes are visible before the descriptor that leads to them.
        barrier::dmb(barrier::ISHST);
        table
    }
}

const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (3 - level))) as usize % ENTRIES
}

/// Where the kernel sees the table at this physical address: in its image or in the direct map.
fn table_at(physical: u64) -> *mut u64 {
    let image = memory::image();
    if (image.start..image.end).contains(&physical) {
        (physical - image.start + IMAGE_BASE) as *mut u64
    } else {
        memory::direct(physical).cast()
    }
}
