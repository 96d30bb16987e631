//! Faults as messages: a thread that cannot go on calls its process's supervisor.
//!
//! ```text
//!   fault ──▶ registers put aside ──▶ call, with what has happened ──▶ supervisor
//!   the thread runs again ◀── its registers, as the supervisor left them ◀── answer: go on, return a value, end
//! ```

use super::{Outcome, call_through, end_if_some};
use crate::object::endpoint::Reply;
use crate::object::stop;
use crate::object::thread::{Fault, Thread};
use crate::sched;
use graft_abi::{Error, REGISTERS};

/// Tells the supervisor of the current thread's process that it cannot go on, and stops it until that is answered.
/// [`None`]: there is none, and the process is ending. With [`Outcome::Again`] the instruction is executed again.
#[cold]
pub fn send(thread: &Thread, fault: Fault) -> Option<Outcome> {
    let Some(connection) = thread.process.supervisor() else {
        stop::end(thread, fault);
        return None;
    };
    let message = sched::stop(thread, fault);
    match call_through(thread, connection, message, 0) {
        Ok(Outcome::Again) => {
            sched::try_again(thread);
            Some(Outcome::Again)
        }
        Ok(outcome) => Some(outcome),
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
