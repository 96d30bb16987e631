//! What the programs that measure have in common: times between readings of the machine's counter, and how figures are
//! shown.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

#[cfg(target_os = "none")]
#[allow(unsafe_code)]
pub mod calls;
pub mod figures;
pub mod span;
