//! Registers of threads that the calling core owns: messages, bits and faults go in and out of them.

use super::TakenOver;
use crate::arch::Context;
use crate::object::Ref;
use crate::object::thread::{Fault, Thread};
use graft_abi::{Call, FaultKind, Handle};

/// Gives a message to a thread that was waiting for one and that this core owns.
#[inline(always)]
pub fn deliver(receiver: &Ref<Thread>, message: [u64; 7], badge: u64) {
    // SAFETY: the caller has taken it out of its list and ended its wait, so that it is this core's, and it runs
    // nowhere.
    unsafe { &mut *receiver.context() }.set_message(message, badge);
}

/// Gives the current thread, to which a message has been delivered, the handle in it, as `transfer` leaves it.
#[inline(always)]
pub fn deliver_handle(resumed: &TakenOver, transfer: impl FnOnce(&Thread, u64) -> Handle) {
    let receiver = resumed.thread();
    // SAFETY: the current thread is this core's own.
    let registers = unsafe { &mut *receiver.context() };
    let [.., moved] = registers.message();
    registers.set_handle(transfer(receiver, moved).0.into());
}

/// Gives a thread that was waiting for bits of a notification, and that this core owns, those bits.
pub fn deliver_bits(waiter: &Ref<Thread>, bits: u64) {
    // SAFETY: as in `deliver`.
    unsafe { &mut *waiter.context() }.set_results([0, bits]);
}

/// Whether a thread that waits on a word waits on this one. The list that it stands in is locked.
pub fn waits_on(waiter: &Thread, address: u64) -> bool {
    // SAFETY: it runs nowhere while it stands in the list, and nothing but that changes this register.
    unsafe { &*waiter.context() }.arguments()[1] == address
}

/// Gives an answer to a thread that was waiting for it and that this core owns.
#[inline(always)]
pub fn deliver_answer(caller: &Ref<Thread>, message: [u64; 7]) {
    // SAFETY: as in `deliver`.
    unsafe { &mut *caller.context() }.set_message(message, 0);
}

/// Stops the current thread at a fault, and makes the message of it with which it calls its supervisor.
pub fn stop(current: &Thread, fault: Fault) -> [u64; 7] {
    // SAFETY: the current thread is this core's own, and nothing else borrows its registers.
    let registers = unsafe { &mut *current.context() };
    let [x0, x1, x2, ..] = registers.arguments();
    let address = match fault.kind {
        FaultKind::ForeignCall => registers.call_number(),
        _ => fault.address.unwrap_or(0),
    };
    // SAFETY: as above; a thread that runs is not stopped.
    unsafe { current.stop(fault) };
    let message = [fault.kind as u64, address, fault.pc, x0, x1, x2, 0];
    registers.set_message(message, 0);
    message
}

/// Looks at the registers of the current thread.
pub fn with_registers<R>(current: &Thread, look: impl FnOnce(&Context) -> R) -> R {
    // SAFETY: the current thread is this core's own, and nothing else borrows its registers.
    look(unsafe { &*current.context() })
}

/// Gives the current thread, which was to be stopped, its registers back.
pub fn go_on_stopped(current: &Thread) -> Fault {
    // SAFETY: the current thread is this core's own, and it has been stopped.
    unsafe { current.go_on() }
}

/// As [`go_on_stopped`], and has it execute the instruction again.
pub fn try_again(current: &Thread) {
    if go_on_stopped(current).kind == FaultKind::ForeignCall {
        // SAFETY: as above.
        unsafe { &mut *current.context() }.rewind();
    }
}

/// What a caller lends, if it does, and the deadline of its call. This core owns it.
pub fn lent(caller: &Ref<Thread>) -> (Option<[(u64, u64); 2]>, u64) {
    // SAFETY: as in `deliver`.
    let registers = unsafe { &*caller.context() };
    let lends = registers.call_number() == Call::CallLending as u64 && !caller.is_stopped();
    (lends.then(|| registers.lent()), registers.deadline())
}

/// Takes the message of a thread that was in line with it and that this core owns, and the deadline of its call.
#[inline(always)]
pub fn collect(caller: &Ref<Thread>) -> ([u64; 7], u64) {
    // SAFETY: as in `deliver`.
    let registers = unsafe { &*caller.context() };
    (registers.message(), registers.deadline())
}
