//! Runtime library of Graft's programs: what lies between `main` and `svc #1`.
//!
//! ```text
//!   program          main(Arguments) -> i32 | Result<_, impl Display>
//!   ─────────────────────────────────────────────────────────────────────────────
//!   process  thread  snapshot  template  memory  archive  gate   objects with typed results
//!   message  notification  supervise  heal  store      calls to other processes
//!   device   ring                                      what drivers need
//!   elf                                                what program files say
//!   grants   names   files   stream                    what a program was given, and what it does with that
//!   system   tables  time      console                 what can be looked at
//!   heap     start   panic                             what a program needs to be Rust
//!   ─────────────────────────────────────────────────────────────────────────────
//!   call             the only `svc` of ordinary programs
//! ```
//!
//! A program is a crate with `#![no_std]`, `#![no_main]` and
//!
//! ```text
//! graft_rt::program!(main);
//!
//! fn main(arguments: graft_rt::Arguments) -> i32 {
//!     graft_rt::println!("hello, {}", arguments.get(1).unwrap_or("world"));
//!     0
//! }
//! ```
//!
//! On a host the crate compiles too, so that [`size`] and other pure parts are tested by plain
//! `cargo test`; a system call panics there.

#![cfg_attr(target_os = "none", no_std)]
#![deny(missing_docs)]

extern crate alloc;

pub mod archive;
pub mod call;
pub mod columns;
pub mod console;
pub mod device;
pub mod elf;
pub mod files;
pub mod gate;
pub mod grants;
pub mod heal;
#[cfg(target_os = "none")]
mod heap;
pub mod job;
pub mod memory;
pub mod message;
pub mod names;
pub mod notification;
#[cfg(target_os = "none")]
mod panic;
pub mod process;
pub mod ring;
pub mod size;
pub mod snapshot;
mod start;
pub mod store;
pub mod stream;
pub mod supervise;
pub mod sync;
pub mod system;
pub mod tables;
pub mod template;
pub mod test;
pub mod thread;
pub mod time;

pub use graft_abi as abi;
pub use graft_abi::{Error, ExitStatus, FaultKind, Handle, Permissions, Rights, Share};
pub use memory::Region;
pub use process::Process;
pub use start::{Arguments, Termination, arguments, start};
