//! Processes: making them, waiting for them, ending them.

use alloc::vec::Vec;
use core::time::Duration;

use graft_abi::{
    ARGUMENTS_MAX, Call, Error, ExitStatus, FORK_GUARANTEED, Handle, MemorySizes, ProcessInfo, Rights, Segment, Share,
    SpawnRequest, Text, USER_END,
};

use crate::archive::{Archive, FileError};
use crate::call::call;
use crate::elf::{self, Program, SEGMENTS_MAX};

/// The handles that programs expect under their well-known numbers.
pub const STANDARD_HANDLES: [Handle; 3] = [Handle::CONSOLE, Handle::ARCHIVE, Handle::SYSTEM];

/// Ends the calling process.
pub fn exit(code: i32) -> ! {
    // SAFETY: the call does not return.
    let refusal = unsafe { call(Call::Exit, [code as u32 as u64]) };
    unreachable!("exit returned {refusal:?}")
}

/// The caller's process identifier.
pub fn identify() -> u64 {
    // SAFETY: the call touches no memory. It cannot fail.
    unsafe { call(Call::Identify, []) }.map_or(0, |answer| answer.x0)
}

/// Lets another runnable thread go first.
pub fn yield_now() {
    // SAFETY: the call touches no memory. It cannot fail.
    let _ = unsafe { call(Call::Yield, []) };
}

/// Blocks for at least that long.
pub fn sleep(duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the call touches no memory. It cannot fail.
    let _ = unsafe { call(Call::Sleep, [nanoseconds]) };
}

/// Statistics of a process that a handle names.
pub fn info(process: Handle) -> Result<ProcessInfo, Error> {
    let mut info = ProcessInfo::default();
    // SAFETY: the kernel stores a ProcessInfo into a variable that is borrowed mutably.
    unsafe { call(Call::ProcessInfo, [process.0.into(), (&raw mut info).addr() as u64]) }?;
    Ok(info)
}

/// Statistics of the calling process.
pub fn own_info() -> ProcessInfo {
    info(Handle::SELF).unwrap_or_default()
}

/// A process that this one holds a handle to. Dropping it gives the handle up and leaves the
/// process alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    handle: Handle,
    identifier: u64,
}

/// Which of the two processes a `fork` returned in.
#[derive(Debug)]
pub enum Fork {
    /// In the new one.
    Child,
    /// In the one that called, with the new one's handle.
    Parent(Process),
}

/// Makes a copy of the calling process, with this much of its tables shared. Of its threads the child has
/// the caller alone; a lock that another thread holds stays locked there, except for the heap's.
pub fn fork(share: Share) -> Result<Fork, Error> {
    fork_with(share, 0)
}

/// As [`fork`], with a guarantee: every copy that the fork may cause will find memory. Refused with
/// [`Error::OutOfMemory`] if there is too little, with [`Error::NotAllowed`] if this process has been part of a fork
/// without one.
pub fn fork_guaranteed(share: Share) -> Result<Fork, Error> {
    fork_with(share, FORK_GUARANTEED)
}

fn fork_with(share: Share, flags: u64) -> Result<Fork, Error> {
    // Held by the caller in both: no other thread leaves the child a heap that is locked for good.
    #[cfg(target_os = "none")]
    let _heap = crate::heap::lock();
    // SAFETY: the child runs in a copy of this memory and the parent's does not change, so
    // both may go on with every object they have.
    let answer = unsafe { call(Call::Fork, [Handle::SELF.0.into(), share as u64, flags]) }?;
    Ok(match answer.handle() {
        Handle::NONE => Fork::Child,
        handle => Fork::Parent(Process { handle, identifier: answer.x1 }),
    })
}

/// How much of a process's memory is its own.
pub fn memory_sizes(process: Handle) -> Result<MemorySizes, Error> {
    let mut sizes = MemorySizes::default();
    while sizes.cursor & !0xf < USER_END as u64 {
        // SAFETY: the kernel reads and stores a MemorySizes in a variable that is borrowed mutably.
        unsafe { call(Call::MemorySizes, [process.0.into(), (&raw mut sizes).addr() as u64]) }?;
    }
    Ok(sizes)
}

impl Process {
    /// Forks; the child runs `work`, exits with the code that it returns, and never comes back here.
    pub fn fork_into(share: Share, work: impl FnOnce() -> i32) -> Result<Process, Error> {
        match fork(share)? {
            Fork::Child => exit(work()),
            Fork::Parent(process) => Ok(process),
        }
    }

    /// Starts a program of the archive with the standard handles. The first argument is its name.
    pub fn spawn(arguments: &[&str]) -> Result<Process, FileError> {
        let archive = Archive::open()?;
        let image = archive.file(arguments.first().copied().unwrap_or_default())?;
        Ok(Process::spawn_image(image, arguments, &STANDARD_HANDLES)?)
    }

    /// Starts a program from an ELF image in memory. It finds the handles as 1, 2, 3 and so on.
    pub fn spawn_image(image: &[u8], arguments: &[&str], handles: &[Handle]) -> Result<Process, Error> {
        Process::spawn_raw(image, &joined(arguments), handles)
    }

    /// As [`spawn_image`](Self::spawn_image), with arguments that are joined already.
    pub(crate) fn spawn_raw(image: &[u8], arguments: &[u8], handles: &[Handle]) -> Result<Process, Error> {
        let start = Start::of_image(image, arguments)?;
        let request = start.request(handles);
        // SAFETY: the kernel only reads the request and what it points to, all of which is borrowed. `Handle` is a
        // transparent u32, as the request's list wants.
        let answer = unsafe { call(Call::Spawn, [(&raw const request).addr() as u64]) }?;
        Ok(Process { handle: answer.handle(), identifier: answer.x1 })
    }

    /// Starts a program from a snapshot, at the address of an instruction.
    pub(crate) fn spawn_warm_raw(
        (snapshot, entry): (Handle, u64),
        arguments: &[u8],
        handles: &[Handle],
    ) -> Result<Process, Error> {
        let start = Start::warm(entry, arguments)?;
        let request = start.request(handles);
        // SAFETY: as in `spawn_raw`.
        let answer = unsafe { call(Call::SpawnWarm, [(&raw const request).addr() as u64, snapshot.0.into()]) }?;
        Ok(Process { handle: answer.handle(), identifier: answer.x1 })
    }

    /// The handle, for raw calls and for passing on.
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// The process identifier.
    pub const fn identifier(&self) -> u64 {
        self.identifier
    }

    /// Blocks until the process has ended and returns how. May be asked again.
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        wait(self.handle)
    }

    /// Ends the process with this code.
    pub fn kill(&self, code: i32) -> Result<(), Error> {
        kill(self.handle, code)
    }

    /// Its statistics, also after its end.
    pub fn info(&self) -> Result<ProcessInfo, Error> {
        info(self.handle)
    }

    /// A second handle with no more than these rights.
    pub fn duplicate(&self, rights: Rights) -> Result<Process, Error> {
        Ok(Process { handle: duplicate(self.handle, rights)?, identifier: self.identifier })
    }

    /// The process that a handle of the caller names, with its identifier.
    pub(crate) const fn from_parts(handle: Handle, identifier: u64) -> Process {
        Process { handle, identifier }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = close(self.handle);
    }
}

/// Replaces the calling program by one from an ELF image in memory; handles and [grants](crate::grants) stay. Returns
/// only on failure, and then nothing has changed.
pub fn exec(image: &[u8], arguments: &[&str]) -> Error {
    let mut arguments = joined(arguments);
    arguments.extend_from_slice(crate::start::raw_grants());
    let start = match Start::of_image(image, &arguments) {
        Ok(start) => start,
        Err(error) => return error,
    };
    let request = start.request(&[]);
    // SAFETY: the kernel only reads the request and what it points to; on success nothing is left
    // of this program that could notice.
    match unsafe { call(Call::Exec, [(&raw const request).addr() as u64]) } {
        Err(error) => error,
        Ok(answer) => unreachable!("exec returned {answer:?}"),
    }
}

/// Arguments as the kernel wants them: each ended by a zero byte.
pub(crate) fn joined(arguments: &[&str]) -> Vec<u8> {
    let mut text = Vec::new();
    for argument in arguments {
        text.extend_from_slice(argument.as_bytes());
        text.push(0);
    }
    text
}

fn text(bytes: &[u8]) -> Text {
    Text { address: bytes.as_ptr().addr() as u64, length: bytes.len() as u64 }
}

/// What a program begins with: what the kernel is asked for, ready to be asked.
#[derive(Debug)]
pub struct Start<'a> {
    segments: [Segment; SEGMENTS_MAX + 1],
    count: usize,
    entry: u64,
    arguments: &'a [u8],
}

impl<'a> Start<'a> {
    /// A program from an ELF image in memory, with arguments of which each is ended by a zero byte.
    ///
    /// # Errors
    /// One of the `Image…` errors; [`Error::BadLength`] and [`Error::BadArgument`] for arguments.
    pub fn of_image(image: &'a [u8], arguments: &'a [u8]) -> Result<Start<'a>, Error> {
        check_arguments(arguments)?;
        let program = Program::parse(image)?;
        let (segments, count) = program.request(text(image).address, text(arguments));
        Ok(Start { segments, count, entry: program.entry, arguments })
    }

    /// One that begins in a snapshot's memory.
    fn warm(entry: u64, arguments: &'a [u8]) -> Result<Start<'a>, Error> {
        check_arguments(arguments)?;
        let mut segments = [Segment::default(); SEGMENTS_MAX + 1];
        segments[0] = Segment { start: 0, size: 0, ..elf::stack(text(arguments)) };
        Ok(Start { segments, count: 1, entry, arguments })
    }

    /// What the kernel is asked for, with these handles to pass on. It leads to all of that, which has to stay.
    pub fn request(&self, handles: &[Handle]) -> SpawnRequest {
        let length = self.arguments.len() as u64;
        let address = elf::arguments_address(length);
        let mut name = [0; 32];
        let bytes = self.arguments.iter().take_while(|&&byte| byte != 0);
        // A zero byte stays behind it.
        name[..31].iter_mut().zip(bytes).for_each(|(place, &byte)| *place = byte);
        SpawnRequest {
            segments: self.segments.as_ptr().addr() as u64,
            segment_count: self.count as u64,
            entry: self.entry,
            stack: address,
            arguments: [address, length],
            handles: handles.as_ptr().addr() as u64,
            handle_count: handles.len() as u32,
            supervisor: 0,
            name,
        }
    }
}

fn check_arguments(arguments: &[u8]) -> Result<(), Error> {
    match arguments.last() {
        _ if arguments.len() > ARGUMENTS_MAX => Err(Error::BadLength),
        None | Some(0) => Ok(()),
        Some(_) => Err(Error::BadArgument),
    }
}

/// Blocks until the process that a handle names has ended and returns how.
pub fn wait(process: Handle) -> Result<ExitStatus, Error> {
    // SAFETY: the call touches no memory.
    let answer = unsafe { call(Call::Wait, [process.0.into()]) }?;
    // A status that this version does not know is a kernel's newer invention: still an end.
    Ok(ExitStatus::from_register(answer.x1).unwrap_or(ExitStatus::Killed(-1)))
}

/// Ends the process that a handle names.
pub fn kill(process: Handle, code: i32) -> Result<(), Error> {
    // SAFETY: the call touches no memory of a caller that goes on to live.
    unsafe { call(Call::Kill, [process.0.into(), code as u32 as u64]) }.map(drop)
}

/// Gives a handle up.
pub fn close(handle: Handle) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::Close, [handle.0.into()]) }.map(drop)
}

/// Makes a second handle to the same object with no more than these rights.
pub fn duplicate(handle: Handle, rights: Rights) -> Result<Handle, Error> {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::Duplicate, [handle.0.into(), rights.0.into()]) }.map(|answer| answer.handle())
}
