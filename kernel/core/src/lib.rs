//! The kernel's algorithms that need no machine: pulled out so that they are tested on the host.
//!
//! | module | what it decides |
//! |---|---|
//! | [`asid`] | which address-space identifier a process runs with, on which core |
//! | [`device_tree`] | whether a device tree blob is one |
//! | [`handle`] | what a handle names and what may be done with it |
//! | [`heap`] | which sleeper wakes next |
//! | [`invalidation`] | which TLB maintenance instructions a changed range takes |
//! | [`list`] | who stands in which queue |
//! | [`pieces`] | which memory there is |
//! | [`program`] | whether an ELF file is a program, and what goes where |
//!
//! Nothing here allocates, reads a register or knows a board.

#![cfg_attr(not(test), no_std)]
#![deny(missing_docs)]

pub mod asid;
pub mod device_tree;
pub mod handle;
pub mod heap;
pub mod invalidation;
pub mod list;
pub mod pieces;
pub mod program;
