//! Why a thread has entered the kernel other than by a call, in words that every architecture has.

use graft_abi::FaultKind;
use graft_paging::Access;

/// Why a thread has entered the kernel other than by a call of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A device, a timer or another core wants attention.
    Interrupt,
    /// A load, store or instruction fetch failed.
    Access(Failure),
    /// The first use of floating point while it is switched off.
    FloatingPoint,
    /// The instruction can be tried again: what stopped it concerns the architecture alone, which has seen to it.
    Again,
    /// What no program may do.
    Error(FaultKind),
}

/// A failed access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The address used.
    pub address: u64,
    /// What was attempted.
    pub access: Access,
    /// Why it failed.
    pub cause: Cause,
}

/// Why an access to memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No descriptor, or one that does not permit it: the tree may have an answer.
    Descriptor,
    /// Something to which no tree has an answer.
    Error(FaultKind),
}
