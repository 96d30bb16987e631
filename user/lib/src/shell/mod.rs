//! What the shell knows without a system: editing a line, and reading a command line.
//!
//! ```text
//!   bytes typed ─▶ edit::Editor ─▶ a line ─▶ parse::parse ─▶ commands with words
//!                       │
//!                       └─▶ bytes for the screen
//! ```
//!
//! The program that uses it is `sh`.

pub mod complete;
pub mod edit;
mod keys;
pub mod parse;

#[cfg(test)]
mod screen;
