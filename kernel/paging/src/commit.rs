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
//!
//! Three types say it, each once for an operation:
//!
//! | type | of | answers |
//! |---|---|---|
//! | [`Commit`] | a space | is it under a guarantee? |
//! | [`Source`] | an allocation | where does the frame come from, and where does it go if it was not needed? |
//! | [`Charge`] | references that are dropped | what becomes of the frames that were committed for them? |

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
    /// Whether frames are committed for all that the space shares: never, without the feature.
    #[inline(always)]
    pub(crate) fn is_guaranteed(self) -> bool {
        cfg!(feature = "commit") && self == Commit::Guaranteed
    }

    /// Where the frames for splits and page copies come from.
    #[inline(always)]
    pub(crate) fn source(self) -> Source {
        if self.is_guaranteed() { Source::Committed } else { Source::Free }
    }

    /// The ledger for references that are about to be dropped.
    pub(crate) fn ledger(self) -> Ledger {
        Ledger { charge: self.charge(), dropped: Dropped::none() }
    }

    /// What dropping the space's references does to the charge.
    pub(crate) fn charge(self) -> Charge {
        if self.is_guaranteed() { Charge::Paid } else { Charge::Unpaid }
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

    /// The policy for what was allocated from here and is dropped again, or for what is dropped in its place.
    #[inline(always)]
    pub(crate) fn charge(self) -> Charge {
        match self {
            Source::Free => Charge::Unpaid,
            Source::Committed => Charge::Repaid,
        }
    }

    /// Takes back a frame.
    #[inline(always)]
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

/// The policy for references that are dropped: how the charge changes with them.
///
/// Two bits, so that a table which waits to be dropped can keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Nothing was committed for them.
    Unpaid = 0,
    /// What is dropped leaves the charge.
    Paid = 1,
    /// For the original of a table or page that has just been copied, with frames out of the charge. If relatives keep
    /// the original, the copy used the frames committed for it. If this is the last reference, the relatives dropped
    /// theirs meanwhile: the frames of the original go into the charge in place of those that the copy took, and each
    /// reference of the original's entries has become one of the copy's.
    Repaid = 2,
}

impl Charge {
    /// The policy of these two bits.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Charge {
        match bits & 3 {
            0 => Charge::Unpaid,
            1 => Charge::Paid,
            _ => Charge::Repaid,
        }
    }

    /// Where a frame goes whose last reference is dropped.
    #[inline(always)]
    const fn destination(self) -> Source {
        match self {
            Charge::Unpaid | Charge::Paid => Source::Free,
            Charge::Repaid => Source::Committed,
        }
    }
}

/// A [`Charge`] that the compiler knows: dropping a tree is a hot loop.
pub(crate) trait Policy {
    /// Which.
    const CHARGE: Charge;

    /// What a reference counts for; computed only where the charge depends on it.
    #[inline(always)]
    fn weigh(frames: impl FnOnce() -> u64) -> u64 {
        if matches!(Self::CHARGE, Charge::Paid) { frames() } else { 0 }
    }

    /// A reference that counts for `frames` was dropped, and others to the same stay.
    #[inline(always)]
    fn note(dropped: &Dropped, frames: u64) {
        if matches!(Self::CHARGE, Charge::Paid) {
            dropped.add(frames as i64);
        }
    }

    /// The last reference to a frame is gone.
    #[inline(always)]
    fn free(memory: &Frames<impl Memory>, frame: Last, purpose: Purpose) {
        Self::CHARGE.destination().free(memory, frame, purpose);
    }
}

/// [`Charge::Unpaid`].
pub(crate) struct Unpaid;
/// [`Charge::Paid`].
pub(crate) struct Paid;
/// [`Charge::Repaid`].
pub(crate) struct Repaid;

impl Policy for Unpaid {
    const CHARGE: Charge = Charge::Unpaid;
}

impl Policy for Paid {
    const CHARGE: Charge = Charge::Paid;
}

impl Policy for Repaid {
    const CHARGE: Charge = Charge::Repaid;
}

/// Frames that leave the charge.
pub(crate) struct Dropped(Cell<i64>);

impl Dropped {
    pub(crate) const fn none() -> Dropped {
        Dropped(Cell::new(0))
    }

    #[inline(always)]
    fn add(&self, frames: i64) {
        self.0.set(self.0.get() + frames);
    }

    /// Takes them out of it.
    #[inline(always)]
    pub(crate) fn settle(self, memory: &Frames<impl Memory>) {
        if self.0.get() != 0 {
            memory.uncommit(self.0.get() as u64);
        }
    }
}

/// What an operation that drops references has done to the charge so far.
pub(crate) struct Ledger {
    pub(crate) charge: Charge,
    pub(crate) dropped: Dropped,
}

impl Ledger {
    /// Notes that the space shares with itself what this descriptor leads to, until the original is dropped.
    pub(crate) fn adopt<F: Format>(&self, memory: &Frames<impl Memory>, descriptor: Descriptor<F>, level: Level) {
        if self.charge == Charge::Paid {
            self.dropped.add(-(frames_behind(memory, descriptor, level) as i64));
        }
    }

    /// How many frames came into the charge, for an operation that has committed them before.
    pub(crate) fn adopted(&self) -> u64 {
        (-self.dropped.0.get()).max(0) as u64
    }

    /// Takes out of the charge what was dropped.
    pub(crate) fn settle(self, memory: &Frames<impl Memory>) {
        if self.charge == Charge::Paid {
            self.dropped.settle(memory);
        }
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
