//! An address space: a root and the operations on the tree below it.

use core::marker::PhantomData;

use crate::commit::Commit;
use crate::exit::Dead;
use crate::gate::{Exclusive, Frames, Path};
use crate::memory::Counts;
use crate::{
    Access, Descriptor, Entry, Format, Frame, Kind, Level, Memory, OutOfMemory, Page, Permissions, Purpose, VirtAddr,
    VirtRange,
};

/// An address space.
///
/// `&mut self` is the lock: a kernel that shares a space between threads puts it behind one. No lock is needed between
/// spaces, even where they share tables.
///
/// A space ends with [`destroy`](AddressSpace::destroy), which tells the TLBs what they must forget before its frames
/// are free. A destructor has no [`Tlb`](crate::Tlb): a space that is dropped is destroyed, too, but everything that
/// all cores have cached is invalidated with it ([`Memory::invalidate_all`]).
#[must_use = "a space that is dropped instead of destroyed empties every TLB"]
pub struct AddressSpace<F: Format, M: Memory> {
    pub(crate) memory: Frames<M>,
    /// `NONE` once it is destroyed.
    root: Frame,
    pub(crate) commit: Commit,
    /// What operations have cut off and not freed yet.
    pub(crate) dead: Dead,
    format: PhantomData<fn() -> F>,
}

/// No frame: the last one that a number can name ends beyond every physical address.
const NONE: Frame = Frame(u64::MAX);

/// Sizes of an address space, from its root's counts: O(1), exact.
///
/// A page, a reserved page and a table are the same here as in [`Visit`](crate::Visit) and [`Sizes`](crate::Sizes);
/// only here the root is one of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Pages present, shared ones included.
    pub pages: u64,
    /// Demand-zero pages reserved and not yet backed.
    pub reserved: u64,
    /// Translation tables, shared ones and the root included, in frames.
    pub tables: u64,
}

/// Where an address leads now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Translation {
    /// The page descriptor.
    pub page: Page,
    /// Whether a store works without a fault: the page and every level above allow it.
    pub writable_now: bool,
}

/// Why an operation on a range was refused. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Something is mapped or reserved at this address already.
    Occupied(VirtAddr),
    /// Nothing is mapped or reserved at this address.
    NotMapped(VirtAddr),
    /// User space does not have this address.
    Kernel(VirtAddr),
    /// The page at this address cannot have these permissions.
    Unsuitable(VirtAddr, Permissions),
    /// No frame was left.
    OutOfMemory,
    /// The space, under a guarantee, needs a committed frame that another core holds for a moment, because that core
    /// copies the same table at the same time. Try again: memory is not short, and the state ends when that core has
    /// finished its copy.
    Contended,
    /// The space shares, or would come to share, memory for whose copies no frames are committed.
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
            Error::Kernel(address) => write!(f, "{address:?} is no address of user space"),
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
    /// Sizes of the space with this root, without the space: for a reader that does not wait until an operation on it
    /// has ended.
    ///
    /// Each number is one that the space has had, or is about to have; together they need not belong to one moment. The
    /// reader makes sure afterwards that the frame has been the root all the while.
    ///
    /// # Safety
    /// The frame has been handed out by `memory`, and its counts can be read even when it has another use by now: they
    /// are atomics in a place that is never anything else.
    #[expect(unsafe_code, reason = "the frame need not be a table any more")]
    pub unsafe fn below(memory: &impl Memory, root: Frame) -> Usage {
        // SAFETY: promised by the caller.
        Usage::of(unsafe { memory.counts(root) }.get())
    }

    fn of(counts: Counts) -> Usage {
        Usage { pages: counts.pages as u64, reserved: counts.reserved as u64, tables: counts.tables as u64 + 1 }
    }
}

impl<F: Format, M: Memory> AddressSpace<F, M> {
    /// An empty space.
    ///
    /// # Errors
    /// If there is no frame for the root.
    pub fn new(memory: M) -> Result<Self, OutOfMemory> {
        Self::within(Frames::new(memory))
    }

    /// As [`new`](Self::new).
    pub(crate) fn within(memory: Frames<M>) -> Result<Self, OutOfMemory> {
        let root = memory.allocate(Purpose::Table).ok_or(OutOfMemory)?;
        let root = Exclusive::fresh(&memory, root, Level::ROOT);
        Ok(Self::with_root(memory, root, Commit::Undecided))
    }

    /// A space for a root that no other space has.
    pub(crate) fn with_root(memory: Frames<M>, root: Exclusive<F>, commit: Commit) -> Self {
        AddressSpace { memory, root: root.frame(), commit, dead: Dead::NONE, format: PhantomData }
    }

    /// The level-0 table: what `TTBR0_EL1` or `CR3` points to.
    #[inline(always)]
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Stores a descriptor into an entry of the root that is the kernel's, where one root serves both. A space has none
    /// of them at first, and neither a fork nor a restore passes any on. The tree neither counts nor walks it, and does
    /// not free what it leads to with the space.
    ///
    /// Walkers see it once [`Tlb::publish`](crate::Tlb::publish) has returned.
    ///
    /// # Panics
    /// If the entry is the user's.
    ///
    /// # Safety
    /// It is the descriptor of a table or leaf that exists for as long as the space, and that user mode
    /// cannot reach.
    #[expect(unsafe_code, reason = "a processor follows the descriptor")]
    pub unsafe fn set_kernel_entry(&mut self, index: usize, descriptor: Descriptor<F>) {
        assert!((F::USER_ENTRIES..crate::ENTRIES).contains(&index), "entry {index} of the root is the user's");
        self.exclusive_root().put(&self.memory, index, descriptor);
    }

    /// Sizes, from the root's counts.
    pub fn usage(&self) -> Usage {
        Usage::of(self.memory.counts(self.root).get())
    }

    /// Where an address leads, as the hardware would find it. `None` where it would find nothing.
    pub fn translate(&self, address: VirtAddr) -> Option<Translation> {
        if !address.is_user::<F>() {
            return None;
        }
        let deciding = Path::peek(self, address);
        match deciding.descriptor.entry(deciding.level) {
            Entry::Page(page) => Some(Translation { page, writable_now: page.writable && !deciding.read_only }),
            _ => None,
        }
    }

    /// The frame of memory, not of device registers, that an address leads to, if this access needs nothing to be done
    /// first: mostly, when a kernel uses a program's memory. As long as the space is held.
    #[inline(always)]
    pub fn memory_at(&self, address: VirtAddr, access: Access) -> Option<Frame> {
        if !address.is_user::<F>() {
            return None;
        }
        let deciding = Path::peek(self, address);
        match deciding.descriptor.entry(deciding.level) {
            Entry::Page(page) if page.kind != Kind::Device && page.permissions.allow(access) => {
                let stores = page.writable && !deciding.read_only;
                (access != Access::Write || stores).then_some(page.frame)
            }
            _ => None,
        }
    }

    /// Refuses a range that is not all of user space.
    #[inline(always)]
    pub(crate) fn check(range: VirtRange) -> Result<(), Error> {
        if F::USER_ENTRIES == crate::ENTRIES {
            return Ok(());
        }
        let last = VirtAddr::new(range.end() - 1).expect("ranges are of addresses");
        if last.is_user::<F>() { Ok(()) } else { Err(Error::Kernel(last.page())) }
    }

    /// Whether it has not been destroyed.
    pub(crate) fn has_root(&self) -> bool {
        self.root != NONE
    }

    /// Proof of ownership of the root, once: of a space that is about to end.
    #[inline(always)]
    pub(crate) fn take_root(&mut self) -> Option<Exclusive<F>> {
        let root = core::mem::replace(&mut self.root, NONE);
        (root != NONE).then(|| Exclusive::root(root))
    }

    /// Proof of ownership of the root: `&mut self` is what makes it true.
    #[inline(always)]
    pub(crate) fn exclusive_root(&mut self) -> Exclusive<F> {
        Exclusive::root(self.root)
    }
}
