//! What a thread can do.

/// An event: what the acting thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A frame, by its address, is memory for tables from now on, and all zero.
    Init(u64),
    /// A frame is filled with zeroes.
    Zero(u64),
    /// A store of a word.
    Write {
        /// Where.
        address: u64,
        /// What.
        value: u64,
    },
    /// A frame is given back.
    Free(u64),
    /// A barrier that waits for stores: `DSB ISHST`.
    WaitForStores,
    /// A barrier that waits for everything: `DSB ISH` or `DSB SY`.
    WaitForAll,
    /// `ISB`.
    Synchronise,
    /// A broadcast invalidation.
    Invalidate(Invalidation),
    /// The thread runs in this space: `TTBR0_EL1`.
    Run {
        /// Address of the root.
        root: u64,
        /// Address space identifier.
        asid: u16,
    },
    /// The kernel's half is translated through this table of level 1: `TTBR1_EL1`.
    Kernel(u64),
    /// The thread sets a register that says how addresses are translated.
    Set {
        /// Which.
        register: Register,
        /// To what.
        value: u64,
    },
    /// No thread runs in the space of this root any more. One may come back.
    Release(u64),
    /// The thread has the space of this root for itself.
    Lock(u64),
    /// It has not any more.
    Unlock(u64),
}

/// A register that says how addresses are translated and is the same for all spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Register {
    /// `TCR_EL1`
    Translation,
    /// `SCTLR_EL1`
    System,
}

/// A TLB invalidation, broadcast to the inner-shareable domain. Pages are numbers: addresses divided by
/// [`FRAME`](crate::FRAME).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The last-level entry of a page: `VALE1IS`.
    Leaf(u16, u64),
    /// Entries of every level for a page: `VAE1IS`.
    Page(u16, u64),
    /// Entries of every level for so many pages from one on: `RVAE1IS`.
    Pages(u16, u64, u64),
    /// Everything of a space: `ASIDE1IS`.
    Space(u16),
    /// Everything: `VMALLE1IS`.
    All,
}
