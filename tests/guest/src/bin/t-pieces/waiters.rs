//! Threads that only wait, as many as a process can have.

use core::arch::global_asm;
use core::sync::atomic::AtomicU32;

use graft_rt::abi::{Call, SVC_IMMEDIATE, SVC_MESSAGE};
use graft_rt::message::Connection;
use graft_rt::notification::Notification;
use graft_rt::{Error, Handle, Process, call, process};

global_asm!(
    ".section .text.waits, \"ax\"",
    "waits_for_word:",
    "mov     x1, xzr",
    "mov     x8, {wait_on}",
    "b       2f",
    "waits_for_end:",
    "mov     x8, {wait}",
    "b       2f",
    "calls:",
    "mov     x7, xzr",
    "mov     x9, xzr",
    "mov     x8, {call}",
    "svc     {svc_message}",
    "b       3f",
    "waits_for_bits:",
    "mov     x8, {wait_for_bits}",
    "2:",
    "mov     x2, xzr",
    "svc     {svc}",
    "3:",
    "mov     x8, {exit}",
    "svc     {svc}",
    wait_on = const Call::WaitOn as u64,
    wait = const Call::Wait as u64,
    wait_for_bits = const Call::NotificationWait as u64,
    call = const Call::Call as u64,
    exit = const Call::ThreadExit as u64,
    svc = const SVC_IMMEDIATE,
    svc_message = const SVC_MESSAGE,
);

unsafe extern "C" {
    /// A thread that waits while the word whose address it is given is 0.
    safe fn waits_for_word() -> !;
    /// A thread that waits for the notification whose handle it is given.
    safe fn waits_for_bits() -> !;
    /// A thread that waits for the end of the process whose handle it is given.
    safe fn waits_for_end() -> !;
    /// A thread that calls through the connection whose handle it is given.
    safe fn calls() -> !;
}

/// Starts a thread that uses no stack, with this argument.
fn start(entry: u64, argument: u64) -> Result<(), Error> {
    let stack = entry.next_multiple_of(16);
    // SAFETY: the thread waits, and touches no memory.
    let made = unsafe { call::raw(Call::ThreadCreate as u64, [entry, stack, argument, 0, 0, 0]) };
    let handle = Error::from_register(made.x0)?;
    process::close(Handle(handle as u32))
}

pub(crate) fn wait_on(word: &AtomicU32) -> Result<(), Error> {
    start(waits_for_word as *const () as u64, word.as_ptr().addr() as u64)
}

/// Starts a thread that waits for a notification.
pub(crate) fn wait_for(notification: &Notification) -> Result<(), Error> {
    start(waits_for_bits as *const () as u64, notification.handle().0.into())
}

/// Starts a thread that waits for the end of a process.
pub(crate) fn wait_for_end(of: &Process) -> Result<(), Error> {
    start(waits_for_end as *const () as u64, of.handle().0.into())
}

/// Starts a thread that makes a call.
pub(crate) fn call_through(connection: &Connection) -> Result<(), Error> {
    start(calls as *const () as u64, connection.handle().0.into())
}
