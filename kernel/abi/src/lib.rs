//! The system-call interface: call numbers, error codes, message layouts.
//!
//! One crate, used by the kernel and by every program, so that the two cannot disagree. It holds
//! no policy and depends on nothing.
//!
//! # Calling convention
//!
//! A program executes `svc #1` with the call number in `x8` and up to six arguments in `x0`–`x5`.
//! On return `x0` is zero or positive for success (its meaning depends on the call) and a negated
//! [`Error`] for failure; `x1` holds a second result where a call has one. `x2`–`x17` are dead
//! after a call: the kernel need not preserve them, and it never leaves kernel data in them.
//! `x18`–`x30`, `sp` and the SIMD and floating-point registers are preserved.
//!
//! The calls that carry a message are made with `svc #2`: for these `x6`, `x7` and `x9` are arguments and results, too.
//!
//! `svc #0` is left free for binaries of other systems; a process without a supervisor that
//! executes it is ended with a report.
//!
//! # Handles
//!
//! A process names every kernel object, other processes included, by a handle in its own table.
//! There is no ambient authority: what a process holds no handle to, it cannot name.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod call;
mod error;
mod handle;
mod layout;
mod status;

pub use call::{Call, SVC_IMMEDIATE, SVC_MESSAGE};
pub use error::Error;
pub use handle::{Handle, Rights};
pub use layout::{
    ENTRY_ANY_LEVEL, EntryKind, EntryRecord, FORK_GUARANTEED, FirstProgram, JOB_LEVELS, JobOperation, MemorySizes,
    Permissions, ProcessInfo, ProcessState, Segment, Share, SpawnRequest, SystemInfo, TablesRequest, Text, ThreadInfo,
    TraceEvent, TraceKind, TraceRequest,
};
pub use status::{ExitStatus, FaultAnswer, FaultKind, REGISTERS, ThreadEnd};

/// Bytes in a page and in a translation table: the 4 KiB granule, the only one Graft uses.
pub const PAGE_SIZE: usize = 4096;

/// The lowest address a program may map. Everything below stays unmapped for good, so that a null
/// pointer plus a large offset still faults.
pub const USER_START: usize = 0x1_0000;

/// One past the highest user address: 48 bits, translated through `TTBR0_EL1`.
pub const USER_END: usize = 1 << 48;

/// One past the highest byte of a new program's stack, as all that start programs have agreed.
///
/// Program and stack lie close together in the first GiB: one level-2 table leads to both, with few empty descriptors
/// between them, so that a fork has one table less to copy and little to pass over.
pub const STACK_TOP: usize = 0x400_0000;

/// Bytes reserved for a new process's stack. They are demand-zero: only what is touched is backed.
pub const STACK_SIZE: usize = 8 << 20;

/// Bytes below a stack that nothing of a program lies in, so that an overflow hits nothing: a fault there is called one.
pub const STACK_GUARD: usize = 1 << 20;

/// Where the kernel places a mapping for which the program names no address: from here upwards.
pub const MAP_BASE: usize = 0x4000_0000;

/// Flag of `map`: a forked child does not get this memory.
pub const MAP_NO_INHERIT: u64 = 1 << 0;

/// Most threads that a process can have at a time, so that ending one is never long work.
pub const THREADS_MAX: usize = 1024;

/// Most cores that a machine can have.
pub const CORES_MAX: usize = 8;

/// How many priorities there are, from 0; of threads that are ready, one of the highest runs.
pub const PRIORITIES: usize = 32;

/// The priority with which the first program begins, and what it starts unless it says otherwise.
pub const PRIORITY_DEFAULT: u8 = 16;

/// Trigger of an interrupt: each rising edge is one. As in the device tree.
pub const TRIGGER_EDGE: u64 = 1;

/// Trigger of an interrupt: it is there for as long as its line is high. As in the device tree.
pub const TRIGGER_LEVEL: u64 = 4;

/// Most bytes of a memory object in consecutive frames: so few that looking for them, and giving them back, is never
/// long work.
pub const DMA_MAX: usize = 1 << 20;

/// Most bytes of arguments that programs are started with, terminators included.
pub const ARGUMENTS_MAX: usize = 16 << 10;

/// Most bytes that one console call moves; a longer buffer is written in part. So few that no call is long.
pub const CONSOLE_MAX: usize = 512;
