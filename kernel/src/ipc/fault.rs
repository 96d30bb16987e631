//! Faults as messages: a thread that cannot go on calls its process's supervisor.
//!
//! ```text
//!   fault ──▶ registers put aside ──▶ call, with what has happened ──▶ supervisor
//!   the thread runs again ◀── its registers, as the supervisor left them ◀── answer: go on, return a value, end
//! ```

use super::{Called, call_through, end_if_some, straight};
use crate::arch::Context;
use crate::object::Ref;
use crate::object::endpoint::Reply;
use crate::object::stop;
use crate::object::thread::{Fault, Thread};
use crate::sched;
use graft_abi::{Error, REGISTERS};

/// What follows for the thread.
pub enum Sent {
    /// It is blocked. The thread with these registers runs in its place.
    Resumed(*mut Context),
    /// It is blocked. This one runs in its place.
    SwitchTo(Ref<Thread>),
    /// It is blocked.
    Blocked,
    /// It executes the instruction again, after others.
    Again,
}

/// Tells the supervisor of the current thread's process that it cannot go on, and stops it until that is answered.
/// [`None`]: there is none, and the process is ending.
#[cold]
pub fn send(thread: &Thread, fault: Fault) -> Option<Sent> {
    let Some(connection) = thread.process.supervisor() else {
        stop::end(thread, fault);
        return None;
    };
    let message = sched::stop(thread, fault);
    if let Some(resumed) = sched::with_registers(thread, |registers| straight::fault(thread, registers, &connection)) {
        return Some(Sent::Resumed(resumed));
    }
    match call_through(thread, connection, message, 0) {
        Ok(Called::SwitchTo(supervisor)) => Some(Sent::SwitchTo(supervisor)),
        Ok(Called::Blocked) => Some(Sent::Blocked),
        Ok(Called::NotYet) => {
            sched::try_again(thread);
            Some(Sent::Again)
        }
        Err(_) => {
            stop::end(thread, sched::go_on_stopped(thread));
            None
        }
    }
}

/// Reads or changes the registers of the thread whose fault is kept in a reply.
///
/// # Errors
/// [`Error::NotFound`] if none is kept there.
pub fn with_registers(reply: &Reply, look: impl FnOnce(&mut [u64; REGISTERS])) -> Result<(), Error> {
    let mut sides = reply.lock();
    let stopped = reply.take_stopped(&mut sides).ok_or(Error::NotFound)?;
    sched::with_stopped_registers(&stopped, look);
    let kept = reply.keep(&mut sides, stopped);
    drop(sides);
    end_if_some(kept.settle());
    Ok(())
}
