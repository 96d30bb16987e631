//! Supervising another process: its faults come as calls, and are answered.
//!
//! ```text
//!   process.supervise(connection)                     the process          the supervisor
//!                                        a fault  ──▶ stands still  ──▶   receive, Fault::of
//!                                                                         look, change registers and memory
//!                                        goes on  ◀──────────────────     reply: go on, return a value, end
//! ```

use graft_abi::{Call, Error, FaultAnswer, FaultKind, Handle, Permissions, REGISTERS, Share, SpawnRequest, USER_START};

use crate::call::{Answer, call};
use crate::memory::Shared;
use crate::message::{Connection, Message, Received, Receiver};
use crate::process::Process;
use crate::snapshot::Snapshot;

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
    /// A process without memory and without handles, whose faults go through a connection: the first one comes at once,
    /// at [`USER_START`], and there the supervisor fills it.
    ///
    /// # Errors
    /// As [`Call::Spawn`].
    pub fn empty(supervisor: &Connection, name: &str) -> Result<Process, Error> {
        let mut request = SpawnRequest {
            entry: USER_START as u64,
            stack: USER_START as u64 + 16,
            supervisor: supervisor.handle().0,
            ..SpawnRequest::default()
        };
        // A zero byte stays behind it.
        request.name[..31].iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
        // SAFETY: the request is read, and the process runs in memory of its own.
        let answer = unsafe { call(Call::Spawn, [(&raw const request).addr() as u64]) }?;
        Ok(Process::from_parts(answer.handle(), answer.x1))
    }

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

    /// The thread whose fault was received last, to act in its place. It stays stopped.
    pub fn stopped(&self) -> Stopped<'_> {
        Stopped(self)
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

/// A thread that stands still, in whose place its supervisor makes calls: on its process's memory, with the supervisor's
/// handles.
///
/// Each is refused as a call of the process's own would be, and with [`Error::NotFound`] if no fault is open, or the
/// process ends meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Stopped<'a>(&'a Receiver);

impl Stopped<'_> {
    fn call(self, number: Call, [a0, a1, a2, a3]: [u64; 4]) -> Result<Answer, Error> {
        // SAFETY: the memory is another process's.
        unsafe { call(Call::OnBehalf, [self.0.handle().0.into(), number as u64, a0, a1, a2, a3]) }
    }

    /// Reserves demand-zero memory and returns its address. With address 0 the kernel chooses.
    pub fn map(self, address: usize, bytes: usize, permissions: Permissions) -> Result<usize, Error> {
        self.call(Call::Map, [address as u64, bytes as u64, permissions as u64, 0]).map(|answer| answer.x0 as usize)
    }

    /// Maps a memory object of the supervisor's whole. Returns its address and its length in bytes.
    pub fn map_object(
        self,
        object: &Shared,
        address: usize,
        permissions: Permissions,
    ) -> Result<(usize, usize), Error> {
        let arguments = [object.handle().0.into(), address as u64, permissions as u64, 0];
        self.call(Call::MapObject, arguments).map(|answer| (answer.x0 as usize, answer.x1 as usize))
    }

    /// Unmaps everything in the range.
    pub fn unmap(self, address: usize, bytes: usize) -> Result<(), Error> {
        self.call(Call::Unmap, [address as u64, bytes as u64, 0, 0]).map(drop)
    }

    /// Changes what may be done with the memory in the range.
    pub fn protect(self, address: usize, bytes: usize, permissions: Permissions) -> Result<(), Error> {
        self.call(Call::Protect, [address as u64, bytes as u64, permissions as u64, 0]).map(drop)
    }

    /// Gives up the content of private memory in the range.
    pub fn discard(self, address: usize, bytes: usize) -> Result<(), Error> {
        self.call(Call::Discard, [address as u64, bytes as u64, 0, 0]).map(drop)
    }

    /// Moves what is mapped in the range, and returns its new address. With `to` 0 the kernel chooses.
    pub fn relocate(self, from: usize, bytes: usize, to: usize) -> Result<usize, Error> {
        self.call(Call::Move, [from as u64, bytes as u64, to as u64, 0]).map(|answer| answer.x0 as usize)
    }

    /// Makes a further thread of the process, as [`Call::ThreadCreate`] says. Returns its handle.
    pub fn create_thread(
        self,
        entry: usize,
        stack: usize,
        argument: u64,
        thread_pointer: u64,
    ) -> Result<Handle, Error> {
        let arguments = [entry as u64, stack as u64, argument, thread_pointer];
        self.call(Call::ThreadCreate, arguments).map(Answer::handle)
    }

    /// A copy of the process, whose thread goes on with the registers that the stopped one has now. Its faults go through
    /// this connection, or with `None` where its parent's go.
    pub fn fork(self, share: Share, supervisor: Option<&Connection>) -> Result<Process, Error> {
        let connection = supervisor.map_or(Handle::NONE, Connection::handle);
        let answer = self.call(Call::Fork, [Handle::SELF.0.into(), share as u64, 0, connection.0.into()])?;
        Ok(Process::from_parts(answer.handle(), answer.x1))
    }

    /// Keeps the process's memory, and the registers of the stopped thread, as they are.
    pub fn snapshot(self, share: Share) -> Result<Snapshot, Error> {
        let answer = self.call(Call::Snapshot, [Handle::SELF.0.into(), share as u64, 0, 0])?;
        Ok(Snapshot::from_handle(answer.handle()))
    }

    /// Gives the process the memory, and the stopped thread the registers, of a snapshot of whichever process. It must
    /// have no other thread: [`Error::NotAllowed`].
    pub fn restore(self, snapshot: &Snapshot) -> Result<(), Error> {
        self.call(Call::Restore, [Handle::SELF.0.into(), snapshot.handle().0.into(), 0, 0]).map(drop)
    }
}
