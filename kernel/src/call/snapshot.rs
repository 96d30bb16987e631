//! Calls about snapshots: taking one, going back to it, making a process of it.

#![forbid(unsafe_code)]

use super::child::{make_child, own, share_of};
use super::outcome::Outcome;
use crate::arch::Context;
use crate::memory::change::Draft;
use crate::object::Ref;
use crate::object::borrowed::Borrowed;
use crate::object::pieces::{self, Fork, Forked, Kept};
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use crate::sched::work::Task;
use crate::sched::{self, complete};
use graft_abi::{Error, Handle, Rights};
use graft_paging::Progress;

/// `snapshot`: keeps the caller's memory and the calling thread's registers.
pub(super) fn take(
    thread: &Thread,
    registers: &Context,
    handle: Handle,
    share: u64,
    flags: u64,
) -> Result<Outcome, Error> {
    let share = depth_of(share, flags)?;
    let process = own(thread, handle)?;
    keep(thread, process, share, || Snapshot::new(registers, sched::floating_point(thread), process.name()))
}

/// How deep a snapshot shares.
pub(super) fn depth_of(share: u64, flags: u64) -> Result<graft_paging::Share, Error> {
    if flags != 0 {
        return Err(Error::BadArgument);
    }
    share_of(share)
}

/// Keeps a process's memory in an object that `make` makes, with the registers. Its handle is the caller's.
pub(super) fn keep(
    thread: &Thread,
    process: &Ref<Process>,
    share: graft_paging::Share,
    make: impl FnOnce() -> Result<Ref<Snapshot>, Error>,
) -> Result<Outcome, Error> {
    if !thread.process.handles.lock().has_room() {
        return Err(Error::HandlesExhausted);
    }
    let snapshot = make()?;
    let later = |forked| thread.work.give(Some(Task::Keep(forked, snapshot.clone())));
    match pieces::keep(process, share, later)? {
        Kept::Made(tables) => snapshot.fill(tables),
        Kept::Begun => return Ok(Outcome::Begun),
        Kept::Busy => return Ok(Outcome::Busy),
    }
    complete::snapshot(&thread.process, snapshot).map(Outcome::Done)
}

/// What has become of a restore.
pub(super) enum Restored {
    /// It is done, and the registers are the snapshot's.
    Done,
    /// The calling thread has been given the rest as its work.
    Begun,
}

/// `restore`: brings memory and registers back; the call that took the snapshot returns once more.
pub(super) fn restore(
    thread: &Thread,
    registers: &mut Context,
    handle: Handle,
    snapshot: Handle,
    value: u64,
) -> Result<Restored, Error> {
    let process = own(thread, handle)?;
    let object = process.object::<Snapshot>(snapshot, Rights::FORK)?;
    // 0 is what the call returned when it took the snapshot.
    if value == 0 {
        return Err(Error::BadArgument);
    }
    let results = [snapshot.0.into(), value];
    if let Progress::More = bring_back(thread, process, &object, results)? {
        return Ok(Restored::Begun);
    }
    sched::replace_floating_point(thread, object.floating_point());
    registers.clone_from(object.registers());
    registers.set_results(results);
    Ok(Restored::Done)
}

/// `restore` of a stopped thread and its process's memory, to a snapshot of whichever process.
pub(super) fn restore_stopped(thread: &Thread, stopped: &Borrowed, snapshot: Handle) -> Result<Outcome, Error> {
    let object = thread.process.object::<Snapshot>(snapshot, Rights::FORK)?;
    Ok(match bring_back(thread, &stopped.process, &object, [0; 2])? {
        Progress::More => Outcome::Begun,
        Progress::Done => {
            sched::bring_stopped_back(stopped, &object);
            Outcome::Done((0, 0))
        }
    })
}

/// Brings a process's memory back to a snapshot, or has the calling thread do it as its work, and then the rest.
fn bring_back(
    thread: &Thread,
    process: &Process,
    snapshot: &Ref<Snapshot>,
    results: [u64; 2],
) -> Result<Progress, Error> {
    // The other threads would lose the memory that they work on.
    if process.has_other_threads() {
        return Err(Error::NotAllowed);
    }
    let mut tree = process.space.lock()?;
    // A restore that takes too long is replaced by a fork of the snapshot, in the place of the process's memory, if
    // there are frames for its tables.
    if snapshot.fork_cost(pieces::FORK) >= pieces::FORK
        && snapshot.restore_cost(&tree, pieces::FORK) >= pieces::FORK
        && let Ok(forked) = Forked::of(snapshot)
    {
        thread.work.give(Some(Task::Restore(Some(forked), snapshot.clone(), results)));
        return Ok(Progress::More);
    }
    snapshot.restore(&mut tree)?;
    Ok(Progress::Done)
}

/// `fork` of a snapshot: a process that goes on where the snapshot was taken.
pub(super) fn fork(thread: &Thread, snapshot: &Ref<Snapshot>) -> Result<Outcome, Error> {
    make_child(
        thread,
        snapshot.name,
        snapshot.registers(),
        |child| sched::give_floating_point(child, snapshot.floating_point()),
        || {
            if snapshot.fork_cost(pieces::FORK) >= pieces::FORK {
                return Ok(Fork::Long);
            }
            snapshot.fork().map(|tree| Fork::Made(Draft::of(tree)))
        },
        || Forked::of(snapshot).map(Some),
    )
}
