//! Builds Graft's images, boots them in QEMU and judges them.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod archive;
pub mod barriers;
pub mod bench;
pub mod build;
pub mod card;
pub mod cases;
pub mod compare;
pub mod elf;
pub mod figures;
pub mod foreground;
pub mod host;
pub mod machine;
pub mod picture;
pub mod plot;
pub mod profile;
pub mod runner;
pub mod scratch;
pub mod session;
pub mod symbols;
pub mod verdict;
