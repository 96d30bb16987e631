//! The kernel's writer as a program has it before there is a server for the console.

use crate::memory::user_copy;
use crate::object::process::Process;
use crate::object::{Kind, Object};
use crate::platform::console;
use graft_abi::{CONSOLE_MAX, Error};

/// The object behind the first program's [`Handle::CONSOLE`](graft_abi::Handle::CONSOLE). There is nothing to read from
/// it.
pub struct Terminal;

static KIND: Kind<Terminal> = Kind::new("console");

impl Object for Terminal {
    fn kind() -> &'static Kind<Self> {
        &KIND
    }
}

impl Terminal {
    /// Writes a program's bytes, the first [`CONSOLE_MAX`] of them, and says how many. They are not mixed with another
    /// call's.
    ///
    /// Nothing is copied from a program while the lock on the console is held: the copy waits for the program's space,
    /// and how long that is busy the program decides.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if one of them cannot be read, [`Error::OutOfMemory`]; nothing is written then.
    #[inline(never)]
    pub fn write(process: &Process, address: u64, length: usize) -> Result<usize, Error> {
        let mut bytes = [0; CONSOLE_MAX];
        let bytes = &mut bytes[..length.min(CONSOLE_MAX)];
        user_copy::read_bytes(process, address, bytes)?;
        console::write(bytes);
        Ok(bytes.len())
    }
}
