//! What the fork server knows without a system: a target with a planted bug, and the fuzzer that is to find it.
//!
//! ```text
//!   fuzzer ── input ──▶ target, warm with its table ── coverage ──▶ fuzzer
//!     ▲                    │                                          │
//!     └── corpus           └── stores ──▶ canvas                      └── new? keep the input
//! ```
//!
//! No process is made here, hence everything is tested on the host, the search for the bug included: there
//! the canvas notices the store that would be a fault on Graft. The program that uses it is `forkserver`.

pub mod coverage;
pub mod fuzzer;
pub mod input;
pub mod table;
pub mod target;
