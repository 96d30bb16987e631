//! What the entries of a kernel's map say.

use crate::{Frame, Level};

/// What the kernel may do with a mapping, and what kind of memory it is. User mode may do nothing with any of them, and
/// what is writable is never executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mapping {
    /// Ordinary memory to read.
    ReadOnly,
    /// Ordinary memory to read and write.
    ReadWrite,
    /// Ordinary memory to read and execute.
    ReadExecute,
    /// Device registers, to read and write (Arm: Device-nGnRE; x86_64: uncacheable).
    Device,
}

/// A page or block of the kernel's: physical memory of the size that an entry of its level covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Its first frame.
    pub frame: Frame,
    /// What the kernel may do with it.
    pub mapping: Mapping,
}

/// A descriptor of the kernel's, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelEntry {
    /// The hardware would not follow it.
    Empty,
    /// Leads to a table of the next level.
    Table(Frame),
    /// A page or a block.
    Leaf(Leaf),
}

/// Where an address of the kernel's leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelTranslation {
    /// The physical address.
    pub physical: u64,
    /// What the kernel may do there.
    pub mapping: Mapping,
    /// The level of the leaf: it covers [`span`](Level::span) bytes.
    pub level: Level,
}
