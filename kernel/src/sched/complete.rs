//! How calls end that have gone in pieces.

#![forbid(unsafe_code)]

use super::replace_floating_point;
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

/// The rest of a fork in pieces: the child has its tree now.
pub fn fork(parent: &Process, tree: Tree, child_thread: Ref<Thread>) -> Result<(u64, u64), Error> {
    let child = child_thread.process.clone();
    child.space.install(tree);
    let mut handles = parent.handles.lock();
    if !handles.has_room() {
        child.space.destroy();
        return Err(Error::HandlesExhausted);
    }
    let identifier = Process::start(child_thread, Some(parent), TraceKind::Fork, |registers, identifier| {
        registers.set_results([0, identifier]);
    });
    let handle = handles.insert(child.erase(), PROCESS_RIGHTS)?;
    Ok((handle.0.into(), identifier))
}

/// The rest of taking a snapshot, which has its tables now.
pub fn snapshot(process: &Process, snapshot: Ref<Snapshot>) -> Result<(u64, u64), Error> {
    let handle = process.handles.lock().insert(snapshot.erase(), SNAPSHOT_RIGHTS)?;
    Ok((handle.0.into(), 0))
}

/// The rest of going back to a snapshot, whose content is in this tree.
pub fn restore(thread: &Thread, tree: Tree, snapshot: &Snapshot, results: [u64; 2]) -> Context {
    space::change_current(&thread.process.space, tree);
    first_registers(thread, snapshot, results)
}

/// The same without a tree, however long it takes: for want of memory.
///
/// # Errors
/// [`Error::OutOfMemory`] where not even that needs none.
pub fn restore_at_once(thread: &Thread, snapshot: &Snapshot, results: [u64; 2]) -> Result<Context, Error> {
    let mut tree = thread.process.space.lock()?;
    snapshot.restore(&mut tree)?;
    drop(tree);
    Ok(first_registers(thread, snapshot, results))
}

/// The registers with which a thread goes on after a restore, once it has the snapshot's others.
fn first_registers(thread: &Thread, snapshot: &Snapshot, results: [u64; 2]) -> Context {
    replace_floating_point(thread, snapshot.floating_point());
    let mut registers = snapshot.registers().clone();
    registers.set_results(results);
    registers
}
