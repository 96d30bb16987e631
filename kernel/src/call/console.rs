//! Calls about the console.

#![forbid(unsafe_code)]

use super::outcome::{Next, answer};
use super::wait::blocked;
use crate::arch::Context;
use crate::object::process::Process;
use crate::object::terminal::{Reading, Terminal};
use graft_abi::{Error, Handle, Rights};

/// `console_write`.
#[inline(never)]
pub(super) fn write(process: &Process, handle: Handle, buffer: u64, bytes: u64) -> Result<u64, Error> {
    process.object::<Terminal>(handle, Rights::WRITE)?;
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    Terminal::write(process, buffer, length).map(|written| written as u64)
}

/// `console_read`: blocks until there is something to read.
pub(super) fn read(process: &Process, registers: &mut Context, handle: Handle, buffer: u64, bytes: u64) -> Next {
    let terminal = match process.object::<Terminal>(handle, Rights::READ) {
        Ok(terminal) => terminal,
        Err(error) => return answer(registers, Err(error)),
    };
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    match Terminal::read(&terminal, process, (buffer, length), || registers.rewind()) {
        Ok(Reading::Done(count)) => answer(registers, Ok(count as u64)),
        Ok(Reading::Blocked(ended)) => blocked(ended),
        Err(error) => answer(registers, Err(error)),
    }
}
