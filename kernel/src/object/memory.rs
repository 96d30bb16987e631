//! Memory objects: memory that belongs to no address space, and that a process with a handle maps into its own.
//!
//! ```text
//!   handle ──▶ object ──▶ a tree that never runs ──▶ frame ◀── mapping, in any number of trees
//!                         page n at n * 4096          counted: 1 for the object, 1 for each mapping
//! ```
//!
//! The tree is what allocates, counts and frees the object's frames, so that there is no second list of them. A mapping
//! holds frames, not the object: whichever goes last, the handles or the mappings, the frames go with it.
//!
//! Memory for devices is the same with a [block](super::block) in place of the tree. Device registers are no frames of
//! the allocator's at all: nothing counts them, and nothing but the program's own loads and stores reaches them.

#![deny(unsafe_code)]

use crate::lock::Mutex;
use crate::memory::change::{self, Draft, NeverRan};
use crate::memory::frames;
use crate::object::block::Block;
use crate::object::process::Handles;
use crate::object::{Kind, Object, Ref};
use crate::platform::{PhysRange, console, platform};
use graft_abi::{Error, PAGE_SIZE, Permissions, Rights};
use graft_paging::{Access, Change, Foreign, Frame, Inherit, Level, Progress, Reservation, VirtAddr, VirtRange};

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
    /// Consecutive frames that come and go with the object.
    Block(Block),
    /// Device registers, from here on.
    Device(Frame),
}

static KIND: Kind<MemoryObject> = Kind::new("memory");

impl Object for MemoryObject {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

impl MemoryObject {
    /// An object of `length` bytes from the start of a frame on. The rest of the last frame is part of it when it is
    /// mapped.
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

    /// Whether an object of this length, its own translation tables included, needs no more frames than there would be
    /// if all other cores gave back their magazines. An impossible one is refused before it takes the last frames from
    /// other processes.
    pub fn is_possible(length: u64) -> bool {
        // The tables of each level, the root, and the object's own frame.
        let tables = (1..=3).map(|level| length.div_ceil(PAGE_SIZE as u64 * 512_u64.pow(level))).sum::<u64>() + 2;
        length / PAGE_SIZE as u64 + tables <= frames::obtainable()
    }

    /// An object of zeroes, all of it allocated before it is one.
    ///
    /// # Errors
    /// [`Error::BadLength`] for more than an address space holds, [`Error::OutOfMemory`].
    pub fn zeroed(length: u64) -> Result<Making, Error> {
        // More than the object has: one descriptor, whatever its length. Nothing but its own pages is ever looked up.
        let range = VirtRange::new(0, length.next_multiple_of(Level::ROOT.span())).ok_or(Error::BadLength)?;
        let mut tree = Draft::new()?;
        let reservation = Reservation { permissions: graft_paging::Permissions::ReadWrite, inherit: Inherit::Yes };
        change::attempt(|| tree.reserve(&NeverRan, range, reservation))?;
        Ok(Making { content: Unfinished::Counted(tree), length, pages: 0 })
    }

    /// The same in consecutive frames.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn consecutive(length: u64) -> Result<Making, Error> {
        Ok(Making { content: Unfinished::Block(Some(Block::new(length)?)), length, pages: 0 })
    }

    /// An object of the device registers in a range of whole pages.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] unless the platform has registers of one device there, which the kernel does not use
    /// and, for those of its console, has not [handed over](console::hand_over) already; [`Error::OutOfMemory`].
    pub fn device(range: PhysRange) -> Result<Ref<MemoryObject>, Error> {
        if !platform().devices.iter().any(|device| device.contains(range)) {
            return Err(Error::NotAllowed);
        }
        let content = Content::Device(Frame::containing(range.start));
        let object = Ref::new(|_| MemoryObject { content, length: range.size() })?;
        console::hand_over(range)?;
        Ok(object)
    }

    /// The device tree.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the platform has none, [`Error::OutOfMemory`].
    #[expect(unsafe_code, reason = "programs map the frames")]
    pub fn device_tree() -> Result<Ref<MemoryObject>, Error> {
        let range = platform().device_tree.ok_or(Error::NotFound)?;
        // SAFETY: boot has given it pages of its own and zeroed the rest of the last one; nothing writes there.
        unsafe { MemoryObject::permanent(Frame::containing(range.start), range.size()) }
    }

    /// The physical address, if it has one that programs may know.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] if it has none.
    pub fn address(&self) -> Result<u64, Error> {
        match &self.content {
            Content::Block(block) => Ok(block.frame(0).address()),
            Content::Device(first) => Ok(first.address()),
            Content::Permanent(_) | Content::Counted(_) => Err(Error::NotAllowed),
        }
    }

    /// The frame of page `number` of an object whose frames come and go with it.
    ///
    /// # Panics
    /// If there is none.
    pub fn frame(&self, number: u64) -> Frame {
        match &self.content {
            Content::Counted(pages) => {
                let page = address(number).and_then(|address| pages.translate(address));
                page.expect("all of it was allocated").page.frame
            }
            Content::Block(block) => block.frame(number),
            Content::Permanent(_) | Content::Device(_) => panic!("this memory is mapped by its first frame"),
        }
    }

    /// Bytes in it.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the whole pages that hold it.
    pub fn mapped_length(&self) -> u64 {
        self.length.next_multiple_of(PAGE_SIZE as u64)
    }

    /// What mapping it with these permissions does to a range.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] for permissions that no holder can have.
    pub fn mapping(&self, permissions: Permissions) -> Result<Change, Error> {
        let wanted = change::permissions(permissions);
        match (&self.content, permissions) {
            (&Content::Permanent(first), Permissions::Read) => {
                Ok(Change::MapFrames { first, permissions: wanted, foreign: Foreign::Normal })
            }
            (&Content::Device(first), Permissions::Read | Permissions::ReadWrite) => {
                Ok(Change::MapFrames { first, permissions: wanted, foreign: Foreign::Device })
            }
            (Content::Counted(_) | Content::Block(_), Permissions::Read | Permissions::ReadWrite) => {
                Ok(Change::MapPages { permissions: wanted, kind: graft_paging::Kind::Shared })
            }
            // Executable, it could be written and executed at once: through two mappings.
            _ => Err(Error::NotAllowed),
        }
    }
}

/// An object of zeroes in the making.
pub struct Making {
    content: Unfinished,
    length: u64,
    /// Allocated so far.
    pages: u64,
}

/// What it will have; nothing when it is finished.
enum Unfinished {
    Counted(Draft),
    Block(Option<Block>),
}

/// Pages that are allocated before interrupts are answered.
const PAGES_AT_ONCE: u64 = 20;
/// What the maker of a memory object may do with it.
const RIGHTS: Rights = Rights::READ.or(Rights::WRITE).or(Rights::DUPLICATE);

impl Making {
    /// Allocates a piece of it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn step(&mut self) -> Result<Progress, Error> {
        let all = self.length / PAGE_SIZE as u64;
        let end = all.min(self.pages + PAGES_AT_ONCE);
        while self.pages < end {
            match &mut self.content {
                Unfinished::Counted(tree) => {
                    let address = address(self.pages).ok_or(Error::BadLength)?;
                    tree.resolve(&NeverRan, address, Access::Write).map_err(|_| Error::OutOfMemory)?;
                }
                Unfinished::Block(block) => block.as_mut().expect("not finished").zero(self.pages),
            }
            self.pages += 1;
        }
        Ok(if end == all { Progress::Done } else { Progress::More })
    }

    /// Gives the object, which is complete, to a process, whose handles these are.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::HandlesExhausted`].
    pub fn finish(&mut self, handles: &Mutex<Handles>) -> Result<u64, Error> {
        let content = match &mut self.content {
            Unfinished::Counted(tree) => Content::Counted(tree.transfer()),
            Unfinished::Block(block) => Content::Block(block.take().expect("finished once")),
        };
        let length = self.length;
        let object = Ref::new(|_| MemoryObject { content, length })?;
        let handle = handles.lock().insert(object.erase(), RIGHTS)?;
        Ok(handle.0.into())
    }
}

/// Where the object's own tree has a page.
fn address(page: u64) -> Option<VirtAddr> {
    VirtAddr::new(page * PAGE_SIZE as u64)
}
