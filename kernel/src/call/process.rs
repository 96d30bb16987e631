//! Calls about the life of processes.

#![forbid(unsafe_code)]

use super::{Outcome, answer, end, named_process, snapshot, wait};
use crate::arch::Context;
use crate::call::Next;
use crate::memory::kernel_memory::Tree;
use crate::memory::{space, user_copy};
use crate::object::pieces::{self, Fork, Forked};
use crate::object::process::{Name, Process};
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use crate::object::{AnyRef, Ref};
use crate::program::{Loaded, Loading, UserText};
use crate::sched;
use crate::sched::work::Task;
use graft_abi::{Error, ExitStatus, FORK_GUARANTEED, Handle, Rights, Share, SpawnRequest};
use graft_paging::{Progress, Promise};

/// The rights of the handle to a new process that its maker gets.
const PROCESS_RIGHTS: Rights =
    Rights::WAIT.or(Rights::KILL).or(Rights::INSPECT).or(Rights::FORK).or(Rights::DUPLICATE).or(Rights::SUPERVISE);

/// What of these a child gets that is given its parent's [`Handle::SELF`].
const SELF_RIGHTS: Rights = Rights(!Rights::SUPERVISE.0);

/// `fork`: a copy of the calling process, with a copy of the calling thread; or a process out of a snapshot.
pub(super) fn fork(
    thread: &Thread,
    registers: &Context,
    handle: Handle,
    share: u64,
    flags: u64,
) -> Result<Outcome, Error> {
    let share = share_of(share)?;
    let guaranteed = match flags {
        0 => false,
        FORK_GUARANTEED => true,
        _ => return Err(Error::BadArgument),
    };
    let parent = &thread.process;
    if handle != Handle::SELF {
        match parent.object::<Snapshot>(handle, Rights::FORK) {
            // The guarantee, like the depth of sharing, is the snapshot's.
            Ok(_) if guaranteed => return Err(Error::BadArgument),
            Ok(snapshot) => return snapshot::fork(thread, &snapshot),
            Err(Error::WrongObject) => _ = own(thread, handle)?,
            Err(error) => return Err(error),
        }
    }
    let promise = if guaranteed { Promise::Guaranteed } else { Promise::BestEffort };
    let copy = |child: &Thread| sched::copy_floating_point(thread, child);
    let tree = || pieces::fork(parent, share, promise);
    make_child(thread, parent.name(), registers, copy, tree, || Forked::begin(parent, share, promise))
}

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
    let child = Process::new(parent.identifier(), name)?;
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
    let identifier = Process::start(child_thread, |registers, identifier| registers.set_results([0, identifier]));
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok(Outcome::Done((handle.0.into(), identifier)))
}

/// The rest of a fork in pieces: the child has its tree now.
pub fn complete_fork(parent: &Process, tree: Tree, child_thread: Ref<Thread>) -> Result<(u64, u64), Error> {
    let child = child_thread.process.clone();
    child.space.install(tree);
    let mut handles = parent.handles.lock();
    if !handles.has_room() {
        child.space.destroy();
        return Err(Error::HandlesExhausted);
    }
    let identifier = Process::start(child_thread, |registers, identifier| registers.set_results([0, identifier]));
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok((handle.0.into(), identifier))
}

/// `spawn`: a new process from a program file in the caller's memory.
pub(super) fn spawn(thread: &Thread, request: u64) -> Result<Outcome, Error> {
    launch(thread, request, Purpose::Spawn)
}

/// `exec`: another program in the same process.
#[inline(never)]
pub(super) fn exec(thread: &Thread, request: u64) -> Result<Outcome, Error> {
    // The other threads would lose the program that they run.
    if thread.process.has_other_threads() {
        return Err(Error::NotAllowed);
    }
    launch(thread, request, Purpose::Exec)
}

fn launch(thread: &Thread, request: u64, purpose: Purpose) -> Result<Outcome, Error> {
    let process = &*thread.process;
    let request = user_copy::read(process, request)?;
    thread.work.give(Some(Task::Launch(Launch { request, purpose, stage: Stage::Begin })));
    Ok(Outcome::Begun)
}

/// A program on its way from the caller's memory into a process.
pub struct Launch {
    request: SpawnRequest,
    purpose: Purpose,
    stage: Stage,
}

/// For which process it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Spawn,
    Exec,
}

#[expect(clippy::large_enum_variant, reason = "there is no heap to put the large one on")]
enum Stage {
    Begin,
    Load(Loading),
    /// The child of a spawn has so many of its handles.
    Loaded(Loaded, Option<Ref<Process>>, u64),
}

/// What a step has led to.
#[expect(clippy::large_enum_variant, reason = "there is no heap to put the large one on")]
pub enum Launched {
    /// There is more to do.
    More,
    /// A process, which runs: the call's answer.
    Spawned((u64, u64)),
    /// The caller's own process has the program now, and goes on with these registers.
    Replaced(Context),
}

/// Handles that are passed on before interrupts are answered.
const HANDLES_AT_ONCE: u64 = 24;

impl Launch {
    /// Goes on with it.
    ///
    /// # Errors
    /// As [`Loading`]; for the handles, [`Error::BadHandle`], [`Error::NoRight`], [`Error::HandlesExhausted`]. Nothing
    /// is left over then.
    /// [`Error::OutOfMemory`] because the caller's tree is away: then it can be tried again.
    pub fn step(&mut self, thread: &Thread) -> Result<Launched, Error> {
        let (request, process) = (&self.request, &thread.process);
        match &mut self.stage {
            Stage::Begin => {
                let mut image = UserText { process, text: request.image };
                self.stage = Stage::Load(Loading::begin(&mut image)?);
            }
            Stage::Load(loading) => {
                if loading.step(&mut UserText { process, text: request.image })? == Progress::Done {
                    let loaded = loading.finish(&mut UserText { process, text: request.arguments })?;
                    self.stage = Stage::Loaded(loaded, None, 0);
                }
            }
            Stage::Loaded(loaded, _, _) if self.purpose == Purpose::Exec => {
                space::change_current(&process.space, loaded.tree.transfer().take());
                process.set_name(loaded.name);
                sched::replace_floating_point(thread, None);
                return Ok(Launched::Replaced(loaded.context.clone()));
            }
            Stage::Loaded(loaded, child, done) => {
                let child = match child {
                    Some(child) => child,
                    None => child.insert(Process::new(process.identifier(), loaded.name)?),
                };
                let end = request.handle_count.min(*done + HANDLES_AT_ONCE);
                for index in *done..end {
                    let address = index.checked_mul(4).and_then(|offset| request.handles.checked_add(offset));
                    let handle = Handle(user_copy::read(&**process, address.ok_or(Error::BadAddress)?)?);
                    let (object, rights) = passed_on(process, handle)?;
                    // The table is full long before a wild count could keep this going.
                    child.handles.lock().insert(object, rights)?;
                    *done = index + 1;
                }
                if end == request.handle_count {
                    return start(thread, loaded, child.clone()).map(Launched::Spawned);
                }
            }
        }
        Ok(Launched::More)
    }
}

/// Lets a child run that has its program and its handles.
fn start(maker: &Thread, loaded: &mut Loaded, child: Ref<Process>) -> Result<(u64, u64), Error> {
    let parent = &maker.process;
    let child_thread = Thread::new(child.clone(), maker.scheduling().limited(), &loaded.context, |_| {})?;
    let mut handles = parent.handles.lock();
    if !handles.has_room() {
        return Err(Error::HandlesExhausted);
    }
    child.space.install(loaded.tree.transfer().take());
    // Complete: it can be seen from here on, and nothing can fail any more.
    let identifier = Process::start(child_thread, |_, _| {});
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok((handle.0.into(), identifier))
}

/// What a handle of the parent's becomes in a spawned child.
fn passed_on(parent: &Ref<Process>, handle: Handle) -> Result<(AnyRef, Rights), Error> {
    if handle == Handle::SELF {
        // A child supervises its parent only if that has made a handle for it.
        return Ok((parent.clone().erase(), PROCESS_RIGHTS.and(SELF_RIGHTS)));
    }
    let handles = parent.handles.lock();
    let (object, rights) = handles.get(handle, Rights::DUPLICATE)?;
    Ok((object.clone(), rights))
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
