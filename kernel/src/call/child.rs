//! A child: what a fork of a process and one of a snapshot have in common.

#![forbid(unsafe_code)]

use super::outcome::{Outcome, handle};
use crate::arch::Context;
use crate::object::Ref;
use crate::object::borrowed::Borrowed;
use crate::object::endpoint::Connection;
use crate::object::pieces::{Fork, Forked};
use crate::object::process::{Name, Process};
use crate::object::thread::Thread;
use crate::sched;
use crate::sched::complete::PROCESS_RIGHTS;
use crate::sched::work::Task;
use graft_abi::{Error, FORK_GUARANTEED, Handle, Rights, Share, TraceKind};
use graft_paging::Promise;

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

/// What a fork with these flags promises.
#[inline(always)]
pub(super) fn promise_of(flags: u64) -> Result<Promise, Error> {
    match flags {
        0 => Ok(Promise::BestEffort),
        FORK_GUARANTEED => Ok(Promise::Guaranteed),
        _ => Err(Error::BadArgument),
    }
}

/// `fork` in the place of a stopped thread: the child has its registers as they are and its process's handles, and is
/// supervised. Its handle and identifier are the caller's.
pub(super) fn fork_stopped(
    caller: &Thread,
    stopped: &Borrowed,
    share: u64,
    flags: u64,
    supervisor: u64,
) -> Result<Outcome, Error> {
    let (share, promise) = (share_of(share)?, promise_of(flags)?);
    let parent = &stopped.process;
    let supervisor = match supervisor {
        0 => parent.supervisor().ok_or(Error::NotAllowed)?,
        connection => caller.process.object::<Connection>(handle(connection), Rights::WRITE)?,
    };
    let child = Process::new(Some(parent), parent.name())?;
    child.handles.lock().copy_from(&parent.handles.lock())?;
    drop(child.set_supervisor(Some(supervisor)));
    let child_thread = sched::copy_of_stopped(stopped, child)?;
    // Always as one that takes long: so that it stays out of the way of a process's own.
    Ok(match Forked::begin(parent, share, promise)? {
        Some(forked) => {
            caller.work.give(Some(Task::Fork(forked, child_thread)));
            Outcome::Begun
        }
        None => Outcome::Busy,
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
