//! Objects of the kernel's own, and a thread and a process made for the model.

#[path = "../../../src/object/end.rs"]
pub mod end;
#[path = "../../../src/object/endpoint.rs"]
pub mod endpoint;
#[path = "../../../src/object/heap.rs"]
pub mod heap;
#[path = "../../../src/object/list.rs"]
pub mod list;
#[path = "../../../src/object/notification.rs"]
pub mod notification;
pub mod parting;
pub mod process;
#[path = "../../../src/object/reference.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "the kernel uses the rest of it")]
mod reference;
pub mod thread;
#[path = "../../../src/object/wait.rs"]
pub mod wait;

pub use reference::{AnyRef, Kind, Object, Ref};
