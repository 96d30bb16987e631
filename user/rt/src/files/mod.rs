//! Files: what a client asks a file server for, and in which words.
//!
//! ```text
//!   base connection ── Session, with a window ──▶ connection of its own ── Open, Read, Write … ──▶ file server
//!                                                    └ paths and contents pass through the window
//! ```
//!
//! A window is a memory object of [`WINDOW`] bytes that client and server map. The server takes what is in it for what
//! it is: bytes that a stranger may change at any moment. Files are numbers, which mean something in one session only.

mod client;
mod protocol;

pub use client::{Files, Mapped, Open, OpenFile, Retry, Status, Usage};
pub use protocol::{FileError, FileKind, Flags, Operation, WINDOW};

/// What an operation on files answers.
pub type Result<T> = core::result::Result<T, FileError>;
