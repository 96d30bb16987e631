//! A program's input and output: the console, a file, or a pipe, as its parent has granted it.
//!
//! | grant | what it is |
//! |---|---|
//! | none | the console, handle 1 |
//! | `out=file:N`, `in=file:N` | a session with a file server that has one file ([`Files::attach`]); output goes to its end |
//! | `out=pipe:N` | a connection to the reader |
//! | `in=pipe:N:M` | the pipe's endpoint, and the notification that tells of data and of the writers' end |
//!
//! A pipe is a call of the writer's, which lends its bytes to the reader: it holds nothing by itself. A reader that is
//! gone ends the writer's calls; that all writers are gone sets a bit of the notification.

use alloc::vec::Vec;
use core::time::Duration;

use graft_abi::{Error, Handle};
use spin::mutex::SpinMutex;

use crate::console;
use crate::files::{FileError, Files};
use crate::grants;
use crate::message::{Connection, Endpoint, Message, Receiver};
use crate::notification::Notification;
use crate::process::identify;

/// The bit of a pipe's notification for data that waits.
const DATA: u64 = 1;
/// The bit for the end of the last writer.
const END: u64 = 2;

/// What stands behind output.
#[derive(Debug)]
enum Output {
    Console,
    File(Files, u64),
    Pipe(Connection),
}

/// What stands behind input.
#[derive(Debug)]
enum Input {
    Console,
    File { files: Files, offset: u64 },
    Pipe(PipeReader),
}

#[derive(Debug)]
struct PipeReader {
    receiver: Receiver,
    notification: Notification,
    has_ended: bool,
}

/// With the process that has made it: a forked child needs a session of its own.
static OUTPUT: SpinMutex<Option<(u64, Output)>> = SpinMutex::new(None);
static INPUT: SpinMutex<Option<Input>> = SpinMutex::new(None);

/// Where [`write_all`] writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The console, so that a person reads it.
    Console,
    /// A file or another program.
    Elsewhere,
}

/// Where [`write_all`] writes to.
pub fn target() -> Target {
    if grants::find("out").is_some() { Target::Elsewhere } else { Target::Console }
}

fn call_error(error: FileError) -> Error {
    match error {
        FileError::Call(error) => error,
        FileError::NoSpace | FileError::TooLarge => Error::OutOfMemory,
        _ => Error::NotAllowed,
    }
}

impl Output {
    fn granted() -> Result<Output, Error> {
        let Some(grant) = grants::find("out") else { return Ok(Output::Console) };
        let connection = Connection::from_handle(grant.handle(0));
        match grant.kind {
            "file" => Ok(Output::File(Files::attach(connection).map_err(call_error)?, 0)),
            "pipe" => Ok(Output::Pipe(connection)),
            _ => Err(Error::BadArgument),
        }
    }

    fn write_all(&self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Output::Console => console::write_all(bytes),
            Output::File(files, number) => files.append(*number, bytes).map_err(call_error),
            Output::Pipe(connection) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let lent = Message::words([rest.len() as u64, 0, 0, 0, 0, 0]);
                    let taken = connection.call_lending(lent, rest, &mut [])?.into_words()[0] as usize;
                    rest = rest.get(taken..).filter(|_| taken > 0).ok_or(Error::BadArgument)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes all of the bytes to the program's output.
///
/// # Errors
/// [`Error::Gone`] if the reader of the pipe has ended; [`Error::OutOfMemory`] if the file system is full.
pub fn write_all(bytes: &[u8]) -> Result<(), Error> {
    let mut output = OUTPUT.lock();
    let here = match *output {
        // Nothing to lose, and no call to ask who this is.
        Some((_, Output::Console)) => return console::write_all(bytes),
        _ => identify(),
    };
    match &*output {
        Some((process, _)) if *process == here => {}
        None => *output = Some((here, Output::granted()?)),
        Some((_, Output::File(files, number))) => {
            let own = files.share(*number).and_then(Files::attach).map_err(call_error)?;
            // Dropping the parent's would take its window's addresses away, which this process has, too: well so.
            *output = Some((here, Output::File(own, 0)));
        }
        Some((_, Output::Pipe(_) | Output::Console)) => {}
    }
    match &*output {
        Some((_, output)) => output.write_all(bytes),
        None => Err(Error::NotReady),
    }
}

impl Input {
    fn granted() -> Result<Input, Error> {
        let Some(grant) = grants::find("in") else { return Ok(Input::Console) };
        match grant.kind {
            "file" => {
                let files = Files::attach(Connection::from_handle(grant.handle(0))).map_err(call_error)?;
                Ok(Input::File { files, offset: 0 })
            }
            "pipe" => {
                let endpoint = Endpoint::from_handle(grant.handle(0));
                let receiver = endpoint.receiver()?;
                // It stays open until this process ends, which is how the writers are told.
                let _ = endpoint.into_handle();
                let notification = Notification::from_handle(grant.handle(1));
                Ok(Input::Pipe(PipeReader { receiver, notification, has_ended: false }))
            }
            _ => Err(Error::BadArgument),
        }
    }
}

impl PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.receiver.receive_until(Duration::from_nanos(1)) {
                Ok(received) => {
                    // As many as there is room for; the writer comes again with the rest. One that lends less than it
                    // says has nothing taken.
                    let count =
                        usize::try_from(received.message.into_words()[0]).unwrap_or(usize::MAX).min(buffer.len());
                    let taken = self.receiver.read(0, &mut buffer[..count]).map_or(0, |()| count);
                    let _ = self.receiver.reply(Message::words([taken as u64, 0, 0, 0, 0, 0]));
                    if taken > 0 {
                        return Ok(taken);
                    }
                }
                Err(Error::TimedOut) if self.has_ended => return Ok(0),
                Err(Error::TimedOut) => self.has_ended = self.notification.wait()? & END != 0,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads from the program's input: at least a byte, or 0 at its end. From the console, lines that were typed.
///
/// # Errors
/// [`Error`], as the console, the file server or the pipe answers.
pub fn read(buffer: &mut [u8]) -> Result<usize, Error> {
    if buffer.is_empty() {
        return Ok(0);
    }
    let mut input = INPUT.lock();
    if input.is_none() {
        *input = Some(Input::granted()?);
    }
    match &mut *input {
        None | Some(Input::Console) => console::read(console::Mode::Lines, buffer),
        Some(Input::File { files, offset }) => {
            let count = files.read(0, *offset, buffer).map_err(call_error)?;
            *offset += count as u64;
            Ok(count)
        }
        Some(Input::Pipe(reader)) => reader.read(buffer),
    }
}

/// All of the program's input, to its end.
///
/// # Errors
/// As [`read`].
pub fn read_all() -> Result<Vec<u8>, Error> {
    let (mut data, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        match read(&mut buffer)? {
            0 => return Ok(data),
            count => data.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A pipe in the making: both ends, as grants for the two programs.
#[derive(Debug)]
pub struct Pipe {
    endpoint: Endpoint,
    notification: Notification,
    writer: Connection,
}

impl Pipe {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::HandlesExhausted`].
    pub fn new() -> Result<Pipe, Error> {
        let (endpoint, notification) = (Endpoint::new()?, Notification::new()?);
        let writer = endpoint.connect(0)?;
        notification.bind_endpoint(DATA, &endpoint)?;
        notification.bind_connection(END, &writer)?;
        Ok(Pipe { endpoint, notification, writer })
    }

    /// What the program that writes is to be granted as `out`.
    pub fn writer(&self) -> Handle {
        self.writer.handle()
    }

    /// What the program that reads is to be granted as `in`.
    pub fn reader(&self) -> [Handle; 2] {
        [self.endpoint.handle(), self.notification.handle()]
    }

    /// Splits it, so that each end is given up when its program has been started.
    pub fn into_ends(self) -> (Connection, Endpoint, Notification) {
        (self.writer, self.endpoint, self.notification)
    }
}
