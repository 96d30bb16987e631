//! A child: what a fork of a process and one of a snapshot have in common.

#![forbid(unsafe_code)]

use super::outcome::Outcome;
use crate::arch::Context;
use crate::object::Ref;
use crate::object::pieces::{Fork, Forked};
use crate::object::process::{Name, Process};
use crate::object::thread::Thread;
use crate::sched::complete::PROCESS_RIGHTS;
use crate::sched::work::Task;
use graft_abi::{Error, Handle, Rights, Share, TraceKind};

/// The caller's own process. Another's threads may be running at this moment: only the caller's registers are known.
pub(super) fn own(thread: &Thread, handle: Handle) -> Result<&Ref<Process>, Error> {
    let process = &thread.process;
    let is_own = handle == Handle::SELF || process.object::<Process>(handle, Rights::FORK)?.is(process);
    if is_own { Ok(process) } else { Err(Error::NotAllowed) }
}

/// The depth of sharing with this number.
pub(super) fn share_of(number: u64) -> Result<graft_paging::Share, Error> {
    Ok(match Share::from_number(number).ok_or(Error::BadArgument)? {
        Share::Copy => graft_paging::Share::Pages,
        Share::L3 => graft_paging::Share::Level3,
        Share::L2 => graft_paging::Share::Level2,
        Share::L1 => graft_paging::Share::Level1,
    })
}

/// Makes a child with the caller's handles, one thread with these registers and what `floating_point` gives it, and a
/// tree from `tree`. That may answer that the fork takes long: then `begin` begins it. Either may answer that the call
/// has to wait. The call's results are the child's handle and identifier.
#[inline(always)]
pub(super) fn make_child(
    thread: &Thread,
    name: Name,
    registers: &Context,
    floating_point: impl FnOnce(&Thread),
    tree: impl FnOnce() -> Result<Fork, Error>,
    begin: impl FnOnce() -> Result<Option<Forked>, Error>,
) -> Result<Outcome, Error> {
    let parent = &thread.process;
    // Locked to the end: room that is found now is still there when the child is complete.
    let mut handles = parent.handles.lock();
    if !handles.has_room() {
        return Err(Error::HandlesExhausted);
    }
    // Before the records are made: the lines of its tables would push them out of the cache.
    let tree = match tree()? {
        Fork::Made(tree) => Some(tree),
        Fork::Long => None,
        Fork::Busy => return Ok(Outcome::Busy),
    };
    let child = Process::new(Some(parent), name)?;
    child.handles.lock().copy_from(&handles)?;
    let child_thread = Thread::new(child.clone(), thread.scheduling(), registers, |_| {})?;
    floating_point(&child_thread);
    match tree {
        Some(tree) => child.space.install(tree.take()),
        None => {
            return Ok(match begin()? {
                Some(forked) => {
                    thread.work.give(Some(Task::Fork(forked, child_thread)));
                    Outcome::Begun
                }
                None => Outcome::Busy,
            });
        }
    }
    // Complete: it can be seen from here on, and nothing can fail any more.
    let identifier = Process::start(child_thread, Some(parent), TraceKind::Fork, |registers, identifier| {
        registers.set_results([0, identifier]);
    });
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok(Outcome::Done((handle.0.into(), identifier)))
}
