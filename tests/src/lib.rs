//! Builds Graft's images, boots them in QEMU and judges them.
//!
//! ```text
//!   main ─┬▶ cases ─┬▶ bench ──▶ plots ─┬▶ builder ──▶ binary
//!         │         └───────────────────┴▶ harness
//!         └▶ judges
//! ```
//!
//! An arrow is an import; none leads back up, and a module may use any module to its right.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod bench;
pub mod binary;
pub mod builder;
pub mod cases;
pub mod harness;
pub mod judges;
pub mod plots;
