//! The rules, as what is said of one that was broken.

use std::fmt;

use crate::Register;

/// A rule that was broken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A descriptor became valid before the invalidation was complete.
    MakeBeforeClean(u64),
    /// A valid descriptor was made to lead elsewhere, or to be of another kind.
    NoBreak {
        /// Where it stands.
        address: u64,
        /// What it was.
        old: u64,
        /// What it became.
        new: u64,
    },
    /// A table changed that only unclean descriptors lead to.
    ChangedWhileUnclean(u64),
    /// A frame was freed that a descriptor leads to, or did until an invalidation that is not complete.
    FreedInUse {
        /// The frame.
        frame: u64,
        /// The descriptor.
        descriptor: u64,
    },
    /// A root was freed that a space still has, or had until an invalidation that is not complete.
    FreedRoot(u64),
    /// A store into memory, or a table in memory, that has not been initialised.
    NotInitialised(u64),
    /// An ASID got another root before everything of it was invalidated.
    AsidReused(u16),
    /// A root runs under a second ASID.
    TwoAsids(u64),
    /// A thread changed a table of one space without having that space for itself.
    NotLocked(u64),
    /// A frame that descriptors lead to as a table is a page of a program, too, or was until an invalidation that is
    /// not complete.
    TwoUses(u64),
    /// The kernel's half got another root.
    OtherKernel(u64),
    /// A thread that translates switched that off, or set how to anew.
    Reconfigured(Register),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::MakeBeforeClean(address) => {
                write!(f, "the descriptor at {address:#x} becomes valid before its invalidation is complete")
            }
            Violation::NoBreak { address, old, new } => {
                write!(f, "the valid descriptor at {address:#x} changes from {old:#x} to {new:#x} without a break")
            }
            Violation::ChangedWhileUnclean(address) => {
                write!(f, "the table with {address:#x} changes, and only unclean descriptors lead to it")
            }
            Violation::FreedInUse { frame, descriptor } => {
                write!(f, "frame {frame:#x} is freed, and TLBs may know it from the descriptor at {descriptor:#x}")
            }
            Violation::FreedRoot(frame) => write!(f, "the root {frame:#x} is freed, and TLBs may know it"),
            Violation::NotInitialised(address) => write!(f, "{address:#x} has not been initialised"),
            Violation::AsidReused(asid) => write!(f, "ASID {asid} has a new root, and TLBs may know the old one"),
            Violation::TwoAsids(root) => write!(f, "the root {root:#x} runs under two ASIDs"),
            Violation::NotLocked(address) => write!(f, "the table with {address:#x} changes without its space's lock"),
            Violation::TwoUses(frame) => write!(f, "frame {frame:#x} is a table and a page of a program"),
            Violation::OtherKernel(root) => write!(f, "the kernel's half has another root, {root:#x}"),
            Violation::Reconfigured(register) => write!(f, "{register:?} register set by a thread that translates"),
        }
    }
}

impl std::error::Error for Violation {}
