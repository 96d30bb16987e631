//! A descriptor as it stands in a table: 64 bits, and the format that gives them a meaning.

use core::fmt;
use core::marker::PhantomData;

use crate::{Entry, Format, Frame, KernelEntry, LINE, Level};

/// A descriptor of a format.
///
/// A word and nothing else, so that it costs what a `u64` costs; but words of two formats, and words that are no
/// descriptors, do not mix. It does not know at which level it stands: what depends on that is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Descriptor<F: Format> {
    raw: u64,
    format: PhantomData<F>,
}

impl<F: Format> Descriptor<F> {
    /// Nothing is mapped.
    pub const EMPTY: Self = Descriptor::from_raw(0);

    /// The word as memory has it.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Descriptor { raw, format: PhantomData }
    }

    /// The word for memory.
    #[inline(always)]
    pub const fn raw(self) -> u64 {
        self.raw
    }

    /// The descriptor for an entry of a table of this level.
    #[inline(always)]
    pub fn new(entry: Entry, level: Level) -> Self {
        Descriptor::from_raw(F::encode(entry, level))
    }

    /// The descriptor for an entry of a table of this level in the kernel's own map.
    #[inline(always)]
    pub fn of_kernel(entry: KernelEntry, level: Level) -> Self {
        Descriptor::from_raw(F::encode_kernel(entry, level))
    }

    /// What it means in a table of this level. A retired descriptor is empty.
    #[inline(always)]
    pub fn entry(self, level: Level) -> Entry {
        F::decode(self.raw, level)
    }

    /// What it means in a table of this level in the kernel's own map.
    #[inline(always)]
    pub fn kernel_entry(self, level: Level) -> KernelEntry {
        F::decode_kernel(self.raw, level)
    }

    /// Whether nothing is mapped, reserved or retired.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.raw == 0
    }

    /// Whether the hardware would follow it.
    #[inline(always)]
    pub fn is_present(self) -> bool {
        F::is_present(self.raw)
    }

    /// Whether it leads to a table, from a table of this level.
    #[inline(always)]
    pub fn is_table(self, level: Level) -> bool {
        level != Level::LAST && self.is_present()
    }

    /// Whether it maps a page, in a table of this level.
    #[inline(always)]
    pub fn is_page(self, level: Level) -> bool {
        level == Level::LAST && self.is_present()
    }

    /// Whether it has been [retired](Self::retired).
    #[inline(always)]
    pub fn is_retired(self) -> bool {
        F::is_retired(self.raw)
    }

    /// Whether the frame that a present page descriptor leads to counts its references.
    #[inline(always)]
    pub fn is_counted(self) -> bool {
        F::is_counted(self.raw)
    }

    /// Whether a present table descriptor refuses stores below it.
    #[inline(always)]
    pub fn is_read_only_table(self) -> bool {
        F::is_read_only_table(self.raw)
    }

    /// The frame that a present or retired descriptor leads to.
    #[inline(always)]
    pub fn output(self) -> Frame {
        F::output(self.raw)
    }

    /// A present descriptor without write permission: for a table, for the whole subtree.
    #[inline(always)]
    pub fn write_protected(self, level: Level) -> Self {
        Descriptor::from_raw(F::write_protect(self.raw, level))
    }

    /// A present descriptor with write permission. The caller knows that the page may be written.
    #[inline(always)]
    pub fn write_enabled(self, level: Level) -> Self {
        Descriptor::from_raw(F::write_enable(self.raw, level))
    }

    /// A present descriptor made invalid that still says what it led to: it waits for the TLB invalidation after which
    /// its reference is dropped.
    #[inline(always)]
    pub fn retired(self) -> Self {
        Descriptor::from_raw(F::retire(self.raw))
    }

    /// What a retired descriptor was.
    #[inline(always)]
    pub fn restored(self) -> Self {
        Descriptor::from_raw(F::restore(self.raw))
    }
}

impl<F: Format> fmt::Debug for Descriptor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:#x}", F::NAME, self.raw)
    }
}

/// The descriptors of one line of a table.
#[derive(Clone, Copy)]
pub(crate) struct Line<F: Format>(pub(crate) [Descriptor<F>; LINE]);

impl<F: Format> Line<F> {
    #[inline(always)]
    pub(crate) fn from_raw(words: [u64; LINE]) -> Self {
        Line(words.map(Descriptor::from_raw))
    }

    #[inline(always)]
    pub(crate) fn raw(self) -> [u64; LINE] {
        self.0.map(Descriptor::raw)
    }

    /// Whether all of them are.
    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        self.0.into_iter().fold(0, |any, descriptor| any | descriptor.raw) == 0
    }

    /// A word that is present if all of them are, and counted if all of them are; it says nothing else.
    #[inline(always)]
    pub(crate) fn in_common(self) -> Descriptor<F> {
        Descriptor::from_raw(self.0.into_iter().fold(!0, |all, descriptor| all & descriptor.raw))
    }
}

/// Whether any of many present descriptors of one level lets stores through: one instruction for each.
#[derive(Clone, Copy)]
pub(crate) struct Writability<F: Format>(Descriptor<F>);

impl<F: Format> Writability<F> {
    /// Of no descriptor.
    pub(crate) const NONE: Self = Writability(Descriptor::from_raw(F::PROTECTED));

    #[inline(always)]
    pub(crate) fn of(descriptors: Line<F>) -> Self {
        descriptors.0.into_iter().fold(Self::NONE, Self::with)
    }

    /// With one more.
    #[inline(always)]
    pub(crate) fn with(self, descriptor: Descriptor<F>) -> Self {
        Writability(Descriptor::from_raw(F::both(self.0.raw, descriptor.raw)))
    }

    /// With those of another.
    #[inline(always)]
    pub(crate) fn and(self, other: Self) -> Self {
        self.with(other.0)
    }

    /// Whether any of them, in tables of this level, lets stores through.
    #[inline(always)]
    pub(crate) fn is_any(self, level: Level) -> bool {
        self.0.write_protected(level) != self.0
    }
}
