//! Translation tables as people see them.
//!
//! ```text
//!   records of `tables` ─▶ tree::Tree ─┬▶ picture   two processes side by side
//!                                      ├▶ listing   one process, runs of pages in a line
//!                                      └▶ check     do the raw bits say what the records claim?
//!   records ◀─▶ dump                    text for tools on a host
//! ```
//!
//! The programs that use it are `forkdemo` and `vmmap`.

pub mod bits;
pub mod check;
pub mod dump;
pub mod listing;
pub mod paint;
pub mod picture;
pub mod tree;

#[cfg(test)]
mod sample;
