//! Boots a machine in QEMU, talks to it, and judges how it ends.
//!
//! ```text
//!   machine ──▶ a command line ──▶ session ──▶ Ended ──▶ verdict
//!                      └▶ foreground      ▲        runner: many cases at a time, and the count
//!                                  watch ─┘
//! ```

pub mod foreground;
pub mod host;
pub mod machine;
pub mod runner;
pub mod scratch;
pub mod session;
pub mod verdict;
pub mod watch;
