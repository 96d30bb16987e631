//! Calls of those who answer another process's faults.

#![forbid(unsafe_code)]

use super::outcome::{Next, again_later, answer, handle, named_process, refuse};
use crate::arch::Context;
use crate::ipc::fault;
use crate::memory::{space, user_copy};
use crate::object::endpoint::{Connection, Reply};
use crate::object::process::Process;
use crate::object::thread::Thread;
use graft_abi::{Call, Error, Handle, PAGE_SIZE, REGISTERS, Rights};

/// Bytes that are copied from one process to another before the other's memory is asked for again.
const CHUNK: u64 = 512;

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
            for (place, word) in words.iter_mut().enumerate() {
                *word = user_copy::read(process, buffer.checked_add(8 * place as u64).ok_or(Error::BadAddress)?)?;
            }
            fault::with_registers(&reply, |registers| *registers = words)?;
        }
        _ => return Err(Error::BadArgument),
    }
    Ok(0)
}

/// Copies from a process's memory to another's, as far as both lie in one page: a store may have tables and a page to
/// copy first, and one of each is enough for a call.
fn copy(from: (&Process, u64), to: (&Process, u64), bytes: u64) -> Result<u64, Error> {
    let in_page = |address: u64| PAGE_SIZE as u64 - address % PAGE_SIZE as u64;
    let bytes = bytes.min(in_page(from.1)).min(in_page(to.1));
    let mut chunk = [0; CHUNK as usize];
    let mut done = 0;
    while done < bytes {
        let piece = &mut chunk[..(bytes - done).min(CHUNK) as usize];
        // Within a page, so that neither sum overflows.
        user_copy::read_bytes(from.0, from.1 + done, piece)?;
        user_copy::write_bytes(to.0, to.1 + done, piece)?;
        done += piece.len() as u64;
    }
    Ok(bytes)
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
        Some(Call::ProcessRead) => other().and_then(|other| copy((&other, x1), (own, x2), x3)),
        Some(Call::ProcessWrite) => other().and_then(|other| copy((own, x2), (&other, x1), x3)),
        _ => Err(Error::BadCall),
    };
    match result {
        // One of the two is in the middle of a fork.
        Err(Error::OutOfMemory) if space::met_absence() => again_later(registers),
        Err(error) => refuse(registers, error),
        result => answer(registers, result),
    }
}
