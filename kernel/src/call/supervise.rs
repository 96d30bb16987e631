//! Calls of those who answer another process's faults.

#![forbid(unsafe_code)]

use super::outcome::{Next, answer, handle, named_process, refuse_or_again};
use crate::arch::Context;
use crate::ipc::fault;
use crate::memory::user_copy;
use crate::object::endpoint::{Connection, Reply};
use crate::object::process::Process;
use crate::object::thread::Thread;
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
    let reply = process.object::<Reply>(reply, Rights::WRITE)?;
    let mut words = [0; REGISTERS];
    match write {
        0 => {
            fault::with_registers(&reply, |registers| words = *registers)?;
            user_copy::write(process, buffer, &words)?;
        }
        1 => {
            words = user_copy::read(process, buffer)?;
            fault::with_registers(&reply, |registers| *registers = words)?;
        }
        _ => return Err(Error::BadArgument),
    }
    Ok(0)
}

/// One of these calls. Not inlined: others would have to save the registers that it needs.
#[inline(never)]
pub(super) fn carry_out(thread: &Thread, registers: &mut Context) -> Next {
    let [x0, x1, x2, x3, ..] = registers.arguments();
    let own = &*thread.process;
    let other = || named_process(thread, handle(x0), Rights::SUPERVISE);
    let result = match Call::from_number(registers.call_number()) {
        Some(Call::Supervise) => supervise(thread, handle(x0), x1),
        Some(Call::FaultRegisters) => fault_registers(own, handle(x0), x1, x2),
        Some(Call::ProcessRead) => other().and_then(|other| user_copy::between((&*other, x1), (own, x2), x3)),
        Some(Call::ProcessWrite) => other().and_then(|other| user_copy::between((own, x2), (&*other, x1), x3)),
        _ => Err(Error::BadCall),
    };
    match result {
        // One of the two may be in the middle of a fork.
        Err(error) => refuse_or_again(registers, error),
        result => answer(registers, result),
    }
}
