//! What a kernel brings for the map of its own half.

use crate::{Frame, Level, OutOfMemory};

/// The tables of a kernel's map, and the processors that walk them.
///
/// It needs less than a [`Memory`](crate::Memory): a kernel makes its map before it has counts for frames, and the map
/// often maps the memory that its own tables are in.
///
/// # Safety
/// A [`KernelMap`](crate::KernelMap) stores descriptors that processors follow, and relies on what these functions
/// promise:
/// - [`root`](KernelMemory::root) is always the same table, of this level; the map alone changes it and what it leads
///   to;
/// - [`allocate`](KernelMemory::allocate) hands out frames that nothing else uses, with [`ENTRIES`](crate::ENTRIES)
///   words of 0 that a walker finds there once it follows a descriptor to it;
/// - [`load`](KernelMemory::load) and [`store`](KernelMemory::store) are single-copy atomic, at least relaxed, and a
///   store is what the hardware walker reads after [`publish`](KernelMemory::publish);
/// - [`largest_leaf`](KernelMemory::largest_leaf) is a level at which the processors allow leaves;
/// - [`invalidate`](KernelMemory::invalidate) leaves nothing of the range in any TLB.
#[expect(unsafe_code, reason = "implementing it is a promise")]
pub unsafe trait KernelMemory {
    /// The table at which a walk of kernel addresses begins, and its level: level 0, or a lower one where the half
    /// that a root of its own serves is smaller (Arm: `TCR_EL1.T1SZ`; 25 means that it begins at level 1).
    fn root(&self) -> (Frame, Level);

    /// The highest level with leaves, if the format has leaves there. By default level 1, for blocks of 1 GiB (x86_64:
    /// only if `CPUID.80000001H:EDX.Page1GB` is set).
    fn largest_leaf(&self) -> Level {
        Level::ROOT.below()
    }

    /// Reserves frames, so that the next `tables` calls of [`allocate`](KernelMemory::allocate) succeed.
    ///
    /// # Errors
    /// If there are not as many frames. Nothing has changed then.
    fn reserve(&mut self, tables: u64) -> Result<(), OutOfMemory>;

    /// A frame for a table, one of those that were reserved; all of its entries are 0.
    fn allocate(&mut self) -> Frame;

    /// Reads a descriptor.
    ///
    /// # Safety
    /// The frame is the root or was allocated; `index` is below [`ENTRIES`](crate::ENTRIES).
    unsafe fn load(&self, table: Frame, index: usize) -> u64;

    /// Writes a descriptor.
    ///
    /// # Safety
    /// As for [`load`](KernelMemory::load), and the caller is the map.
    unsafe fn store(&mut self, table: Frame, index: usize, raw: u64);

    /// Makes stores into tables visible to every hardware walker (Arm: `DSB ISHST`, `ISB`).
    fn publish(&self);

    /// Invalidates everything that any core has cached of a range of kernel addresses, leaves of any level. Earlier
    /// stores are visible to walkers first (Arm: `DSB ISHST`, `TLBI VAAE1IS`, `DSB ISH`, `ISB`; x86_64: `INVLPG`, which
    /// reaches global pages, on every core).
    fn invalidate(&self, address: u64, bytes: u64);
}
