//! A program on its way into a process, a step at a time.

#![forbid(unsafe_code)]

use super::complete::PROCESS_RIGHTS;
use super::replace_floating_point;
use crate::arch::Context;
use crate::memory::change::Draft;
use crate::memory::kernel_memory::Tree;
use crate::memory::{space, user_copy};
use crate::object::endpoint::Connection;
use crate::object::pieces::{self, Forked};
use crate::object::process::{Name, Process};
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use crate::object::{AnyRef, Ref};
use crate::program::{Loading, registers};
use core::mem;
use graft_abi::{Error, Handle, Rights, SpawnRequest, TraceKind};
use graft_paging::Progress;

/// What of [`PROCESS_RIGHTS`] a child gets that is given its parent's [`Handle::SELF`].
const SELF_RIGHTS: Rights = Rights(!Rights::SUPERVISE.0);

/// A program on its way from the caller's memory into a process.
pub struct Launch {
    request: SpawnRequest,
    purpose: Purpose,
    stage: Stage,
}

/// For which process it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A new one.
    Spawn,
    /// The caller's.
    Exec,
}

#[expect(clippy::large_enum_variant, reason = "there is no heap to put the large one on")]
enum Stage {
    /// There is no tree yet.
    Begin,
    /// It becomes a snapshot's.
    Fork(Ref<Snapshot>, Option<Forked>),
    /// It gets the segments.
    Load(Loading),
    /// It is done. The child of a spawn has so many of its handles.
    Loaded(Draft, Option<Ref<Process>>, u64),
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
const HANDLES_AT_ONCE: usize = 24;

impl Launch {
    /// A new process, which has not begun.
    pub fn spawn(request: SpawnRequest) -> Launch {
        Launch { request, purpose: Purpose::Spawn, stage: Stage::Begin }
    }

    /// A program for the caller's process, likewise.
    pub fn exec(request: SpawnRequest) -> Launch {
        Launch { request, purpose: Purpose::Exec, stage: Stage::Begin }
    }

    /// A new process out of a snapshot, likewise.
    pub fn of_snapshot(request: SpawnRequest, snapshot: Ref<Snapshot>) -> Launch {
        Launch { request, purpose: Purpose::Spawn, stage: Stage::Fork(snapshot, None) }
    }

    /// Goes on with it.
    ///
    /// # Errors
    /// As [`Loading`] and [`registers`]; for the handles, [`Error::BadHandle`], [`Error::NoRight`],
    /// [`Error::HandlesExhausted`], and for the supervisor [`Error::WrongObject`]. Nothing is left over then.
    /// [`Error::OutOfMemory`] because the caller's tree is away: then it can be tried again.
    pub fn step(&mut self, thread: &Thread) -> Result<Launched, Error> {
        let (request, process) = (&self.request, &thread.process);
        let load = |tree| Stage::Load(Loading::new(tree, request.segments, request.segment_count));
        match &mut self.stage {
            Stage::Begin => self.stage = load(Draft::new()?),
            Stage::Fork(snapshot, forked) => {
                if let Some(tree) = fork_step(snapshot, forked)? {
                    self.stage = load(Draft::of(tree));
                }
            }
            Stage::Load(loading) => {
                // The first page that is read may have to be backed there, which is as much as fits into a piece.
                let mut is_first = true;
                let progress = loading.step(|address, bytes| match mem::take(&mut is_first) {
                    true => user_copy::read_bytes(&**process, address, bytes),
                    false => user_copy::read_bytes_that_are_there(&**process, address, bytes),
                })?;
                if progress == Progress::Done {
                    self.stage = Stage::Loaded(loading.finish(), None, 0);
                }
            }
            Stage::Loaded(tree, ..) if self.purpose == Purpose::Exec => {
                let context = first_registers(request)?;
                space::change_current(&process.space, tree.transfer().take());
                process.set_name(Name(request.name));
                replace_floating_point(thread, None);
                return Ok(Launched::Replaced(context));
            }
            Stage::Loaded(tree, child, done) => {
                let child = match child {
                    Some(child) => child,
                    None => child.insert(Process::new(Some(process), Name(request.name))?),
                };
                let mut bytes = [0; HANDLES_AT_ONCE * size_of::<Handle>()];
                let some = (u64::from(request.handle_count) - *done).min(HANDLES_AT_ONCE as u64);
                let bytes = &mut bytes[..some as usize * size_of::<Handle>()];
                let address = done.checked_mul(4).and_then(|offset| request.handles.checked_add(offset));
                user_copy::read_bytes(&**process, address.ok_or(Error::BadAddress)?, bytes)?;
                for number in bytes.as_chunks().0 {
                    let (object, rights) = passed_on(process, Handle(u32::from_le_bytes(*number)))?;
                    // The table is full long before a wild count could keep this going.
                    child.handles.lock().insert(object, rights)?;
                    *done += 1;
                }
                if *done == request.handle_count.into() {
                    return start(thread, request, tree, child.clone()).map(Launched::Spawned);
                }
            }
        }
        Ok(Launched::More)
    }
}

/// A tree with a snapshot's content, or a piece of the way there.
fn fork_step(snapshot: &Ref<Snapshot>, forked: &mut Option<Forked>) -> Result<Option<Tree>, Error> {
    match forked {
        None if snapshot.fork_cost(pieces::FORK) < pieces::FORK => snapshot.fork().map(Some),
        None => {
            *forked = Some(Forked::of(snapshot)?);
            Ok(None)
        }
        Some(forked) => match forked.step()? {
            Progress::More => Ok(None),
            Progress::Done => Ok(forked.finish()),
        },
    }
}

fn first_registers(request: &SpawnRequest) -> Result<Context, Error> {
    registers(request.entry, request.stack, request.arguments)
}

/// Lets a child run that has its memory and its handles.
fn start(maker: &Thread, request: &SpawnRequest, tree: &mut Draft, child: Ref<Process>) -> Result<(u64, u64), Error> {
    let parent = &maker.process;
    if request.supervisor != 0 {
        let connection = parent.object::<Connection>(Handle(request.supervisor), Rights::WRITE)?;
        drop(child.set_supervisor(Some(connection)));
    }
    let child_thread = Thread::new(child.clone(), maker.scheduling().limited(), &first_registers(request)?, |_| {})?;
    let mut handles = parent.handles.lock();
    if !handles.has_room() {
        return Err(Error::HandlesExhausted);
    }
    child.space.install(tree.transfer().take());
    // Complete: it can be seen from here on, and nothing can fail any more.
    let identifier = Process::start(child_thread, Some(parent), TraceKind::Spawn, |_, _| {});
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
