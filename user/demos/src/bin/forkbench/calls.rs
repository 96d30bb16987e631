//! The measured calls and faults of a process that shares nothing.

use core::arch::global_asm;
use core::time::Duration;

use graft_demos::calls::timed;
use graft_demos::span::Span;
use graft_rt::abi::{Call, SVC_IMMEDIATE};
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::{STANDARD_HANDLES, Start, close, sleep};
use graft_rt::{Error, Handle, Region};

/// The program that is started to measure a start.
const PROGRAM: &str = "true";

/// Counts of a call that does next to nothing.
pub(crate) fn null_call() -> Span {
    // SAFETY: the call touches no memory.
    let call = unsafe { timed(Call::Identify, []) };
    call.span()
}

/// Counts of unmapping a region, which is mapped again, without a page, afterwards.
pub(crate) fn unmap(region: &Region) -> Result<Span, Error> {
    // SAFETY: no reference into the region exists, and it is mapped again at once.
    let call = unsafe { timed(Call::Unmap, [region.address() as u64, region.bytes() as u64]) };
    call.x0?;
    region.remap(0..region.bytes())?;
    Ok(call.span())
}

/// Counts that it takes to start a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// What the file says, and the call that makes the process.
    pub(crate) spawn: Span,
    /// From before that call until the process has ended, which it does at once.
    pub(crate) spawn_exit_wait: Span,
}

/// Starts a program that ends at once, and waits for its end.
pub(crate) fn spawn(archive: &Archive) -> Result<Started, FileError> {
    // With its time used up, the caller would have to give way to the new process at once.
    sleep(Duration::from_nanos(1));
    let image = archive.file(PROGRAM)?;
    // SAFETY: the call touches no memory. It is there to read the counter before the file is looked at.
    let begin = unsafe { timed(Call::Identify, []) }.end;
    let start = Start::of_image(image, b"true\0")?;
    let request = start.request(&STANDARD_HANDLES);
    // SAFETY: the kernel only reads the request and what it points to.
    let made = unsafe { timed(Call::Spawn, [(&raw const request).addr() as u64]) };
    let handle = made.x0?;
    // SAFETY: the call touches no memory.
    let ended = unsafe { timed(Call::Wait, [handle]) };
    ended.x0?;
    close(Handle(handle as u32))?;
    Ok(Started { spawn: Span::between(begin, made.end), spawn_exit_wait: Span::between(begin, ended.end) })
}

global_asm!(
    ".section .text.ends_at_once, \"ax\"",
    "ends_at_once:",
    "mov     x8, {thread_exit}",
    "svc     {svc}",
    thread_exit = const Call::ThreadExit as u64,
    svc = const SVC_IMMEDIATE,
);

unsafe extern "C" {
    /// A thread that ends with its first instructions.
    safe fn ends_at_once() -> !;
}

/// Counts that it takes to make a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    /// The call that makes it.
    pub(crate) create: Span,
    /// From before that call until the thread, which ends at once, has been joined.
    pub(crate) create_exit_join: Span,
}

/// Makes a thread that ends at once, and joins it.
pub(crate) fn thread() -> Result<Thread, Error> {
    sleep(Duration::from_nanos(1));
    // The thread uses no stack, but has to have one.
    let stack = (ends_at_once as *const () as u64).next_multiple_of(16);
    // SAFETY: the new thread runs two instructions and touches no memory.
    let made = unsafe { timed(Call::ThreadCreate, [ends_at_once as *const () as u64, stack, 0, 0]) };
    let handle = made.x0?;
    // SAFETY: the call touches no memory.
    let joined = unsafe { timed(Call::ThreadJoin, [handle]) };
    joined.x0?;
    close(Handle(handle as u32))?;
    Ok(Thread { create: made.span(), create_exit_join: Span::between(made.begin, joined.end) })
}
