#![doc = include_str!("../README.md")]
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[doc = include_str!("soundness.md")]
pub mod soundness {}

mod address;
mod commit;
mod descriptor;
mod edit;
mod entry;
mod exit;
mod fork;
mod forking;
mod format;
mod gate;
mod kernel_map;
mod map;
mod memory;
mod pieces;
#[cfg(prove)]
pub mod proof;
mod relocate;
mod sizes;
#[cfg(feature = "snapshot")]
mod snapshot;
mod space;
mod split;
mod sync;
mod walk;

pub use address::{ADDRESS_BITS, ENTRIES, Frame, Level, PAGE_BITS, PAGE_SIZE, TABLES_MAX, VirtAddr, VirtRange};
pub use descriptor::Descriptor;
pub use entry::{Access, Entry, Inherit, Kind, Page, Permissions, Reservation, Table};
pub use exit::{Budget, Debris, Progress};
pub use fork::Share;
pub use forking::{Forking, Promise};
pub use format::{AArch64, Format, X86_64};
pub use kernel_map::{KernelEntry, KernelMap, KernelMapError, KernelMemory, KernelTranslation, Leaf, Mapping};
pub use map::Foreign;
pub use memory::{LINE, Memory, OutOfMemory, Purpose, Reach, TableCounts, Tlb};
pub use pieces::{Change, Operation};
pub use sizes::{PartialSizes, Sizes};
#[cfg(feature = "snapshot")]
pub use snapshot::Snapshot;
pub use space::{AddressSpace, Error, Translation, Usage};
pub use split::{Action, Fault, Resolved};
pub use walk::{Place, Search, Visit};
