//! An address space: a root and the operations on the tree below it.

use core::marker::PhantomData;

use crate::commit::{Commit, Source};
use crate::exit::Dead;
use crate::gate::{Exclusive, Fresh, Path};
use crate::{Entry, Format, Frame, Level, Memory, OutOfMemory, Page, Permissions, Purpose, VirtAddr};

/// An address space.
///
/// `&mut self` is the lock: whoever shares a space between threads puts it behind one. No lock is needed between spaces, whatever
/// they share.
///
/// A space must be [`destroy`](AddressSpace::destroy)ed: dropping it would leak its tables, because the
/// TLBs have to be told before a frame is free, and a destructor has no [`Tlb`](crate::Tlb).
#[must_use = "a space that is dropped instead of destroyed leaks its tables"]
pub struct AddressSpace<F: Format, M: Memory> {
    pub(crate) memory: M,
    root: Frame,
    pub(crate) commit: Commit,
    /// What operations have cut off and not freed yet.
    pub(crate) dead: Dead,
    format: PhantomData<fn() -> F>,
}

/// Sizes of an address space, as its root's counts have them: O(1), exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pages present, shared ones included.
    pub resident: u64,
    /// Demand-zero pages reserved and not yet backed.
    pub reserved: u64,
    /// Translation tables, shared ones and the root included, in frames.
    pub tables: u64,
}

/// Where an address leads now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The page descriptor.
    pub page: Page,
    /// Whether a store works without a fault: the page and every level above allow it.
    pub writable_now: bool,
}

/// Why an operation on a range was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something is mapped or reserved at this address already.
    Occupied(VirtAddr),
    /// Nothing is mapped or reserved at this address.
    NotMapped(VirtAddr),
    /// The page at this address cannot have these permissions.
    Unsuitable(VirtAddr, Permissions),
    /// No frame was left.
    OutOfMemory,
    /// The space, under a guarantee, needs a frame that is paid for and that another core holds for a moment, because it
    /// copies the same table at the same time. Try again: this is no want of memory, and ends when that core has finished its copy.
    Contended,
    /// The space shares, or would come to share, memory that no guarantee has paid for.
    Unguaranteed,
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Error {
        Error::OutOfMemory
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Occupied(address) => write!(f, "something is mapped at {address:?} already"),
            Error::NotMapped(address) => write!(f, "nothing is mapped at {address:?}"),
            Error::Unsuitable(address, permissions) => {
                write!(f, "the page at {address:?} cannot become {permissions:?}")
            }
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Contended => f.write_str("another core copies the same table: try again"),
            Error::Unguaranteed => f.write_str("memory is shared without a guarantee"),
        }
    }
}

impl core::error::Error for Error {}

impl Usage {
    /// Sizes of the space with this root, without the space: for an onlooker who does not wait until an operation on it has ended.
    ///
    /// Each number is one that the space has had, or is about to have; together they need not belong to one moment. The onlooker
    /// makes sure afterwards that the frame has been the root all the while.
    pub fn below(memory: &impl Memory, root: Frame) -> Usage {
        let counts = memory.counts(root).get();
        Usage { resident: counts.pages as u64, reserved: counts.reserved as u64, tables: counts.tables as u64 + 1 }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// An empty space.
    ///
    /// # Errors
    /// If there is no frame for the root.
    pub fn new(memory: M) -> Result<Self, OutOfMemory> {
        let root = Fresh::allocate(&memory, Purpose::Table, Source::Free).map_err(|_| OutOfMemory)?;
        let root = Exclusive::fresh(&memory, root, Level::ROOT);
        Ok(Self::with_root(memory, root, Commit::Undecided))
    }

    /// A space of its own for a root that nobody else has.
    pub(crate) fn with_root(memory: M, root: Exclusive<F>, commit: Commit) -> Self {
        AddressSpace { memory, root: root.frame(), commit, dead: Dead::NONE, format: PhantomData }
    }

    /// The level-0 table: what `TTBR0_EL1` or `CR3` points to.
    #[inline(always)]
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Sizes, from the root's counts.
    pub fn usage(&self) -> Usage {
        Usage::below(&self.memory, self.root)
    }

    /// Where an address leads, as the hardware would find it. `None` where it would find nothing.
    pub fn translate(&self, address: VirtAddr) -> Option<Translation> {
        let (raw, level, read_only) = Path::peek(self, address);
        match F::decode(raw, level) {
            Entry::Page(page) => Some(Translation { page, writable_now: page.writable && !read_only }),
            _ => None,
        }
    }

    /// Proof of ownership of the root: `&mut self` is what makes it true.
    #[inline(always)]
    pub(crate) fn exclusive_root(&mut self) -> Exclusive<F> {
        Exclusive::root(self.root)
    }
}
