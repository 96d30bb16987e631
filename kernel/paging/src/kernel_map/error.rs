//! Why a kernel's map refuses.

use core::fmt;

use crate::OutOfMemory;

/// Why an operation on a kernel's map was refused. Nothing has changed then. Each address is the first for which the
/// reason holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelMapError {
    /// The address, physical address or number of bytes is not a multiple of the page size.
    Unaligned(u64),
    /// The kernel's half does not contain the whole range that begins here.
    OutOfRange(u64),
    /// The range that begins here ends beyond the format's last physical address.
    NoPhysical(u64),
    /// Something is mapped at this address already.
    Occupied(u64),
    /// Nothing is mapped at this address.
    NotMapped(u64),
    /// Only a part of the block that begins at this address lies in the range.
    PartOfBlock(u64),
    /// There is no frame for a table.
    OutOfMemory,
}

impl From<OutOfMemory> for KernelMapError {
    fn from(_: OutOfMemory) -> KernelMapError {
        KernelMapError::OutOfMemory
    }
}

impl fmt::Display for KernelMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelMapError::Unaligned(value) => write!(f, "{value:#x} is not a multiple of the page size"),
            KernelMapError::OutOfRange(address) => {
                write!(f, "the kernel's half does not contain the whole range at {address:#x}")
            }
            KernelMapError::NoPhysical(address) => {
                write!(f, "the physical range at {address:#x} ends beyond the last physical address")
            }
            KernelMapError::Occupied(address) => write!(f, "something is mapped at {address:#x} already"),
            KernelMapError::NotMapped(address) => write!(f, "nothing is mapped at {address:#x}"),
            KernelMapError::PartOfBlock(address) => write!(f, "the range cuts the block at {address:#x}"),
            KernelMapError::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl core::error::Error for KernelMapError {}
