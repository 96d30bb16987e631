//! The kernel's own translation tables: the root that `boot/` made, where tables come from, and windows for devices.
//!
//! `graft_paging::KernelMap` decides which leaves map a range. The first core maps everything before the others run.

use super::{
    memory::{self, PAGE},
    tlb,
};
use crate::arch::PhysRange;
use core::{cell::UnsafeCell, mem, sync::atomic::AtomicU64, sync::atomic::Ordering::Relaxed};
use graft_boot::{IMAGE_BASE, STACKS_BASE};
use graft_paging::{AArch64, ENTRIES, Frame, KernelMemory, Level, OutOfMemory};
pub use graft_paging::{KernelMapError, Mapping};
use spin::Mutex;

const BLOCK: u64 = Level::LAST.above().span();

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
    map: graft_paging::KernelMap<AArch64, Tables>,
    next_device: u64,
}

/// The one instance.
pub static MAP: Mutex<KernelMap> = Mutex::new(KernelMap {
    map: graft_paging::KernelMap::new(Tables { early_used: 0, spare: NONE }),
    next_device: memory::DEVICES_BASE,
});

const NONE: PhysRange = PhysRange { start: 0, end: 0 };

/// Releases the lock in place of its holder, for a panic.
///
/// # Safety
///
/// The holder, if there is one, does not go on.
pub unsafe fn seize() {
    // SAFETY: the caller guarantees that no core goes on using what the lock protects.
    unsafe { MAP.force_unlock() };
}

impl KernelMap {
    /// Maps `bytes` of physical memory at `address`. All three are multiples of the page size.
    ///
    /// # Errors
    ///
    /// [`KernelMapError`]; then nothing new has been mapped.
    pub fn map(&mut self, address: u64, physical: u64, bytes: u64, mapping: Mapping) -> Result<(), KernelMapError> {
        self.map.map(address, physical, bytes, mapping)
    }

    /// Whether something is mapped at `address`.
    pub fn is_mapped(&self, address: u64) -> bool {
        self.map.translate(address).is_some()
    }

    /// Gives RAM, already in the direct map, for tables.
    pub fn supply(&mut self, spare: PhysRange) {
        self.map.memory_mut().spare = spare;
    }

    /// Takes back what is left of it.
    pub fn reclaim(&mut self) -> PhysRange {
        mem::replace(&mut self.map.memory_mut().spare, NONE)
    }

    /// Maps the pages that hold device registers, at least the one at `physical`; returns where the first register is.
    ///
    /// # Errors
    ///
    /// [`KernelMapError`]: the processor has no such address, or there is no room for so many registers.
    pub fn map_device(&mut self, physical: u64, bytes: u64) -> Result<u64, KernelMapError> {
        let first = physical & !(PAGE - 1);
        let end = physical.checked_add(bytes.max(1)).and_then(|end| end.checked_next_multiple_of(PAGE));
        let length = end.ok_or(KernelMapError::NoPhysical(physical))? - first;
        let window = if length < BLOCK {
            self.next_device
        } else {
            // Congruent to the physical address, so that most of it is mapped in blocks of 2 MiB.
            self.next_device.next_multiple_of(BLOCK) + first % BLOCK
        };
        // One page stays free between devices: a wrong offset faults.
        let next = length.checked_add(PAGE).and_then(|length| window.checked_add(length));
        let next = next.filter(|&next| next <= STACKS_BASE).ok_or(KernelMapError::OutOfRange(window))?;
        self.map(window, first, length, Mapping::Device)?;
        self.next_device = next;
        Ok(window + (physical - first))
    }
}

/// Where tables come from: the image at first, then RAM.
struct Tables {
    early_used: usize,
    /// RAM for more tables, already in the direct map.
    spare: PhysRange,
}

// SAFETY: `boot/` has put the root into TTBR1_EL1 and says in TCR_EL1 (T1SZ) that the walk begins at level 1, and
// never looks at it again; the early tables are zero and handed out once, and so is the spare RAM, page by page. All
// of this is ordinary cached memory, as TCR_EL1 says of walks, and accessed through atomics. Every processor has blocks
// of 1 GiB and 2 MiB.
unsafe impl KernelMemory for Tables {
    fn root(&self) -> (Frame, Level) {
        let root = memory::image_to_physical(&raw const KERNEL_ROOT as u64);
        (Frame::containing(root), Level::ROOT.below())
    }

    fn reserve(&mut self, tables: u64) -> Result<(), OutOfMemory> {
        let left = (EARLY_TABLES - self.early_used) as u64 + self.spare.size() / PAGE;
        if tables <= left { Ok(()) } else { Err(OutOfMemory) }
    }

    fn allocate(&mut self) -> Frame {
        if self.early_used < EARLY_TABLES {
            let table = EARLY.0.get() as u64 + self.early_used as u64 * PAGE;
            self.early_used += 1;
            return Frame::containing(memory::image_to_physical(table));
        }
        assert!(self.spare.size() > 0, "more tables than were reserved");
        let table = self.spare.start;
        self.spare.start += PAGE;
        // SAFETY: the page was given for this purpose and is in the direct map.
        unsafe { memory::zero_page(memory::direct(table)) };
        Frame::containing(table)
    }

    unsafe fn load(&self, table: Frame, index: usize) -> u64 {
        // SAFETY: a word of one of the kernel's tables, which are there for good and accessed by atomics only.
        unsafe { AtomicU64::from_ptr(table_at(table).add(index)) }.load(Relaxed)
    }

    unsafe fn store(&mut self, table: Frame, index: usize, raw: u64) {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(table_at(table).add(index)) }.store(raw, Relaxed);
    }

    /// The walks of this core, and of those that start later, see the new descriptors.
    fn publish(&self) {
        tlb::publish();
    }

    /// All of them, because the kernel keeps what it maps: taking something away is rare, and may be slow.
    fn invalidate(&self, _address: u64, _bytes: u64) {
        tlb::invalidate_all();
    }
}

/// Where the kernel sees a table: in its image or in the direct map.
fn table_at(table: Frame) -> *mut u64 {
    let (physical, image) = (table.address(), memory::image());
    if (image.start..image.end).contains(&physical) {
        (physical - image.start + IMAGE_BASE) as *mut u64
    } else {
        memory::direct(physical).cast()
    }
}
