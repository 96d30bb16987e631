//! A copy-on-write translation tree.
//!
//! An address space *is* its translation tables; there is no second list of regions beside them. Tables and pages are
//! reference-counted frames. Forking shares subtrees, and a write copies down one path what is shared
//! (`Arc::make_mut`), whatever the level at which sharing starts.
//!
//! Four rules make it right. Each is kept in one place:
//!
//! 1. **Frozen while shared.** A table with more than one reference is never changed in meaning. Every store passes
//!    through `gate.rs` and needs a proof of exclusive ownership.
//! 2. **Read-only on the way in.** Every descriptor that leads to a shared table refuses stores for the whole
//!    subtree: `APTable` on Armv8, the ANDed R/W bit on x86_64. Set in `fork.rs`.
//! 3. **Both sides read-only below.** When `split.rs` copies a table, the entries of the original lose write permission as well as the copy's.
//! 4. **Drop after flush.** A reference goes only after the TLB invalidation that ends its use: `split.rs`, `edit.rs`, `exit.rs`.
//!
//! Start reading at `fork.rs` and `split.rs`.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]
#![deny(missing_docs)]

mod address;
mod commit;
mod edit;
mod entry;
mod exit;
mod fork;
mod format;
mod gate;
mod map;
mod memory;
mod relocate;
mod sizes;
mod snapshot;
mod space;
mod split;
mod sync;
mod walk;

pub use address::{ADDRESS_BITS, ENTRIES, Frame, Level, PAGE_BITS, PAGE_SIZE, VirtAddr, VirtRange};
pub use entry::{Access, Entry, Inherit, Kind, Page, Permissions, Reservation, Table};
pub use fork::Share;
pub use format::{AArch64, Format, X86_64};
pub use map::Foreign;
pub use memory::{Memory, OutOfMemory, Purpose, Reach, TableCounts, Tlb};
pub use sizes::Sizes;
pub use snapshot::Snapshot;
pub use space::{AddressSpace, Error, Translation, Usage};
pub use split::{Action, Fault, Resolved};
pub use walk::Visit;
