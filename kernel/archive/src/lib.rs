//! Boot archives as people make them, read where they lie.
//!
//! ```text
//!   bytes ──Kind::of──▶ gzip ──gzip::unpack──▶ bytes
//!                       tar, cpio ──Archive::new──▶ entries, and files by name
//!                       anything else: what it is, by name
//! ```
//!
//! | format | what is read of it | by |
//! |---|---|---|
//! | tar | v7, ustar, GNU (long names), pax (`path`, `linkpath`, `size`), links | POSIX.1-2017, `pax`; GNU tar manual, "Basic Tar Format" |
//! | cpio | `newc` and `crc`, several after each other, hard links | Linux, Documentation/driver-api/early-userspace/buffer-format.rst |
//! | gzip | of either, several members | RFC 1951, RFC 1952 |
//!
//! Nothing here allocates. Names are compared component by component, so that `./init`, `/init` and `init` are one
//! name. Of several entries with one name the last counts, as it does when an archive is unpacked.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod archive;
mod cpio;
mod entry;
mod error;
#[cfg(feature = "gzip")]
pub mod gzip;
mod kind;
mod lookup;
mod tar;

pub use archive::{Archive, Entries};
pub use entry::{Content, Entry, Path};
pub use error::{Damage, Error};
pub use kind::Kind;
pub use lookup::LookupError;
