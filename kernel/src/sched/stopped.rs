//! Threads that are stopped at a fault and that the calling core owns, because their wait has been ended by it.

use crate::object::Ref;
use crate::object::process::Process;
use crate::object::snapshot::Snapshot;
use crate::object::thread::Thread;
use graft_abi::{Error, REGISTERS};

/// Reads or changes the registers of a stopped thread that this core owns.
pub fn with_stopped_registers(stopped: &Ref<Thread>, look: impl FnOnce(&mut [u64; REGISTERS])) {
    // SAFETY: its wait has been ended by this core, which therefore owns it; it is stopped.
    let registers = unsafe { stopped.stopped_registers() };
    let mut words = registers.to_words();
    look(&mut words);
    registers.set_words(&words);
}

/// A thread of another process with the registers of a stopped one that this core owns, floating point included.
pub fn copy_of_stopped(stopped: &Ref<Thread>, process: Ref<Process>) -> Result<Ref<Thread>, Error> {
    // SAFETY: as in `with_stopped_registers`.
    let copy = Thread::new(process, stopped.scheduling(), unsafe { stopped.stopped_registers() }, |_| {})?;
    // SAFETY: this core owns both, and the stopped one's state has been saved when it left its core.
    unsafe { copy.set_floating_point(stopped.saved_floating_point()) };
    Ok(copy)
}

/// A snapshot, still without its tables, with the registers of a stopped thread that this core owns.
pub fn snapshot_of_stopped(stopped: &Ref<Thread>) -> Result<Ref<Snapshot>, Error> {
    // SAFETY: as in `copy_of_stopped`.
    let (registers, floating_point) = unsafe { (stopped.stopped_registers(), stopped.saved_floating_point()) };
    Snapshot::new(registers, floating_point, stopped.process.name())
}

/// Gives a stopped thread that this core owns the registers that a snapshot keeps.
pub fn bring_stopped_back(stopped: &Ref<Thread>, snapshot: &Snapshot) {
    // SAFETY: as in `copy_of_stopped`; it runs nowhere.
    unsafe {
        stopped.stopped_registers().clone_from(snapshot.registers());
        stopped.set_floating_point(snapshot.floating_point());
    }
}
