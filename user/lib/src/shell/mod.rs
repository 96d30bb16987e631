//! What the shell knows without a system: editing a line, reading a script, and what its words become.
//!
//! ```text
//!   bytes typed ─▶ edit::Editor ─▶ a line ─▶ parse::parse ─▶ syntax::List ─▶ expand::words ─▶ arguments
//!                       │            ▲                                           │
//!                       │            └── a script                                ├─▶ pattern     * ?
//!                       └─▶ bytes for the screen                                 ├─▶ arithmetic  $((…))
//!                                                                                └   condition   test, [
//! ```
//!
//! The program that uses it is `sh`.

pub mod arithmetic;
pub mod complete;
pub mod condition;
pub mod edit;
pub mod expand;
mod keys;
pub mod parse;
pub mod pattern;
pub mod syntax;

#[cfg(test)]
mod screen;
