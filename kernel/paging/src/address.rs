//! Typed addresses: frames, virtual addresses and ranges, levels of the tree.

use core::fmt;

use crate::Format;

/// log2 of the bytes in a page: the 4 KiB granule.
pub const PAGE_BITS: u32 = 12;
/// Bytes in a page, in a frame and in a table.
pub const PAGE_SIZE: u64 = 1 << PAGE_BITS;
/// Descriptors in a table.
pub const ENTRIES: usize = 512;
/// The most tables that a [`Memory`](crate::Memory) may have given out at a time: 32 GiB of them, so that 16 TiB can be
/// mapped page by page. Every reference to a frame is a descriptor in a table, so with fewer tables than that no count
/// of 32 bits overflows, for any number of frames.
pub const TABLES_MAX: u64 = (1 << 32) / ENTRIES as u64 - 1;
/// Bits of a virtual address that four levels translate. The format says how many of the addresses user space has
/// ([`USER_ENTRIES`](crate::Format::USER_ENTRIES)).
pub const ADDRESS_BITS: u32 = 48;

/// A physical frame of 4 KiB, by number: its physical address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u64);

impl Frame {
    /// The frame that holds this physical address.
    #[inline(always)]
    pub const fn containing(physical_address: u64) -> Frame {
        Frame(physical_address >> PAGE_BITS)
    }

    /// Physical address of the frame's first byte.
    #[inline(always)]
    pub const fn address(self) -> u64 {
        self.0 << PAGE_BITS
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({:#x})", self.address())
    }
}

/// A virtual address below 2^48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// The address, or `None` if it lies outside the lower 48-bit half.
    #[inline(always)]
    pub const fn new(address: u64) -> Option<VirtAddr> {
        if address >> ADDRESS_BITS == 0 { Some(VirtAddr(address)) } else { None }
    }

    /// The address as a number.
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether user space has the address in this format.
    #[inline(always)]
    pub(crate) const fn is_user<F: Format>(self) -> bool {
        F::USER_ENTRIES == ENTRIES || Level::ROOT.index(self) < F::USER_ENTRIES
    }

    /// First address of the page that holds this one.
    #[inline(always)]
    pub const fn page(self) -> VirtAddr {
        VirtAddr(self.0 & !(PAGE_SIZE - 1))
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A run of whole pages: `start` inclusive, `end` exclusive, both multiples of [`PAGE_SIZE`], not empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtRange {
    start: u64,
    end: u64,
}

impl VirtRange {
    /// Everything that the tree translates.
    pub const ALL: VirtRange = VirtRange { start: 0, end: 1 << ADDRESS_BITS };

    /// The range of `bytes` bytes from `start`; `None` if it is empty, not made of whole pages, or
    /// reaches past the lower 48-bit half.
    pub const fn new(start: u64, bytes: u64) -> Option<VirtRange> {
        let Some(end) = start.checked_add(bytes) else { return None };
        if bytes == 0 || (start | end) & (PAGE_SIZE - 1) != 0 || end > 1 << ADDRESS_BITS {
            return None;
        }
        Some(VirtRange { start, end })
    }

    /// The one page that holds this address.
    #[inline(always)]
    pub const fn page(address: VirtAddr) -> VirtRange {
        let start = address.page().0;
        VirtRange { start, end: start + PAGE_SIZE }
    }

    /// What the descriptor for `address` in a table of this level covers.
    #[inline(always)]
    pub const fn entry(address: VirtAddr, level: Level) -> VirtRange {
        let start = address.0 & !(level.span() - 1);
        VirtRange { start, end: start + level.span() }
    }

    /// First address.
    #[inline(always)]
    pub const fn start(self) -> u64 {
        self.start
    }

    /// One past the last address.
    #[inline(always)]
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Number of pages.
    #[inline(always)]
    pub const fn pages(self) -> u64 {
        (self.end - self.start) >> PAGE_BITS
    }

    /// Whether the address lies in the range.
    pub const fn contains(self, address: VirtAddr) -> bool {
        self.start <= address.0 && address.0 < self.end
    }

    /// The first address.
    #[inline(always)]
    pub(crate) fn first(self) -> VirtAddr {
        VirtAddr(self.start)
    }

    /// The addresses in both ranges.
    pub(crate) fn intersect(self, other: VirtRange) -> Option<VirtRange> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(VirtRange { start, end })
    }

    /// The smallest range that holds both.
    pub(crate) fn hull(self, other: VirtRange) -> VirtRange {
        VirtRange { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Where this part of `from` lies after a move to `to`, a range of the same size.
    pub(crate) const fn moved(self, from: VirtRange, to: VirtRange) -> VirtRange {
        VirtRange { start: self.start - from.start + to.start, end: self.end - from.start + to.start }
    }

    /// What entry `index` covers, in a table of `level` whose own first address is `base`.
    pub(crate) const fn slot(base: u64, level: Level, index: usize) -> VirtRange {
        let start = base + index as u64 * level.span();
        VirtRange { start, end: start + level.span() }
    }
}

impl fmt::Debug for VirtRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// A level of the tree, numbered as the Arm manual does: 0 is the root, 3 maps pages.
///
/// On x86_64 these are PML4 (0), PDPT (1), PD (2) and PT (3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level(u8);

impl Level {
    /// The root's level.
    pub const ROOT: Level = Level(0);
    /// The level whose entries map pages.
    pub const LAST: Level = Level(3);
    /// How many levels there are.
    pub const COUNT: usize = 4;

    /// The level with this number, 0 to 3.
    pub const fn new(number: u8) -> Option<Level> {
        if number <= 3 { Some(Level(number)) } else { None }
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    /// The level below.
    ///
    /// # Panics
    /// Below [`Level::LAST`] there is none.
    #[inline(always)]
    pub const fn below(self) -> Level {
        assert!(self.0 < 3, "no level below the last");
        Level(self.0 + 1)
    }

    /// The level above.
    ///
    /// # Panics
    /// Above [`Level::ROOT`] there is none.
    #[inline(always)]
    pub const fn above(self) -> Level {
        assert!(self.0 > 0, "no level above the root");
        Level(self.0 - 1)
    }

    /// log2 of the bytes that one entry of a table of this level covers.
    #[inline(always)]
    const fn shift(self) -> u32 {
        PAGE_BITS + 9 * (3 - self.0 as u32)
    }

    /// Bytes that one entry of a table of this level covers: 512 GiB, 1 GiB, 2 MiB, 4 KiB.
    #[inline(always)]
    pub const fn span(self) -> u64 {
        1 << self.shift()
    }

    /// The first address that the table of this level around an address covers.
    #[inline(always)]
    pub(crate) const fn base(self, address: VirtAddr) -> u64 {
        address.0 >> (self.shift() + 9) << (self.shift() + 9)
    }

    /// Pages that one entry of a table of this level covers.
    #[inline(always)]
    pub const fn pages(self) -> u64 {
        self.span() >> PAGE_BITS
    }

    /// The first frame of the leaf of this level that holds `frame`.
    #[inline(always)]
    pub(crate) const fn first_frame(self, frame: Frame) -> Frame {
        Frame(frame.0 & !(self.pages() - 1))
    }

    /// Entries of a table of this level that are the user's.
    #[inline(always)]
    pub(crate) const fn entries<F: Format>(self) -> usize {
        if self.0 == 0 { F::USER_ENTRIES } else { ENTRIES }
    }

    /// Which entry of a table of this level translates the address.
    #[inline(always)]
    pub const fn index(self, address: VirtAddr) -> usize {
        (address.0 >> self.shift()) as usize % ENTRIES
    }
}
