//! Memory objects: memory that belongs to no address space, and that whoever holds a handle maps into its own.
//!
//! ```text
//!   handle ──▶ object ──▶ a tree that nobody runs in ──▶ frame ◀── mapping, in any number of trees
//!                         page n at address n * 4096      counted: 1 for the object, 1 for each mapping
//! ```
//!
//! The tree is what allocates, counts and frees the object's frames, so that there is no second list of them. A mapping holds
//! frames, not the object: whichever goes last, the handles or the mappings, the frames go with it.

#![deny(unsafe_code)]

use crate::memory::frames;
use crate::memory::space::{self, Draft, Locked, NeverRan};
use crate::object::{Kind, Object, Ref};
use graft_abi::{Error, PAGE_SIZE, Permissions};
use graft_paging::{Access, Foreign, Frame, Inherit, Reservation, VirtAddr, VirtRange};

/// Memory that programs may map.
pub struct MemoryObject {
    content: Content,
    length: u64,
}

enum Content {
    /// Consecutive frames from this one on that are there for good, to be read.
    Permanent(Frame),
    /// Frames that come and go with the object.
    Counted(Draft),
}

static KIND: Kind<MemoryObject> = Kind::new("memory");

impl Object for MemoryObject {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

impl MemoryObject {
    /// An object of `length` bytes from the start of a frame on. The rest of the last frame is part of it when it is mapped.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    ///
    /// # Safety
    /// The frames are there for good, any program may read them, and what the last one holds beyond the object, too.
    #[expect(unsafe_code, reason = "programs map the frames")]
    pub unsafe fn permanent(first: Frame, length: u64) -> Result<Ref<MemoryObject>, Error> {
        Ref::new(|_| MemoryObject { content: Content::Permanent(first), length })
    }

    /// Whether an object of this length, its own translation tables included, needs no more frames than could be had if all other
    /// cores gave back what they keep. One that is not must not take the last frame from others on the way to its refusal.
    pub fn is_possible(length: u64) -> bool {
        // The tables of each level, the root, and the object's own frame.
        let tables = (1..=3).map(|level| length.div_ceil(PAGE_SIZE as u64 * 512_u64.pow(level))).sum::<u64>() + 2;
        length / PAGE_SIZE as u64 + tables <= frames::obtainable()
    }

    /// An object of zeroes, all of it allocated now.
    ///
    /// # Errors
    /// [`Error::BadLength`] for more than an address space holds, [`Error::OutOfMemory`].
    pub fn zeroed(length: u64) -> Result<Ref<MemoryObject>, Error> {
        let range = VirtRange::new(0, length).ok_or(Error::BadLength)?;
        let mut tree = Draft::new()?;
        let reservation = Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
        space::attempt(|| tree.reserve(&NeverRan, range, reservation))?;
        for page in 0..range.pages() {
            let address = address(page).ok_or(Error::BadLength)?;
            tree.resolve(&NeverRan, address, Access::Write).map_err(|_| Error::OutOfMemory)?;
        }
        Ref::new(|_| MemoryObject { content: Content::Counted(tree), length })
    }

    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the whole pages that hold it.
    pub fn mapped_length(&self) -> u64 {
        self.length.next_multiple_of(PAGE_SIZE as u64)
    }

    /// Maps all of it.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] for permissions that nobody can have, [`Error::Occupied`], [`Error::OutOfMemory`];
    /// nothing has changed then.
    pub fn map(&self, tree: &mut Locked<'_>, range: VirtRange, permissions: Permissions) -> Result<(), Error> {
        let wanted = space::permissions(permissions);
        match (&self.content, permissions) {
            (&Content::Permanent(first), Permissions::Read) => tree.edit(|tree, tlb| {
                #[expect(unsafe_code, reason = "the allocator does not own these frames")]
                // SAFETY: `permanent` was promised frames that are there for good, and that may be read.
                unsafe {
                    tree.map_frames(tlb, range, first, wanted, Foreign::Normal)
                }
            }),
            (Content::Counted(pages), Permissions::Read | Permissions::ReadWrite) => {
                tree.edit(|tree, tlb| tree.map_pages_of(tlb, range, wanted, pages, START))
            }
            // Executable, it could be written and executed at once: through two mappings.
            _ => Err(Error::NotAllowed),
        }
    }
}

/// Where the object's own tree has its first page.
const START: VirtAddr = VirtAddr::new(0).expect("the lowest address");

/// Where it has a page.
fn address(page: u64) -> Option<VirtAddr> {
    VirtAddr::new(page * PAGE_SIZE as u64)
}
