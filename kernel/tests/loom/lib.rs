//! The kernel's protocols between cores, under loom: every interleaving and every value that a load may return.
//!
//! The files are the kernel's own, compiled a second time with loom's atomics. What surrounds them is small and made
//! for this: a thread has no program, a core no processor. `make loom` runs them; otherwise this crate is empty.
#![cfg(loom)]

#[path = "../../src/memory/asid.rs"]
pub mod asid;
#[path = "../../src/lock.rs"]
pub mod spin;

pub mod arch;
pub mod lock;
pub mod memory;
pub mod object;
pub mod sched;
pub mod sync;
