//! How calls end that have gone in pieces.

#![forbid(unsafe_code)]

use super::{bring_stopped_back, replace_floating_point};
use crate::arch::Context;
use crate::memory::kernel_memory::Tree;
use crate::memory::space;
use crate::object::Ref;
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use graft_abi::{Error, Rights, TraceKind};

/// The rights of the handle to a new process that its maker gets.
pub const PROCESS_RIGHTS: Rights =
    Rights::WAIT.or(Rights::KILL).or(Rights::INSPECT).or(Rights::FORK).or(Rights::DUPLICATE).or(Rights::SUPERVISE);

/// The rights of the handle to a new snapshot that its maker gets.
const SNAPSHOT_RIGHTS: Rights = Rights::FORK.or(Rights::DUPLICATE);

/// The rest of a fork, made by a thread of `maker`'s or on its behalf: the child has its tree now. One that is supervised
/// has its registers already.
pub fn fork(caller: &Process, maker: &Process, tree: Tree, child_thread: Ref<Thread>) -> Result<(u64, u64), Error> {
    let child = child_thread.process.clone();
    child.space.install(tree);
    let mut handles = caller.handles.lock();
    if !handles.has_room() {
        child.space.destroy();
        return Err(Error::HandlesExhausted);
    }
    let returns = child.supervisor().is_none();
    let identifier = Process::start(child_thread, Some(maker), TraceKind::Fork, |registers, identifier| {
        if returns {
            registers.set_results([0, identifier]);
        }
    });
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok((handle.0.into(), identifier))
}

/// The rest of taking a snapshot, which has its tables now.
pub fn snapshot(process: &Process, snapshot: Ref<Snapshot>) -> Result<(u64, u64), Error> {
    let handle = process.handles.lock().insert(snapshot.erase(), SNAPSHOT_RIGHTS)?;
    Ok((handle.0.into(), 0))
}

/// The rest of going back to a snapshot: its content is in this tree, or, for want of memory, has to be brought back
/// without one, however long it takes. `stopped`: the thread that goes back, if it is not the calling one,
/// which has to go on with other registers.
///
/// # Errors
/// [`Error::OutOfMemory`] where not even that needs none.
pub fn restore(
    thread: &Thread,
    stopped: Option<&Ref<Thread>>,
    tree: Option<Tree>,
    snapshot: &Snapshot,
    results: [u64; 2],
) -> Result<Option<Context>, Error> {
    let space = &stopped.map_or(thread, |stopped| stopped).process.space;
    match tree {
        Some(tree) if stopped.is_none() => space::change_current(space, tree),
        Some(tree) => space.replace(tree),
        None => snapshot.restore(&mut space.lock()?)?,
    }
    match stopped {
        Some(stopped) => bring_stopped_back(stopped, snapshot),
        None => return Ok(Some(first_registers(thread, snapshot, results))),
    }
    Ok(None)
}

/// The registers with which a thread goes on after a restore, once it has the snapshot's others.
fn first_registers(thread: &Thread, snapshot: &Snapshot, results: [u64; 2]) -> Context {
    replace_floating_point(thread, snapshot.floating_point());
    let mut registers = snapshot.registers().clone();
    registers.set_results(results);
    registers
}
