//! Translation tables as people see them.
//!
//! ```text
//!   records of `tables` ─▶ tree::Tree ─┬▶ picture   two processes side by side
//!                                      ├▶ listing   one process, runs of pages in a line
//!                                      └▶ check     do the raw bits say what the records claim?
//!   records ◀─▶ dump                    text for tools on a host
//! ```
//!
//! No input or output happens here, hence everything is tested on the host. The programs that use
//! it are `user/forkdemo` and `user/vmmap`.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod bits;
pub mod check;
pub mod dump;
pub mod listing;
pub mod paint;
pub mod picture;
pub mod tree;

#[cfg(test)]
mod sample;
