//! Kernel objects: each in a frame of its own, counted, allocated fallibly.
//!
//! ```text
//!   one frame   | references, kind | the object | room that the object may use |
//! ```
//!
//! There is no kernel heap: what user space makes the kernel remember costs a frame each time, and
//! when no frame is left the call that asked for it fails.

pub mod block;
pub mod borrowed;
pub mod end;
pub mod endpoint;
pub mod heap;
pub mod interrupt;
pub mod job;
pub mod lineage;
pub mod list;
pub mod memory;
pub mod notification;
mod parting;
pub mod pieces;
pub mod process;
mod reference;
pub mod snapshot;
pub mod stop;
pub mod system;
pub mod table;
pub mod terminal;
pub mod thread;
pub mod wait;

pub(crate) use reference::write_fields;
pub use reference::{AnyRef, Kind, Object, Ref};
