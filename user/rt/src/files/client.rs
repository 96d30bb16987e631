//! A client's side of a session with a file server.

use alloc::string::String;
use alloc::vec::Vec;

use graft_abi::{Error, Handle, Permissions};

use super::{FileError, FileKind, Flags, Operation, Result, WINDOW};
use crate::memory::{Region, Shared};
use crate::message::{Connection, Message};
use crate::names;

/// How often a request is made again at most: a server that does not come back is not waited for.
const TRIES: usize = 1000;

/// What is done when the server was brought back while it worked on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The request is made again.
    Yes,
    /// The caller is told: [`FileError::Again`].
    No,
}

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// To read it.
    Read,
    /// To read and write what is there.
    Write,
    /// To write it from its beginning; it is made if it is not there.
    Replace,
    /// To write behind what is there; it is made if it is not there.
    Append,
    /// To write one that is not there yet.
    New,
}

impl Open {
    const fn flags(self) -> Flags {
        match self {
            Open::Read => Flags(0),
            Open::Write => Flags::WRITE,
            Open::Replace => Flags::WRITE.or(Flags::CREATE).or(Flags::TRUNCATE),
            Open::Append => Flags::WRITE.or(Flags::CREATE),
            Open::New => Flags::WRITE.or(Flags::CREATE).or(Flags::NEW),
        }
    }
}

/// A file that a session has open. It is closed with [`Files::close`], or with the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFile {
    /// Its number in the session.
    pub number: u64,
    /// File or directory.
    pub kind: FileKind,
    /// Its length in bytes when it was opened.
    pub bytes: u64,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The name in its directory; empty where a path was asked for.
    pub name: String,
    /// File or directory.
    pub kind: FileKind,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What the file system in memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Pages with the content of files.
    pub pages: u64,
    /// Pages at most.
    pub pages_max: u64,
    /// Files and directories.
    pub nodes: u64,
    /// Open files of all sessions.
    pub open_files: u64,
    /// Sessions.
    pub sessions: u64,
}

/// A file as memory.
#[derive(Debug)]
pub struct Mapped {
    region: Region,
    offset: usize,
    bytes: usize,
}

impl Mapped {
    /// Its length in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The byte at this place.
    ///
    /// # Panics
    /// Behind the end.
    pub fn read(&self, place: usize) -> u8 {
        assert!(place < self.bytes, "byte {place} of {}", self.bytes);
        self.region.read(self.offset + place)
    }
}

/// A session with a file server. It ends when this is dropped, and with the process.
#[derive(Debug)]
pub struct Files {
    connection: Connection,
    window: Region,
    retry: Retry,
}

/// A window, and a handle to be sent to the server.
fn window() -> Result<(Region, Handle)> {
    let object = Shared::new(WINDOW)?;
    let region = object.map(Permissions::ReadWrite)?;
    Ok((region, object.into_handle()))
}

/// Makes a call that carries a handle, again with another one if the server was brought back.
fn call_with(connection: &Connection, operation: Operation, retry: Retry) -> Result<(Region, Message)> {
    for _ in 0..TRIES {
        let (region, handle) = window()?;
        let answer = connection.call(Message { words: [operation as u64, 0, 0, 0, 0, 0], handle });
        if answer.is_err() {
            let _ = crate::process::close(handle);
        }
        let answer = answer?;
        match FileError::from_word(answer.words[0]) {
            Ok(()) => return Ok((region, answer)),
            Err(error) => {
                answer.into_words();
                if error != FileError::Again || retry == Retry::No {
                    return Err(error);
                }
            }
        }
    }
    Err(FileError::Again)
}

impl Files {
    /// A session of the program's own, with the server that it [finds](names::find) as `files`.
    ///
    /// # Errors
    /// [`FileError::NoServer`] if it may use none, [`FileError::TooManyClients`].
    pub fn open() -> Result<Files> {
        let base = names::find("files").map_err(|error| match error {
            Error::NotFound => FileError::NoServer,
            error => FileError::Call(error),
        })?;
        Files::connect(&base)
    }

    /// A session with the server that this connection leads to.
    ///
    /// # Errors
    /// [`FileError::TooManyClients`].
    pub fn connect(base: &Connection) -> Result<Files> {
        let (window, answer) = call_with(base, Operation::Session, Retry::Yes)?;
        if answer.handle == Handle::NONE {
            return Err(FileError::Call(Error::HandlesExhausted));
        }
        Ok(Files { connection: Connection::from_handle(answer.handle), window, retry: Retry::Yes })
    }

    /// The session behind a connection that [`share`](Self::share) has made: its file is number 0.
    ///
    /// # Errors
    /// [`FileError::NotAllowed`] if it has a window already.
    pub fn attach(connection: Connection) -> Result<Files> {
        let (window, answer) = call_with(&connection, Operation::Attach, Retry::Yes)?;
        answer.into_words();
        Ok(Files { connection, window, retry: Retry::Yes })
    }

    /// Changes what is done when the server was brought back: [`Retry::Yes`] at first.
    pub fn set_retry(&mut self, retry: Retry) {
        self.retry = retry;
    }

    /// The connection, for raw calls.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The window, for what no client should do.
    pub const fn window(&self) -> &Region {
        &self.window
    }

    fn ask(&self, operation: Operation, file: u64, a: u64, b: u64) -> Result<[u64; 6]> {
        self.ask_for_handle(operation, file, a, b).map(Message::into_words)
    }

    fn ask_for_handle(&self, operation: Operation, file: u64, a: u64, b: u64) -> Result<Message> {
        for _ in 0..TRIES {
            let answer = self.connection.call(Message::words([operation as u64, file, a, b, 0, 0]))?;
            match FileError::from_word(answer.words[0]) {
                Ok(()) => return Ok(answer),
                Err(error) => {
                    answer.into_words();
                    if error != FileError::Again || self.retry == Retry::No {
                        return Err(error);
                    }
                }
            }
        }
        Err(FileError::Again)
    }

    fn put_path(&self, at: usize, path: &str) -> Result<u64> {
        // Far longer than any path, and the server refuses it as it refuses every path that is too long.
        if path.len() > WINDOW - at {
            return Err(FileError::NameTooLong);
        }
        self.window.copy_from(at, path.as_bytes());
        Ok(path.len() as u64)
    }

    /// Opens a file or a directory.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn open_file(&self, path: &str, open: Open) -> Result<OpenFile> {
        let length = self.put_path(0, path)?;
        let [_, number, kind, bytes, ..] = self.ask(Operation::Open, 0, length, open.flags().0)?;
        Ok(OpenFile { number, kind: FileKind::from_number(kind), bytes })
    }

    /// Reads a part of a file: at least a byte, unless this is its end or the buffer is empty. Returns how many.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn read(&self, file: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let most = buffer.len().min(WINDOW);
        let count = (self.ask(Operation::Read, file, offset, most as u64)?[1] as usize).min(most);
        self.window.copy_to(0, &mut buffer[..count]);
        Ok(count)
    }

    /// Everything that is in a file.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn read_all(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open_file(path, Open::Read)?;
        let mut content = Vec::new();
        let mut buffer = [0; 2048];
        let result = loop {
            match self.read(file.number, content.len() as u64, &mut buffer) {
                Ok(0) => break Ok(content),
                Ok(count) => content.extend_from_slice(&buffer[..count]),
                Err(error) => break Err(error),
            }
        };
        let _ = self.close(file.number);
        result
    }

    /// Writes all of the bytes to a file from this place on.
    ///
    /// # Errors
    /// As [`FileError`] says. What has been written before, in pieces of [`WINDOW`] bytes, stays.
    pub fn write(&self, file: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut place = offset;
        for piece in bytes.chunks(WINDOW) {
            self.window.copy_from(0, piece);
            self.ask(Operation::Write, file, place, piece.len() as u64)?;
            place = place.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Writes behind what is in a file.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn append(&self, file: u64, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(WINDOW) {
            self.window.copy_from(0, piece);
            self.ask(Operation::Write, file, u64::MAX, piece.len() as u64)?;
        }
        Ok(())
    }

    /// Changes a file's length.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn truncate(&self, file: u64, length: u64) -> Result<()> {
        self.ask(Operation::Truncate, file, length, 0).map(drop)
    }

    /// Gives a file another name. What had that name is replaced.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let from = self.put_path(0, from)?;
        let to = self.put_path(from as usize, to)?;
        self.ask(Operation::Rename, 0, from, to).map(drop)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn unlink(&self, path: &str) -> Result<()> {
        let length = self.put_path(0, path)?;
        self.ask(Operation::Unlink, 0, length, 0).map(drop)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        let length = self.put_path(0, path)?;
        self.ask(Operation::MakeDirectory, 0, length, 0).map(drop)
    }

    /// The entry of an open directory with this number.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn entry(&self, directory: u64, index: u64) -> Result<Option<Status>> {
        let [_, length, kind, bytes, ..] = self.ask(Operation::ReadDirectory, directory, index, 0)?;
        if length == 0 {
            return Ok(None);
        }
        let mut name = alloc::vec![0; (length as usize).min(WINDOW)];
        self.window.copy_to(0, &mut name);
        let name = String::from_utf8(name).map_err(|_| FileError::BadName)?;
        Ok(Some(Status { name, kind: FileKind::from_number(kind), bytes }))
    }

    /// Everything in a directory.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn entries(&self, path: &str) -> Result<Vec<Status>> {
        let directory = self.open_file(path, Open::Read)?;
        let entries = (0..).map_while(|index| self.entry(directory.number, index).transpose()).collect();
        let _ = self.close(directory.number);
        entries
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn status(&self, path: &str) -> Result<Status> {
        let length = self.put_path(0, path)?;
        let [_, kind, bytes, ..] = self.ask(Operation::Status, 0, length, 0)?;
        Ok(Status { name: String::new(), kind: FileKind::from_number(kind), bytes })
    }

    /// Gives an open file up.
    ///
    /// # Errors
    /// [`FileError::BadFile`].
    pub fn close(&self, file: u64) -> Result<()> {
        self.ask(Operation::Close, file, 0, 0).map(drop)
    }

    /// A file as memory, as it is now.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn map(&self, file: u64) -> Result<Mapped> {
        let answer = self.ask_for_handle(Operation::Map, file, 0, 0)?;
        if answer.handle == Handle::NONE {
            return Err(FileError::Call(Error::HandlesExhausted));
        }
        let region = Shared::from_handle(answer.handle).map(Permissions::Read)?;
        let [_, offset, bytes, ..] = answer.words.map(|word| word as usize);
        match offset.checked_add(bytes) {
            Some(end) if end <= region.bytes() => Ok(Mapped { region, offset, bytes }),
            _ => Err(FileError::BadRequest),
        }
    }

    /// A connection to a session with this file alone, as number 0, to be given to another process; see
    /// [`attach`](Self::attach).
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn share(&self, file: u64) -> Result<Connection> {
        let answer = self.ask_for_handle(Operation::Share, file, 0, 0)?;
        if answer.handle == Handle::NONE {
            return Err(FileError::Call(Error::HandlesExhausted));
        }
        Ok(Connection::from_handle(answer.handle))
    }

    /// What the file system in memory holds.
    ///
    /// # Errors
    /// As [`FileError`] says.
    pub fn usage(&self) -> Result<Usage> {
        let [_, pages, pages_max, nodes, open_files, sessions] = self.ask(Operation::Usage, 0, 0, 0)?;
        Ok(Usage { pages, pages_max, nodes, open_files, sessions })
    }
}
