//! Faults as messages: a thread that cannot go on calls its process's supervisor.
//!
//! ```text
//!   fault ──▶ registers put aside ──▶ call, with what has happened ──▶ supervisor
//!   the thread runs again ◀── its registers, as the supervisor left them ◀── answer: go on, return a value, end
//! ```

use super::{Called, call_through, straight};
use crate::arch::Context;
use crate::object::Ref;
use crate::object::stop;
use crate::object::thread::{Fault, Thread};
use crate::sched;

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
