//! Supervising another process: its faults come as calls, and are answered.
//!
//! ```text
//!   process.supervise(connection)                     the process          the supervisor
//!                                        a fault  ──▶ stands still  ──▶   receive, Fault::of
//!                                                                         look, change registers and memory
//!                                        goes on  ◀──────────────────     reply: go on, return a value, end
//! ```

use graft_abi::{Call, Error, FaultAnswer, FaultKind, Handle, REGISTERS};

use crate::call::call;
use crate::message::{Connection, Message, Received, Receiver};
use crate::process::Process;

/// Why a thread of a supervised process stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it did.
    pub kind: FaultKind,
    /// The address that it used, or 0; the number of a foreign call.
    pub address: u64,
    /// Its program counter: the instruction that failed, or the one behind a foreign call.
    pub pc: u64,
    /// `x0` to `x2`.
    pub arguments: [u64; 3],
}

impl Fault {
    /// What has been received, if it is a fault: through a connection that is given to no one else, it is.
    pub fn of(received: &Received) -> Option<Fault> {
        let [kind, address, pc, x0, x1, x2] = received.message.words;
        let kind = FaultKind::from_code(u32::try_from(kind).ok()?)?;
        Some(Fault { kind, address, pc, arguments: [x0, x1, x2] })
    }
}

/// An answer to a fault; `value` is for [`FaultAnswer::Return`] and [`FaultAnswer::GoOnAt`].
pub fn answer(answer: FaultAnswer, value: u64) -> Message {
    Message::words([answer as u64, value, 0, 0, 0, 0])
}

/// The registers of a thread that stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers(pub [u64; REGISTERS]);

impl Registers {
    /// Where the stack pointer is among them, and the program counter behind it.
    pub const SP: usize = 31;
    /// Where the program counter is.
    pub const PC: usize = 32;
}

impl Process {
    /// Has the process's faults sent through a connection; with `None`, they end it again.
    ///
    /// # Errors
    /// [`Error::NoRight`] without the right to supervise it.
    pub fn supervise(&self, connection: Option<&Connection>) -> Result<(), Error> {
        let connection = connection.map_or(Handle::NONE, Connection::handle);
        // SAFETY: the call touches no memory.
        unsafe { call(Call::Supervise, [self.handle().0.into(), connection.0.into()]) }.map(drop)
    }

    /// Copies from the process's memory.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if a byte may not be read.
    pub fn read_memory(&self, address: usize, bytes: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while let rest @ [_, ..] = &mut bytes[done..] {
            let (from, to, length) = (address + done, rest.as_mut_ptr().addr(), rest.len());
            let arguments = [self.handle().0.into(), from as u64, to as u64, length as u64];
            // SAFETY: the kernel writes to the rest alone.
            done += unsafe { call(Call::ProcessRead, arguments) }?.x0 as usize;
        }
        Ok(())
    }

    /// Copies into the process's memory.
    ///
    /// # Errors
    /// [`Error::BadAddress`] if a byte may not be written.
    pub fn write_memory(&self, address: usize, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while let rest @ [_, ..] = &bytes[done..] {
            let (to, from, length) = (address + done, rest.as_ptr().addr(), rest.len());
            let arguments = [self.handle().0.into(), to as u64, from as u64, length as u64];
            // SAFETY: the kernel reads the rest.
            done += unsafe { call(Call::ProcessWrite, arguments) }?.x0 as usize;
        }
        Ok(())
    }
}

impl Receiver {
    /// The registers of the thread whose fault was received last.
    ///
    /// # Errors
    /// [`Error::NotFound`] if what was received last is no fault that is still open.
    pub fn registers(&self) -> Result<Registers, Error> {
        let mut words = [0u64; REGISTERS];
        let buffer = words.as_mut_ptr().addr() as u64;
        // SAFETY: the kernel writes to the words alone.
        unsafe { call(Call::FaultRegisters, [self.handle().0.into(), buffer, 0]) }?;
        Ok(Registers(words))
    }

    /// Changes them.
    ///
    /// # Errors
    /// As [`registers`](Self::registers).
    pub fn set_registers(&self, Registers(words): &Registers) -> Result<(), Error> {
        let buffer = words.as_ptr().addr() as u64;
        // SAFETY: the kernel reads the words.
        unsafe { call(Call::FaultRegisters, [self.handle().0.into(), buffer, 1]) }.map(drop)
    }
}
