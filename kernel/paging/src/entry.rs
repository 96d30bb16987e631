//! What a descriptor means in any format: the vocabulary of the tree.

use crate::Frame;

/// What a program may do with a page. Writable and executable at once does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permissions {
    /// Mapped or reserved, but every access faults.
    None,
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
}

/// What an instruction tried to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Instruction fetch.
    Execute,
}

impl Permissions {
    /// Whether the access is allowed once faults have been answered.
    #[inline(always)]
    pub const fn allow(self, access: Access) -> bool {
        match access {
            Access::Read => !matches!(self, Permissions::None),
            Access::Write => matches!(self, Permissions::ReadWrite),
            Access::Execute => matches!(self, Permissions::ReadExecute),
        }
    }
}

/// What happens to memory at `fork`, and whether the allocator owns its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Copy-on-write: the ordinary case.
    Private,
    /// Stays one and the same memory in parent and child, writable on both sides.
    Shared,
    /// Private memory that a child does not get.
    NoInherit,
    /// The page of zeroes, standing in for private memory that was read and never written.
    /// Its references are not counted, and it is accounted as still reserved.
    Zero,
    /// Ordinary memory that the frame allocator does not own, for instance the boot archive.
    Foreign,
    /// Device registers. A child does not get them.
    Device,
}

impl Kind {
    /// Whether the frame's references are counted.
    pub const fn is_counted(self) -> bool {
        matches!(self, Kind::Private | Kind::Shared | Kind::NoInherit)
    }
}

/// What will stand at an address when it is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reservation {
    /// What the program may do there.
    pub permissions: Permissions,
    /// Whether a child gets the reservation.
    pub inherit: Inherit,
}

/// Whether `fork` passes something on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inherit {
    /// The child gets it.
    Yes,
    /// The child does not.
    No,
}

/// A page descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// The frame it maps.
    pub frame: Frame,
    /// What the program may do once faults have been answered.
    pub permissions: Permissions,
    /// What happens at `fork`.
    pub kind: Kind,
    /// Whether the hardware lets a store through this descriptor. Implies
    /// [`Permissions::ReadWrite`]; the converse waits for a write fault.
    pub writable: bool,
}

impl Page {
    /// The reservation that stands for the page when its content is given up, or not there yet.
    pub(crate) fn untouched(&self) -> Reservation {
        let inherit = if self.kind == Kind::NoInherit { Inherit::No } else { Inherit::Yes };
        Reservation { permissions: self.permissions, inherit }
    }
}

/// A table descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The table of the next level.
    pub frame: Frame,
    /// Whether the hardware refuses every store below, even where the lower levels permit it.
    pub read_only: bool,
}

/// A descriptor, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Nothing is mapped here.
    Empty,
    /// Nothing is mapped yet; demand-zero memory appears at the first touch. At any level.
    Reserved(Reservation),
    /// Leads to a table of the next level. At levels 0 to 2.
    Table(Table),
    /// Maps a page. At level 3.
    Page(Page),
}

impl Entry {
    /// Whether a table that holds this entry below it must be copied at fork rather than shared:
    /// the child gets something else, or (shared, writable) a read-only mark from above would be wrong.
    pub(crate) fn is_unshareable(self) -> bool {
        match self {
            Entry::Empty | Entry::Table(_) => false,
            Entry::Reserved(reservation) => reservation.inherit == Inherit::No,
            Entry::Page(page) => match page.kind {
                Kind::Private | Kind::Zero => false,
                Kind::Foreign => page.permissions == Permissions::ReadWrite,
                Kind::Shared | Kind::NoInherit | Kind::Device => true,
            },
        }
    }
}
