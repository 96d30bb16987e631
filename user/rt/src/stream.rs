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

use crate::console;
use crate::files::{FileError, Files};
use crate::grants::{self, Grants};
use crate::message::{Connection, Endpoint, Message, Receiver};
use crate::notification::Notification;
use crate::process::{exit, identify};
use crate::sync::Mutex;

/// The bit of a pipe's notification for data that waits.
const DATA: u64 = 1;
/// The bit for the end of the last writer.
const END: u64 = 2;

/// What stands behind output. A program has one by itself, [`write_all`]'s; the shell has several.
#[derive(Debug)]
pub enum Output {
    /// The console, handle 1.
    Console,
    /// The end of this file of a session.
    File(Files, u64),
    /// A pipe's reader.
    Pipe(Connection),
}

/// What stands behind input. A program has one by itself, [`read`]'s; the shell has several.
#[derive(Debug)]
pub enum Input {
    /// The console, handle 1.
    Console,
    /// A file of a session.
    File {
        /// The session.
        files: Files,
        /// The file's number there.
        number: u64,
        /// The byte that is read next.
        offset: u64,
    },
    /// A pipe.
    Pipe(PipeReader),
}

/// A pipe's end that is read from.
#[derive(Debug)]
pub struct PipeReader {
    endpoint: Endpoint,
    /// Made when something is read for the first time.
    receiver: Option<Receiver>,
    notification: Notification,
    has_ended: bool,
}

/// With the process that has made it: a forked child needs a session of its own.
static OUTPUT: Mutex<Option<(u64, Output)>> = Mutex::new(None);
static INPUT: Mutex<Option<Input>> = Mutex::new(None);

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
    /// What this program was granted. A file can be had once: by [`write_all`] and its kin, or by this function's caller.
    ///
    /// # Errors
    /// As the file server answers; [`Error::BadArgument`] for a grant that is none of the three.
    pub fn granted() -> Result<Output, Error> {
        let Some(grant) = grants::find("out") else { return Ok(Output::Console) };
        let connection = Connection::from_handle(grant.handle(0));
        match grant.kind {
            "file" => Ok(Output::File(Files::attach(connection).map_err(call_error)?, 0)),
            "pipe" => Ok(Output::Pipe(connection)),
            _ => Err(Error::BadArgument),
        }
    }

    /// Grants it to another program. What is answered has to live until that has been started.
    ///
    /// # Errors
    /// As the file server answers.
    pub fn grant(&self, to: &mut Grants) -> Result<Option<Connection>, Error> {
        let connection = match self {
            Output::Console => None,
            Output::File(files, number) => Some(files.share(*number).map_err(call_error)?),
            Output::Pipe(connection) => {
                to.add("out", "pipe", &[connection.handle()]);
                None
            }
        };
        connection.iter().for_each(|connection| to.add("out", "file", &[connection.handle()]));
        Ok(connection)
    }

    /// Makes it a forked child's own: two processes cannot use one session's window.
    ///
    /// # Errors
    /// As the file server answers.
    pub fn make_own(&mut self) -> Result<(), Error> {
        if let Output::File(files, number) = self {
            let own = files.share(*number).and_then(Files::attach).map_err(call_error)?;
            // Dropping the parent's takes its window's addresses away, which this process has, too: well so.
            *self = Output::File(own, 0);
        }
        Ok(())
    }

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// [`Error::Gone`] if the reader of the pipe has ended; [`Error::OutOfMemory`] if the file system is full.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), Error> {
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

/// The status of a program whose output is not read any more; as other systems have it.
pub const READER_GONE: i32 = 141;

/// Writes all of the bytes to the program's output. If that is a pipe whose reader has gone, the program ends with
/// [`READER_GONE`] and without a word: what it would go on to do is of no use to anyone.
///
/// # Errors
/// [`Error::OutOfMemory`] if the file system is full.
pub fn write_all(bytes: &[u8]) -> Result<(), Error> {
    let mut output = OUTPUT.lock();
    let here = match *output {
        // Nothing to lose, and no call to ask who this is.
        Some((_, Output::Console)) => return console::write_all(bytes),
        _ => identify(),
    };
    let (process, output) = match &mut *output {
        Some(output) => output,
        None => output.insert((here, Output::granted()?)),
    };
    if *process != here {
        output.make_own()?;
        *process = here;
    }
    match (output.write_all(bytes), output) {
        (Err(Error::Gone), Output::Pipe(_)) => exit(READER_GONE),
        (result, _) => result,
    }
}

impl Input {
    /// What this program was granted. A file can be had once: by [`read`] and its kin, or by this function's caller.
    ///
    /// # Errors
    /// As the file server answers; [`Error::BadArgument`] for a grant that is none of the three.
    pub fn granted() -> Result<Input, Error> {
        let Some(grant) = grants::find("in") else { return Ok(Input::Console) };
        match grant.kind {
            "file" => {
                let files = Files::attach(Connection::from_handle(grant.handle(0))).map_err(call_error)?;
                Ok(Input::File { files, number: 0, offset: 0 })
            }
            "pipe" => {
                let endpoint = Endpoint::from_handle(grant.handle(0));
                Ok(Input::Pipe(PipeReader::new(endpoint, Notification::from_handle(grant.handle(1)))))
            }
            _ => Err(Error::BadArgument),
        }
    }

    /// Grants it to another program, which reads a file from its beginning. What is answered has to live until that has
    /// been started.
    ///
    /// # Errors
    /// As the file server answers.
    pub fn grant(&self, to: &mut Grants) -> Result<Option<Connection>, Error> {
        let connection = match self {
            Input::Console => None,
            Input::File { files, number, .. } => Some(files.share(*number).map_err(call_error)?),
            Input::Pipe(PipeReader { endpoint, notification, .. }) => {
                to.add("in", "pipe", &[endpoint.handle(), notification.handle()]);
                None
            }
        };
        connection.iter().for_each(|connection| to.add("in", "file", &[connection.handle()]));
        Ok(connection)
    }

    /// Makes it a forked child's own: two processes cannot use one session's window, and the child has no receiver.
    ///
    /// # Errors
    /// As the file server answers.
    pub fn make_own(&mut self) -> Result<(), Error> {
        match self {
            Input::Console => {}
            Input::File { files, number, .. } => {
                *files = files.share(*number).and_then(Files::attach).map_err(call_error)?;
                *number = 0;
            }
            Input::Pipe(reader) => reader.receiver = None,
        }
        Ok(())
    }

    /// Reads at least a byte, or 0 at the end.
    ///
    /// # Errors
    /// As the [function](read) of this name.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self {
            Input::Console => console::read(console::Mode::Lines, buffer),
            Input::File { files, number, offset } => {
                let count = files.read(*number, *offset, buffer).map_err(call_error)?;
                *offset += count as u64;
                Ok(count)
            }
            Input::Pipe(reader) => reader.read(buffer),
        }
    }
}

impl PipeReader {
    /// A reader of a [pipe](Pipe). When the last of its processes drops the endpoint, the writers are told.
    pub const fn new(endpoint: Endpoint, notification: Notification) -> PipeReader {
        PipeReader { endpoint, receiver: None, notification, has_ended: false }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let receiver = match self.receiver.take() {
            Some(receiver) => receiver,
            None => self.endpoint.receiver()?,
        };
        let receiver = self.receiver.insert(receiver);
        loop {
            match receiver.receive_until(Duration::from_nanos(1)) {
                Ok(received) => {
                    // As many as there is room for; the writer comes again with the rest. One that lends less than it
                    // says has nothing taken.
                    let count =
                        usize::try_from(received.message.into_words()[0]).unwrap_or(usize::MAX).min(buffer.len());
                    let taken = receiver.read(0, &mut buffer[..count]).map_or(0, |()| count);
                    let _ = receiver.reply(Message::words([taken as u64, 0, 0, 0, 0, 0]));
                    if taken > 0 {
                        return Ok(taken);
                    }
                }
                Err(Error::TimedOut) if self.has_ended => return Ok(0),
                Err(Error::TimedOut) => {
                    self.has_ended = self.notification.wait()? & END != 0;
                    if self.has_ended {
                        // A program that reads from the same pipe after this one has to be told, too.
                        self.notification.notify(END)?;
                    }
                }
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
        None => console::read(console::Mode::Lines, buffer),
        Some(input) => input.read(buffer),
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
