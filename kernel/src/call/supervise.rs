//! Calls of those who answer another process's faults.

#![forbid(unsafe_code)]

use super::outcome::{Next, Outcome, again_later, answer, handle, named_process, outcome, refuse_or_again};
use super::{child, memory, snapshot, thread};
use crate::arch::Context;
use crate::memory::user_copy;
use crate::object::borrowed::Borrowed;
use crate::object::endpoint::{Connection, Reply};
use crate::object::process::Process;
use crate::object::thread::Thread;
use crate::sched;
use graft_abi::{Call, Error, Handle, REGISTERS, Rights};

/// `supervise`.
fn supervise(thread: &Thread, process: Handle, connection: u64) -> Result<u64, Error> {
    let process = named_process(thread, process, Rights::SUPERVISE)?;
    let supervisor = match connection {
        0 => None,
        connection => Some(thread.process.object::<Connection>(handle(connection), Rights::WRITE)?),
    };
    drop(process.set_supervisor(supervisor));
    Ok(0)
}

/// `fault_registers`.
fn fault_registers(process: &Process, reply: Handle, buffer: u64, write: u64) -> Result<u64, Error> {
    let mut words = [0; REGISTERS];
    match write {
        0 => sched::with_stopped_registers(&*stopped(process, reply)?, |registers| words = *registers),
        1 => words = user_copy::read(process, buffer)?,
        _ => return Err(Error::BadArgument),
    }
    match write {
        0 => user_copy::write(process, buffer, &words)?,
        _ => sched::with_stopped_registers(&*stopped(process, reply)?, |registers| *registers = words),
    }
    Ok(0)
}

/// The stopped thread whose call is kept in a reply.
fn stopped(process: &Process, reply: Handle) -> Result<Borrowed, Error> {
    Borrowed::take(process.object::<Reply>(reply, Rights::WRITE)?)
}

/// `on_behalf`: a call in the place of a stopped thread.
fn on_behalf(thread: &Thread, registers: &mut Context) -> Next {
    let [reply, call, x0, x1, x2, x3] = registers.arguments();
    let stopped = match stopped(&thread.process, handle(reply)) {
        Ok(stopped) => stopped,
        Err(Error::NotReady) => return again_later(registers),
        Err(error) => return outcome(thread, registers, Err(error)),
    };
    let process = &stopped.process;
    let result = match Call::from_number(call) {
        Some(Call::Map) => memory::map(thread, process, x0, x1, x2, x3),
        Some(Call::Unmap) => memory::unmap(thread, process, x0, x1),
        Some(Call::Protect) => memory::protect(thread, process, x0, x1, x2),
        Some(Call::MapObject) => memory::map_object(thread, process, handle(x0), x1, x2),
        Some(Call::Discard) => memory::discard(thread, process, x0, x1),
        Some(Call::Move) => memory::relocate(thread, process, x0, x1, x2),
        Some(Call::ThreadCreate) => {
            thread::create(thread, &stopped, [x0, x1, x2, x3]).map(|handle| Outcome::Done((handle, 0)))
        }
        Some(call @ (Call::Fork | Call::Snapshot | Call::Restore)) if handle(x0) == Handle::SELF => match call {
            Call::Fork => child::fork_stopped(thread, &stopped, x1, x2, x3),
            Call::Snapshot => snapshot::depth_of(x1, x2)
                .and_then(|share| snapshot::keep(thread, process, share, || sched::snapshot_of_stopped(&stopped))),
            _ => snapshot::restore_stopped(thread, &stopped, handle(x1)),
        },
        _ => Err(Error::BadArgument),
    };
    if let Ok(Outcome::Begun) = result {
        thread.work.keep_for_task(stopped);
    } else {
        drop(stopped);
    }
    outcome(thread, registers, result)
}

/// One of these calls. Not inlined: others would have to save the registers that it needs.
#[inline(never)]
pub(super) fn carry_out(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, x2, x3, ..] = registers.arguments();
    let own = &*thread.process;
    if registers.call_number() == Call::OnBehalf as u64 {
        return on_behalf(thread, registers);
    }
    let other = || named_process(thread, handle(x0), Rights::SUPERVISE);
    let result = match Call::from_number(registers.call_number()) {
        Some(Call::Supervise) => supervise(thread, handle(x0), x1),
        Some(Call::FaultRegisters) => fault_registers(own, handle(x0), x1, x2),
        Some(Call::ProcessRead) => other().and_then(|other| user_copy::between((&*other, x1), (own, x2), x3)),
        Some(Call::ProcessWrite) => other().and_then(|other| user_copy::between((own, x2), (&*other, x1), x3)),
        _ => Err(Error::BadCall),
    };
    match result {
        // Another thread acts for the stopped one.
        Err(Error::NotReady) => again_later(registers),
        // One of the two may be in the middle of a fork.
        Err(error) => refuse_or_again(registers, error),
        result => answer(registers, result),
    }
}
