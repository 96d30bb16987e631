//! The commit charge: whether the copies that a fork may cause one day have their memory set aside.
//!
//! Fork shares everything; each shared frame may have to be copied later, when no memory is left. Under a guarantee the
//! fork commits frames for the copies in advance. Let every table and page of a tree count once for each reference to
//! it beyond the first, together with all that hangs below:
//!
//! ```text
//!   charge  =  sum over all frames of (references - 1) x (1 + tables below + private pages below)
//!           =  frames of all spaces, each counted as if it shared nothing,  -  frames in use
//! ```
//!
//! That is exactly how many frames it takes to copy all that is shared, and it moves in O(1): a fork adds the child's
//! totals, which its root knows, less the tables that it copied at once; a split or a page copy takes its frame out of
//! the charge; a reference that is dropped while others stay takes out what it counted for (`exit.rs`). So when the
//! last space of a family is gone, nothing is committed any more.
//!
//! A space is under a guarantee from its first fork on or never: for what it shared before without one, no fork has
//! committed frames.

use core::cell::Cell;

use crate::gate::{Frames, Fresh, Last};
use crate::{Descriptor, Entry, Error, Fault, Format, Kind, Level, Memory, Purpose};

/// Whether a space is under a guarantee.
///
/// A whole word: so the compiler moves a space in words, not around the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Commit {
    /// It has shared nothing yet.
    Undecided,
    /// It shares, and copies succeed for as long as there is memory.
    BestEffort,
    /// Frames are committed for all that it shares.
    Guaranteed,
}

impl Commit {
    /// Where the frames for splits and page copies come from.
    #[inline(always)]
    pub(crate) fn source(self) -> Source {
        match self {
            Commit::Undecided | Commit::BestEffort => Source::Free,
            Commit::Guaranteed => Source::Committed,
        }
    }

    /// The ledger for references that are about to be dropped.
    pub(crate) fn ledger(self) -> Ledger {
        match self {
            Commit::Undecided | Commit::BestEffort => Ledger::Unpaid,
            Commit::Guaranteed => Ledger::Paid(Cell::new(0)),
        }
    }
}

/// Where frames come from. A whole word, likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Source {
    /// From what is free and not committed.
    Free,
    /// From what this space or a relative has committed.
    Committed,
}

impl Source {
    #[inline(always)]
    pub(crate) fn allocate(self, memory: &Frames<impl Memory>, purpose: Purpose) -> Result<Fresh, Shortage> {
        match self {
            Source::Free => memory.allocate(purpose).ok_or(Shortage::OutOfMemory),
            Source::Committed => Self::allocate_committed(memory, purpose),
        }
    }

    #[cold]
    fn allocate_committed(memory: &Frames<impl Memory>, purpose: Purpose) -> Result<Fresh, Shortage> {
        memory.allocate_committed(purpose).ok_or(Shortage::Contended)
    }

    /// The ledger for what was allocated from here and is dropped again, or for what is dropped in its place.
    pub(crate) fn repaid(self) -> Ledger {
        match self {
            Source::Free => Ledger::Unpaid,
            Source::Committed => Ledger::Repaid,
        }
    }

    /// Takes back a frame that was allocated and not needed.
    pub(crate) fn free(self, memory: &Frames<impl Memory>, frame: Last, purpose: Purpose) {
        match self {
            Source::Free => memory.free(frame, purpose),
            Source::Committed => memory.free_committed(frame, purpose),
        }
    }
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// None is free.
    OutOfMemory,
    /// One was committed, but another core, which copies the same table or page at this moment, holds it.
    Contended,
}

impl From<Shortage> for Fault {
    fn from(shortage: Shortage) -> Fault {
        match shortage {
            Shortage::OutOfMemory => Fault::OutOfMemory,
            Shortage::Contended => Fault::Contended,
        }
    }
}

impl From<Shortage> for Error {
    fn from(shortage: Shortage) -> Error {
        match shortage {
            Shortage::OutOfMemory => Error::OutOfMemory,
            Shortage::Contended => Error::Contended,
        }
    }
}

/// How the charge changes while references are dropped.
pub(crate) enum Ledger {
    /// Nothing was committed.
    Unpaid,
    /// What is dropped leaves the charge: this many frames.
    Paid(Cell<i64>),
    /// For the original of a table or page that has just been copied, with frames out of the charge. If relatives keep
    /// the original, the copy used the frames committed for it. If this is the last reference, the relatives dropped
    /// theirs meanwhile: the frames of the original go into the charge in place of those that the copy took, and each
    /// reference of the original's entries has become one of the copy's.
    Repaid,
}

impl Ledger {
    /// Notes that the space shares with itself what this descriptor leads to, until the original is dropped.
    pub(crate) fn adopt<F: Format>(&self, memory: &Frames<impl Memory>, descriptor: Descriptor<F>, level: Level) {
        if let Ledger::Paid(dropped) = self {
            dropped.set(dropped.get() - frames_behind(memory, descriptor, level) as i64);
        }
    }

    /// The kind, for tables that wait to be dropped.
    #[inline(always)]
    pub(crate) fn mark(&self) -> Mark {
        match self {
            Ledger::Unpaid => Mark::Unpaid,
            Ledger::Paid(_) => Mark::Paid,
            Ledger::Repaid => Mark::Repaid,
        }
    }

    /// How many frames came into the charge, for an operation that has committed them before.
    pub(crate) fn adopted(&self) -> u64 {
        if let Ledger::Paid(dropped) = self { (-dropped.get()).max(0) as u64 } else { 0 }
    }

    /// Takes out of the charge what was dropped.
    pub(crate) fn settle(self, memory: &Frames<impl Memory>) {
        if let Ledger::Paid(dropped) = self {
            memory.uncommit(dropped.get() as u64);
        }
    }
}

/// The kind of a [`Ledger`], in two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// [`Ledger::Unpaid`].
    Unpaid = 0,
    /// [`Ledger::Paid`].
    Paid = 1,
    /// [`Ledger::Repaid`].
    Repaid = 2,
}

/// A [`Ledger`] whose kind the compiler knows: dropping a tree is a hot loop.
pub(crate) trait Entries {
    /// The kind.
    fn mark(&self) -> Mark;

    /// What a reference counts for; computed only for the ledger that needs it.
    #[inline(always)]
    fn weigh(&self, _frames: impl FnOnce() -> u64) -> u64 {
        0
    }

    /// A reference that counts for `frames` was dropped, and others to the same stay.
    #[inline(always)]
    fn dropped(&self, _frames: u64) {}

    /// The last reference to a frame is gone.
    #[inline(always)]
    fn free(&self, memory: &Frames<impl Memory>, frame: Last, purpose: Purpose) {
        memory.free(frame, purpose);
    }
}

/// [`Ledger::Unpaid`].
pub(crate) struct Unpaid;

impl Entries for Unpaid {
    #[inline(always)]
    fn mark(&self) -> Mark {
        Mark::Unpaid
    }
}

/// [`Ledger::Paid`].
impl Entries for Cell<i64> {
    fn mark(&self) -> Mark {
        Mark::Paid
    }

    fn weigh(&self, frames: impl FnOnce() -> u64) -> u64 {
        frames()
    }

    fn dropped(&self, frames: u64) {
        self.set(self.get() + frames as i64);
    }
}

/// [`Ledger::Repaid`].
pub(crate) struct Repaid;

impl Entries for Repaid {
    fn mark(&self) -> Mark {
        Mark::Repaid
    }

    fn free(&self, memory: &Frames<impl Memory>, frame: Last, purpose: Purpose) {
        memory.free_committed(frame, purpose);
    }
}

/// What the reference in a present descriptor counts for in the charge: the frames that it leads to and that are copied
/// at a write.
pub(crate) fn frames_behind<F: Format>(memory: &Frames<impl Memory>, descriptor: Descriptor<F>, level: Level) -> u64 {
    match descriptor.entry(level) {
        Entry::Table(table) => {
            let below = memory.counts(table.frame).get();
            // Where a table is shared, all pages below are private.
            1 + below.tables as u64 + below.pages as u64
        }
        Entry::Page(page) => (page.kind == Kind::Private).into(),
        Entry::Empty | Entry::Reserved(_) => 0,
    }
}
