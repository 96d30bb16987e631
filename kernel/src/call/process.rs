//! Calls about the life of processes.

#![forbid(unsafe_code)]

use super::child::{make_child, own, promise_of, share_of};
use super::outcome::{Next, Outcome, answer, end, named_process};
use super::{snapshot, wait};
use crate::arch::Context;
use crate::memory::user_copy;
use crate::object::pieces::{self, Forked};
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use crate::sched;
use crate::sched::launch::Launch;
use crate::sched::work::Task;
use graft_abi::{Error, ExitStatus, Handle, Rights, SpawnRequest};
use graft_paging::Promise;

/// `fork`: a copy of the calling process, with a copy of the calling thread; or a process out of a snapshot.
pub(super) fn fork(
    thread: &Thread,
    registers: &Context,
    handle: Handle,
    share: u64,
    flags: u64,
) -> Result<Outcome, Error> {
    let share = share_of(share)?;
    let promise = promise_of(flags)?;
    let parent = &thread.process;
    if handle != Handle::SELF {
        match parent.object::<Snapshot>(handle, Rights::FORK) {
            // The guarantee, like the depth of sharing, is the snapshot's.
            Ok(_) if promise == Promise::Guaranteed => return Err(Error::BadArgument),
            Ok(snapshot) => return snapshot::fork(thread, &snapshot),
            Err(Error::WrongObject) => _ = own(thread, handle)?,
            Err(error) => return Err(error),
        }
    }
    let copy = |child: &Thread| sched::copy_floating_point(thread, child);
    let tree = || pieces::fork(parent, share, promise);
    make_child(thread, parent.name(), registers, copy, tree, || Forked::begin(parent, share, promise))
}

/// `spawn`: a new process from segments in the caller's memory.
pub(super) fn spawn(thread: &Thread, request: u64) -> Result<Outcome, Error> {
    launch(thread, request, Launch::spawn)
}

/// `spawn_warm`: a new process from a snapshot.
pub(super) fn spawn_warm(thread: &Thread, request: u64, snapshot: Handle) -> Result<Outcome, Error> {
    let snapshot = thread.process.object::<Snapshot>(snapshot, Rights::FORK)?;
    launch(thread, request, |request| Launch::of_snapshot(request, snapshot))
}

/// `exec`: another program in the same process.
#[inline(never)]
pub(super) fn exec(thread: &Thread, request: u64) -> Result<Outcome, Error> {
    // The other threads would lose the program that they run.
    if thread.process.has_other_threads() {
        return Err(Error::NotAllowed);
    }
    launch(thread, request, Launch::exec)
}

fn launch(thread: &Thread, request: u64, make: impl FnOnce(SpawnRequest) -> Launch) -> Result<Outcome, Error> {
    let launch = make(user_copy::read(&*thread.process, request)?);
    thread.work.give(Some(Task::Launch(launch)));
    Ok(Outcome::Begun)
}

/// `wait`: blocks until a process has ended.
pub(super) fn wait_for(process: &Process, registers: &mut Context, handle: Handle) -> Next {
    let target = match process.object::<Process>(handle, Rights::WAIT) {
        Ok(target) if target.is(process) => return answer(registers, Err(Error::NotAllowed)),
        Ok(target) => target,
        // It would wait for itself.
        Err(_) if handle == Handle::SELF => return answer(registers, Err(Error::NotAllowed)),
        Err(error) => return answer(registers, Err(error)),
    };
    wait::until_end(&target, registers)
}

/// `kill`: ends a process.
pub(super) fn kill(thread: &Thread, registers: &mut Context, handle: Handle, code: i32) -> Next {
    let target = match named_process(thread, handle, Rights::KILL) {
        Ok(target) => target,
        Err(error) => return answer(registers, Err(error)),
    };
    if target.is(&thread.process) {
        return end(thread, ExitStatus::Killed(code));
    }
    target.terminate(ExitStatus::Killed(code), thread);
    answer(registers, Ok(0))
}
