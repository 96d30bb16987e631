//! What depends on the instruction set, behind one set of names: AArch64 on the boards, and the host's stand-in.

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
mod aarch64;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
pub use aarch64::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::*;

/// From AArch64's syndrome register to a typed trap.
#[path = "aarch64/exception.rs"]
mod exception;
/// Arithmetic of AArch64 that the host tests, and that the comparison of architectures uses.
#[path = "aarch64/invalidation.rs"]
pub mod invalidation;

pub use exception::{Abort, AbortCause, Trap, decode};

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysRange {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
}

impl PhysRange {
    /// Bytes.
    pub const fn size(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` lies within.
    pub const fn contains(self, other: PhysRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}
