//! What every call promises, as a state machine. It knows the interface ([`graft_abi`]) and nothing of the kernel.
//!
//! ```text
//!   state, thread, request ──▶ permitted ──▶ outcome: who goes on with which registers, and the state after that
//!                                            outcome: another one, where the kernel is free
//!   outcome, what was seen ──▶ agrees    ──▶ the next state, with the numbers that the kernel has chosen
//!                                            several, where what was seen does not tell
//! ```
//!
//! There is a file for each kind of object, with a function for each call, whose checks stand in the order in which errors
//! are told. Time is logical: a deadline has passed, comes before anything else happens, or never comes.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

mod call;
mod circle;
mod ends;
mod handle;
pub mod history;
mod job;
mod memory;
mod message;
mod notification;
mod outcome;
mod process;
mod request;
mod snapshot;
pub mod state;
mod supervise;
mod thread;

pub use call::{NOT_SPECIFIED, SPECIFIED};
pub use outcome::{Disagreement, Expect, Outcome, Return, Seen, permitted};
pub use request::{Deadline, Registers, Request, Trap};
pub use state::{Entry, Id, Machine, Object, State};
