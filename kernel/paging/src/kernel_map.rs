//! The kernel's own map: what it sees of memory and of devices, by the largest leaves that fit.
//!
//! ```text
//!  virtual   ...|page|        2 MiB block        |  2 MiB block  |page|page|...      one range, mapped in one call
//!               ▲    ▲                                           ▲
//!               │    both addresses are multiples of 2 MiB,      what is left is less than a block
//!               not a multiple of 2 MiB                          and at least 2 MiB are left
//! ```
//!
//! Nothing here is shared, counted or copied, so it has none of the tree's machinery: an entry is empty, leads to a
//! table or is a leaf, and goes from empty to one of the others and, for a leaf, back. A present descriptor never
//! changes into another one, so there is nothing to break before making (Arm ARM, "Using break-before-make when
//! updating translation table entries"). Tables stay for as long as the map.

mod entry;
mod error;
mod memory;

pub use entry::{KernelEntry, KernelTranslation, Leaf, Mapping};
pub use error::KernelMapError;
pub use memory::KernelMemory;

use core::marker::PhantomData;

use crate::gate::complete;
use crate::{AddressSpace, Descriptor, ENTRIES, Format, Frame, Level, Memory, PAGE_SIZE, VirtAddr, VirtRange};

/// A kernel's map of its half of the addresses.
///
/// An entry is empty, leads to a table or is a leaf. A present one never changes into another one, so there is nothing
/// to break before making; a leaf can be taken away. Tables stay for as long as the map.
pub struct KernelMap<F, M> {
    memory: M,
    format: PhantomData<fn() -> F>,
}

/// A run of pages, virtual and physical. Virtual addresses count from the first that the root's entry 0 translates.
#[derive(Clone, Copy)]
struct Part {
    range: VirtRange,
    physical: u64,
}

impl Part {
    /// What of it each entry of a table of `level` translates, with the entry's index.
    fn slots(self, level: Level) -> impl Iterator<Item = (usize, Part)> {
        let mut next = self.range.start();
        core::iter::from_fn(move || {
            let address = VirtAddr::new(next).filter(|_| next < self.range.end())?;
            let range = VirtRange::entry(address, level).intersect(self.range)?;
            next = range.end();
            let physical = self.physical + (range.start() - self.range.start());
            Some((level.index(address), Part { range, physical }))
        })
    }

    /// Whether it is all of an entry of `level`.
    fn is_whole(self, level: Level) -> bool {
        self.range.pages() == level.pages()
    }
}

impl<F: Format, M: KernelMemory> KernelMap<F, M> {
    /// The map whose root is the memory's, with all that is mapped there already.
    pub const fn new(memory: M) -> Self {
        KernelMap { memory, format: PhantomData }
    }

    /// Where the tables come from.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// The first address of the kernel's half, which ends with the last address of 64 bits.
    pub fn first_address(&self) -> u64 {
        let (_, level) = self.memory.root();
        let user = if level == Level::ROOT { F::USER_ENTRIES % ENTRIES } else { 0 };
        ((ENTRIES - user) as u64 * level.span()).wrapping_neg()
    }

    /// Maps `bytes` of physical memory at `address`, by the largest leaves that fit.
    ///
    /// This gives safe code no access to the memory: reading it at the address still takes a pointer.
    ///
    /// # Errors
    /// [`KernelMapError`]; nothing is mapped then that was not before, and no table has been made.
    pub fn map(&mut self, address: u64, physical: u64, bytes: u64, mapping: Mapping) -> Result<(), KernelMapError> {
        let Some(range) = self.range(address, bytes)? else { return Ok(()) };
        if !physical.is_multiple_of(PAGE_SIZE) {
            return Err(KernelMapError::Unaligned(physical));
        }
        if physical.checked_add(bytes).is_none_or(|end| end > 1 << F::PHYSICAL_BITS) {
            return Err(KernelMapError::NoPhysical(physical));
        }
        let part = Part { range, physical };
        let (root, level) = self.memory.root();
        let tables = self.plan(Some(root), level, part)?;
        self.memory.reserve(tables)?;
        self.fill(root, level, part, mapping);
        self.memory.publish();
        Ok(())
    }

    /// Removes mappings, always whole leaves. Their tables stay: the next mapping there needs none.
    ///
    /// # Errors
    /// [`KernelMapError::NotMapped`] at the first hole, [`KernelMapError::PartOfBlock`] where only a part of a block is
    /// in the range; nothing has changed then.
    ///
    /// # Safety
    /// Nothing uses these addresses.
    #[expect(unsafe_code, reason = "pointers may lead there")]
    pub unsafe fn unmap(&mut self, address: u64, bytes: u64) -> Result<(), KernelMapError> {
        let Some(range) = self.range(address, bytes)? else { return Ok(()) };
        let part = Part { range, physical: 0 };
        let (root, level) = self.memory.root();
        self.visit_leaves(root, level, part, &mut |_, _, _, _| {})?;
        self.visit_leaves(root, level, part, &mut |map, table, level, index| {
            map.store(table, level, index, KernelEntry::Empty);
        })?;
        self.memory.invalidate(address, bytes);
        Ok(())
    }

    /// Where an address leads, as the processor would find it.
    pub fn translate(&self, address: u64) -> Option<KernelTranslation> {
        let page = address & !(PAGE_SIZE - 1);
        let start = self.range(page, PAGE_SIZE).ok()??.start();
        let offset = VirtAddr::new(start + address % PAGE_SIZE)?;
        let (mut table, mut level) = self.memory.root();
        loop {
            match self.load(table, level, level.index(offset)) {
                KernelEntry::Empty => return None,
                KernelEntry::Table(next) => (table, level) = (next, level.below()),
                KernelEntry::Leaf(Leaf { frame, mapping }) => {
                    let physical = frame.address() + offset.get() % level.span();
                    return Some(KernelTranslation { physical, mapping, level });
                }
            }
        }
    }

    /// Makes tables for the empty entries of the root that translate a range, so that no later mapping there changes
    /// the root. For [roots that have been linked](Self::link_into): what is mapped later appears in each of them.
    ///
    /// # Errors
    /// [`KernelMapError`]; no table is made then.
    pub fn prepare(&mut self, address: u64, bytes: u64) -> Result<(), KernelMapError> {
        let Some(range) = self.range(address, bytes)? else { return Ok(()) };
        let (root, level) = self.memory.root();
        let slots = Part { range, physical: 0 }.slots(level);
        let missing = |map: &Self, index| map.load(root, level, index) == KernelEntry::Empty;
        self.memory.reserve(slots.filter(|&(index, _)| missing(self, index)).count() as u64)?;
        for (index, _) in (Part { range, physical: 0 }).slots(level) {
            if missing(self, index) {
                let table = self.memory.allocate();
                complete();
                self.store(root, level, index, KernelEntry::Table(table));
            }
        }
        self.memory.publish();
        Ok(())
    }

    /// Puts the kernel's half into the root of a space, where one root serves both halves; where the kernel has a root
    /// of its own there is nothing to do. Walkers see it once [`Tlb::publish`](crate::Tlb::publish) has returned.
    ///
    /// # Safety
    /// The map's tables are there for as long as the space.
    #[expect(unsafe_code, reason = "a processor follows the descriptors")]
    pub unsafe fn link_into<S: Memory>(&self, space: &mut AddressSpace<F, S>) {
        let (root, level) = self.memory.root();
        for index in F::USER_ENTRIES..ENTRIES {
            let descriptor = Descriptor::of_kernel(self.load(root, level, index), level);
            // SAFETY: what the map maps the user cannot reach; the caller promises the rest.
            unsafe { space.set_kernel_entry(index, descriptor) };
        }
    }

    /// A range of kernel addresses as the walk sees it; `None` if it is empty.
    fn range(&self, address: u64, bytes: u64) -> Result<Option<VirtRange>, KernelMapError> {
        if let Some(value) = [address, bytes].into_iter().find(|value| !value.is_multiple_of(PAGE_SIZE)) {
            return Err(KernelMapError::Unaligned(value));
        }
        let first = self.first_address();
        // Up to the last address of 64 bits, whose successor does not fit in 64 bits.
        if address < first || bytes > address.wrapping_neg() {
            return Err(KernelMapError::OutOfRange(address));
        }
        Ok(VirtRange::new(address - self.base(), bytes))
    }

    /// The address that entry 0 of the root would translate first.
    fn base(&self) -> u64 {
        (ENTRIES as u64 * self.memory.root().1.span()).wrapping_neg()
    }

    /// Whether a leaf of `level` maps all of this.
    fn fits(&self, level: Level, part: Part) -> bool {
        let allowed = level >= F::LARGEST_LEAF && level >= self.memory.largest_leaf();
        allowed && part.is_whole(level) && part.physical.is_multiple_of(level.span())
    }

    /// How many tables it takes to map `part`, if nothing is mapped there. `table` is `None` where there is no table
    /// yet.
    fn plan(&self, table: Option<Frame>, level: Level, part: Part) -> Result<u64, KernelMapError> {
        let mut tables = 0;
        for (index, slot) in part.slots(level) {
            tables += match table.map_or(KernelEntry::Empty, |table| self.load(table, level, index)) {
                KernelEntry::Leaf(_) => return Err(KernelMapError::Occupied(self.base() + slot.range.start())),
                KernelEntry::Table(next) => self.plan(Some(next), level.below(), slot)?,
                KernelEntry::Empty if self.fits(level, slot) => 0,
                KernelEntry::Empty => 1 + self.plan(None, level.below(), slot)?,
            };
        }
        Ok(tables)
    }

    /// Carries out the plan. A new table is linked once it is full.
    fn fill(&mut self, table: Frame, level: Level, part: Part, mapping: Mapping) {
        for (index, slot) in part.slots(level) {
            let entry = match self.load(table, level, index) {
                KernelEntry::Leaf(_) => unreachable!("the plan has found nothing here"),
                KernelEntry::Table(next) => {
                    self.fill(next, level.below(), slot, mapping);
                    continue;
                }
                KernelEntry::Empty if self.fits(level, slot) => {
                    KernelEntry::Leaf(Leaf { frame: Frame::containing(slot.physical), mapping })
                }
                KernelEntry::Empty => {
                    let next = self.memory.allocate();
                    self.fill(next, level.below(), slot, mapping);
                    complete();
                    KernelEntry::Table(next)
                }
            };
            self.store(table, level, index, entry);
        }
    }

    /// Calls `each` with every leaf of a range: its table, level and index.
    fn visit_leaves(
        &mut self,
        table: Frame,
        level: Level,
        part: Part,
        each: &mut impl FnMut(&mut Self, Frame, Level, usize),
    ) -> Result<(), KernelMapError> {
        for (index, slot) in part.slots(level) {
            match self.load(table, level, index) {
                KernelEntry::Empty => return Err(KernelMapError::NotMapped(self.base() + slot.range.start())),
                KernelEntry::Table(next) => self.visit_leaves(next, level.below(), slot, each)?,
                KernelEntry::Leaf(_) if slot.is_whole(level) => each(self, table, level, index),
                KernelEntry::Leaf(_) => {
                    let block = slot.range.start() / level.span() * level.span();
                    return Err(KernelMapError::PartOfBlock(self.base() + block));
                }
            }
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "of a table of the map's own")]
    fn load(&self, table: Frame, level: Level, index: usize) -> KernelEntry {
        // SAFETY: the root, or a table that a descriptor of the map leads to: `fill` and `prepare` alone make those,
        // of frames that were allocated. The index is an entry's.
        Descriptor::<F>::from_raw(unsafe { self.memory.load(table, index) }).kernel_entry(level)
    }

    #[expect(unsafe_code, reason = "as above")]
    fn store(&mut self, table: Frame, level: Level, index: usize, entry: KernelEntry) {
        // SAFETY: as for `load`.
        unsafe { self.memory.store(table, index, Descriptor::<F>::of_kernel(entry, level).raw()) };
    }
}
