//! The caches and the TLB of a Cortex-A72, as a model that counts misses.
//!
//! ```text
//!   instruction ──▶ L1I 48 KiB, 3 ways ──┐
//!   load, store ──▶ L1D 32 KiB, 2 ways ──┼─▶ L2 1 MiB, 16 ways, of all cores ──▶ memory
//!        │                               │
//!        └─▶ TLB 1,024 entries, 4 ways ──▶ walker, walk cache
//! ```
//!
//! Sizes are those of the Cortex-A72 in a Raspberry Pi 4 (BCM2711: 1 MiB of L2); structure is the Technical Reference
//! Manual's (Arm 100095, chapters 5 to 7): 64-byte lines everywhere, least recently used lines make room in L1, L2
//! contains all that the L1 data caches contain, and a walker reads descriptors from L2.
//!
//! What the model leaves out, because the manual does not say enough or because it would hide what a program does: the
//! prefetchers (a run of neighbouring lines counts in full, silicon fetches part of it ahead), write streaming (a core
//! that overwrites whole lines stops to allocate them in L1), speculation, the L1 TLBs (what misses there hits the TLB
//! modelled here), and L2's pseudo-LRU (it is LRU here).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bench;
mod cache;
mod cluster;
mod counts;
mod instruction;
mod tlb;
mod walk;

pub use bench::{Bench, Detail, Missed, Span};
pub use cache::{Cache, Geometry, Touched};
pub use cluster::{Access, Cluster};
pub use counts::Counts;
pub use instruction::{Control, Instruction, Operand, Reach, Register};
pub use tlb::{Asid, Page, Scope, Tlb};
pub use walk::{Memory, Regime, Walk};

/// Bytes of a cache line, as a shift.
pub const LINE_SHIFT: u32 = 6;
