//! The call that writes to the console for programs without a server to do it.

#![forbid(unsafe_code)]

use crate::object::process::Process;
use crate::object::terminal::Terminal;
use graft_abi::{Error, Handle, Rights};

/// `console_write`.
#[inline(never)]
pub(super) fn write(process: &Process, handle: Handle, buffer: u64, bytes: u64) -> Result<u64, Error> {
    process.object::<Terminal>(handle, Rights::WRITE)?;
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    Terminal::write(process, buffer, length).map(|written| written as u64)
}
