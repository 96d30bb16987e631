//! What the shell knows without a system: editing a line, and reading a command line.
//!
//! ```text
//!   bytes typed ─▶ edit::Editor ─▶ a line ─▶ parse::parse ─▶ commands with words
//!                       │
//!                       └─▶ bytes for the screen
//! ```
//!
//! No input or output happens here, hence everything is tested on the host. The program that uses
//! it is `user/sh`.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod complete;
pub mod edit;
mod keys;
pub mod parse;

#[cfg(test)]
mod screen;
