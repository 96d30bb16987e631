//! Builds Graft's images, boots them in QEMU and judges them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod archive;
pub mod card;
pub mod elf;
pub mod machine;
pub mod scratch;
pub mod session;
