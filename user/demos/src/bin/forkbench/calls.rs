//! The measured calls and faults of a process that shares nothing.

use core::arch::{asm, global_asm};
use core::time::Duration;

use graft_rt::abi::{Call, SVC_IMMEDIATE, SpawnRequest, Text};
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::{Process, STANDARD_HANDLES, close, sleep, yield_now};
use graft_rt::{Error, Handle, Region, Share};

use crate::span::Span;

/// The program that is started to measure a start.
const PROGRAM: &str = "true";
/// Yields until both processes have all that they write to.
const WARM_UP: usize = 4;

/// A call that was made, between two readings of the machine's counter.
struct Timed {
    begin: u64,
    end: u64,
    /// What the call has left in `x0`, or why it has failed.
    x0: Result<u64, Error>,
}

impl Timed {
    fn span(&self) -> Span {
        Span::between(self.begin, self.end)
    }
}

/// Makes a call.
///
/// # Safety
///
/// As [`graft_rt::call::raw`].
unsafe fn timed<const N: usize>(call: Call, arguments: [u64; N]) -> Timed {
    let mut all = [0; 4];
    all[..N].copy_from_slice(&arguments);
    let [x0, x1, x2, x3] = all;
    let (begin, end, result): (u64, u64, u64);
    // SAFETY: what the kernel does not preserve is declared; the rest is the caller's contract.
    unsafe {
        asm!(
            "isb",
            "mrs     x20, cntvct_el0",
            "svc     {svc}",
            "isb",
            "mrs     x21, cntvct_el0",
            svc = const SVC_IMMEDIATE,
            inout("x0") x0 => result,
            inout("x1") x1 => _,
            inout("x2") x2 => _,
            inout("x3") x3 => _,
            inout("x8") call as u64 => _,
            out("x20") begin,
            out("x21") end,
            clobber_abi("C"),
            options(nostack),
        );
    }
    Timed { begin, end, x0: Error::from_register(result) }
}

/// Counts of one write to `address`.
pub(crate) fn write(address: usize) -> Span {
    let (begin, end): (u64, u64);
    // SAFETY: the caller owns the page, and no Rust object lives in it.
    unsafe {
        asm!(
            "isb",
            "mrs     {begin}, cntvct_el0",
            "strb    wzr, [{address}]",
            "isb",
            "mrs     {end}, cntvct_el0",
            address = in(reg) address,
            begin = out(reg) begin,
            end = out(reg) end,
            options(nostack),
        );
    }
    Span::between(begin, end)
}

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

/// Counts from one process to another and back, by a yield of each. There must be one core:
/// with a second core, neither process would have to give way.
pub(crate) fn yield_and_back() -> Result<Span, Error> {
    let other = Process::fork_into(Share::default(), || {
        loop {
            yield_now();
        }
    })?;
    // SAFETY: the call touches no memory.
    let back = || unsafe { timed(Call::Yield, []) };
    for _ in 0..WARM_UP {
        back();
    }
    let call = back();
    other.kill(0)?;
    other.wait()?;
    Ok(call.span())
}

/// Counts that it takes to start a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The call that makes the process.
    pub(crate) spawn: Span,
    /// From before that call until the process has ended, which it does at once.
    pub(crate) spawn_exit_wait: Span,
}

/// Starts a program that ends at once, and waits for its end.
pub(crate) fn spawn(archive: &Archive) -> Result<Start, FileError> {
    // With its time used up, the caller would have to give way to the new process at once.
    sleep(Duration::from_nanos(1));
    let text = |bytes: &[u8]| Text { address: bytes.as_ptr().addr() as u64, length: bytes.len() as u64 };
    let request = SpawnRequest {
        image: text(archive.file(PROGRAM)?),
        arguments: text(b"true\0"),
        handles: STANDARD_HANDLES.as_ptr().addr() as u64,
        handle_count: STANDARD_HANDLES.len() as u64,
    };
    // SAFETY: the kernel only reads the request and what it points to.
    let made = unsafe { timed(Call::Spawn, [(&raw const request).addr() as u64]) };
    let handle = made.x0?;
    // SAFETY: the call touches no memory.
    let ended = unsafe { timed(Call::Wait, [handle]) };
    ended.x0?;
    close(Handle(handle as u32))?;
    Ok(Start { spawn: made.span(), spawn_exit_wait: Span::between(made.begin, ended.end) })
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
