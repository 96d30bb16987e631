//! The Graft microkernel as a program: the library, linked where `boot/` jumps to.

#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

use graft_kernel as _;

/// The host tests the library; there is no machine here to run on.
#[cfg(not(target_os = "none"))]
fn main() {}
