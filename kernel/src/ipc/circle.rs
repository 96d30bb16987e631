//! Circles of calls: a call that could only be received by what waits for its own caller is refused.
//!
//! ```text
//!   caller ──▶ endpoint, no thread receives ── its replies: who has them?
//!     ▲                                              │
//!     │  processes that wait for the caller:  ◀──────┘  all of them: the call would never be received
//!     └── of its own replies, the callers; of theirs, the callers; ...
//! ```
//!
//! The look goes backwards, from the caller to those that wait for it, because that is what replies know. It counts only
//! what is certain: processes with one thread, which waits without a deadline; replies that one handle leads to. So a
//! call is never refused that one of the replies there are could still receive, and circles through servers with several
//! threads are not found. What is found stays so: each of these threads waits until the next one goes on, and the last of
//! them is this core's.
//!
//! A call to a thread that receives never closes a circle: that thread waits for no other. So only calls that are to
//! wait in line are looked at, and of these the ones of a thread that works for a caller, or to an endpoint of its own
//! process. Such calls wait in line one after the other: of two that would close a circle at the same moment, the second
//! one finds the first.

use super::{Called, end_if_some, wait_in_line};
use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::endpoint::{Connection, Reply};
use crate::object::process::Process;
use crate::object::thread::{Account, Thread};
use graft_abi::Error;

/// Held from the look to the wait.
static LOOKING: Mutex<()> = Mutex::new(());

/// Processes that a look goes through.
const PROCESSES: usize = 8;
/// Handles that it goes through.
const HANDLES: usize = 300;
/// How often it tries to lock another process's table of handles.
const LOOKS: u32 = 100;

/// Whether a call that has to wait in line is worth a look.
pub fn may_close(thread: &Thread, connection: &Connection) -> bool {
    thread.account() != Account::Own || connection.is_served_by(thread.process.identifier())
}

/// Has the current thread wait in line, unless that would be for itself.
///
/// # Errors
/// [`Error::WouldDeadlock`], and [`Error::Gone`] as for every call.
#[cold]
#[inline(never)]
pub(super) fn wait(thread: &Thread, connection: Ref<Connection>) -> Result<Called, Error> {
    let mut chain = Chain([const { None }; PROCESSES]);
    let looking = LOOKING.lock();
    if chain.leads_to(&thread.process, &connection) {
        return Err(Error::WouldDeadlock);
    }
    let sides = connection.sides()?;
    if !sides.receivers.is_empty() {
        // It has come meanwhile.
        return Ok(Called::NotYet);
    }
    let ended = wait_in_line(sides, connection.clone(), 0);
    drop(looking);
    end_if_some(ended);
    Ok(Called::Blocked)
}

/// Processes that wait for the first of them.
struct Chain([Option<Ref<Process>>; PROCESSES]);

impl Chain {
    /// Whether all replies of the endpoint that a connection leads to are theirs.
    fn leads_to(&mut self, first: &Ref<Process>, connection: &Connection) -> bool {
        let (mut theirs, mut handles) = (0, HANDLES);
        self.add(first);
        for index in 0..PROCESSES {
            let Some(process) = self.0[index].clone() else { break };
            if process.has_other_threads() {
                continue;
            }
            let Some(table) = process.handles.lock_within(LOOKS) else { continue };
            for object in table.iter() {
                let Some(left) = handles.checked_sub(1) else { return false };
                handles = left;
                let Some(reply) = object.as_kind::<Reply>().filter(|reply| reply.is_only()) else { continue };
                theirs += u32::from(reply.receives_from(connection));
                reply.waiting(|caller| self.add(&caller.process));
            }
            drop(table);
        }
        theirs != 0 && theirs == connection.replies()
    }

    /// Adds a process, if there is room and it is not there.
    fn add(&mut self, process: &Ref<Process>) {
        let free = self.0.iter_mut().find(|place| place.as_ref().is_none_or(|there| there.is(process)));
        if let Some(place) = free
            && place.is_none()
        {
            *place = Some(process.clone());
        }
    }
}
