//! What depends on the instruction set: one architecture so far, behind one set of names.

mod aarch64;

pub use aarch64::*;
