//! Sessions, and what each of their calls does.

use alloc::vec::Vec;

use graft_lib::files::components;
use graft_rt::abi::{PAGE_SIZE, Permissions};
use graft_rt::archive::Archive;
use graft_rt::files::{FileError, FileKind, Flags, Operation, Result, WINDOW};
use graft_rt::memory::Shared;
use graft_rt::message::{Endpoint, Message, Received};
use graft_rt::notification::Notification;
use graft_rt::process::{close, duplicate};
use graft_rt::{Error, Handle, Region, Rights};

use crate::tree::{Target, Tree};

/// Sessions at a time: each has a bit of the notification that tells when its client is gone.
const SESSIONS: usize = 60;
/// Open files of a session at most.
const FILES: usize = 1100;
/// With `--faults`: has the server fault after `a` of its steps, or panic if `b` is [`PANIC`].
const FAULT: u64 = 99;
const PANIC: u64 = 1;

/// A client.
#[derive(Default)]
struct Session {
    window: Option<Region>,
    files: Vec<Option<File>>,
    /// How many of them are open.
    open: usize,
}

#[derive(Clone, Copy)]
struct File {
    target: Target,
    writable: bool,
}

/// What a call is answered with.
pub(crate) struct Answer {
    pub(crate) message: Message,
    /// Whether a checkpoint is due.
    pub(crate) changed: bool,
}

/// The server.
pub(crate) struct Server<'a> {
    endpoint: Endpoint,
    gone: Notification,
    tree: Tree<'a>,
    sessions: Vec<Option<Session>>,
    /// Memory that does not go back: the sessions whose end has not been kept yet, and the steps to the next fault.
    outside: Region,
    buffer: Vec<u8>,
    faults: bool,
}

/// Places in the memory that does not go back.
const ENDED: usize = 0;
const STEPS: usize = 8;
const KIND: usize = 16;

/// What an operation answers: three words, or five, and a handle.
type Words = [u64; 5];

impl<'a> Server<'a> {
    pub(crate) fn new(
        endpoint: Endpoint,
        archive: &'a Archive,
        pages: usize,
        faults: bool,
    ) -> core::result::Result<Server<'a>, Error> {
        Ok(Server {
            endpoint,
            gone: Notification::new()?,
            tree: Tree::new(archive, pages),
            sessions: (0..SESSIONS).map(|_| None).collect(),
            outside: Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?,
            buffer: alloc::vec![0; WINDOW],
            faults,
        })
    }

    /// A handle that the server keeps.
    pub(crate) fn notification(&self) -> Handle {
        self.gone.handle()
    }

    fn outside(&self, place: usize) -> u64 {
        let mut bytes = [0; 8];
        self.outside.copy_to(place, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn set_outside(&self, place: usize, word: u64) {
        self.outside.copy_from(place, &word.to_le_bytes());
    }

    /// Counts a step towards a planted fault.
    pub(crate) fn step(&self) {
        if self.faults && self.outside(STEPS) != 0 {
            let left = self.outside(STEPS) - 1;
            self.set_outside(STEPS, left);
            if left == 0 {
                assert!(self.outside(KIND) != PANIC, "as planted");
                fault();
            }
        }
    }

    /// The sessions that have been ended are so in the checkpoint, too.
    pub(crate) fn forget_ended(&self) {
        // Mostly there are none, and a store after a checkpoint may have tables to copy.
        if self.outside(ENDED) != 0 {
            self.set_outside(ENDED, 0);
        }
    }

    /// Ends the sessions whose clients are gone. Returns whether there were any.
    fn end_sessions(&mut self) -> bool {
        let ended = self.gone.take().unwrap_or(0) | self.outside(ENDED);
        if ended == 0 {
            return false;
        }
        self.set_outside(ENDED, ended);
        for number in (0..SESSIONS).filter(|number| ended & 1 << number != 0) {
            for file in self.sessions[number].take().into_iter().flat_map(|session| session.files).flatten() {
                if let Target::Memory(node) = file.target {
                    self.tree.memory.close(node);
                }
            }
        }
        true
    }

    /// Does what a call asks for.
    pub(crate) fn answer(&mut self, received: &Received) -> Answer {
        let [operation, ..] = received.message.words;
        // Reading is the most frequent of all: it neither asks who is gone nor changes anything.
        let ended = operation != Operation::Read as u64 && self.end_sessions();
        let handle = received.message.handle;
        let result = self.perform(received);
        if handle != Handle::NONE {
            // What is mapped stays mapped.
            let _ = close(handle);
        }
        match result {
            Ok((words, handle, changed)) => {
                let [a, b, c, d, e] = words;
                Answer { message: Message { words: [0, a, b, c, d, e], handle }, changed: changed || ended }
            }
            // A part of what was to be written may be there.
            Err(error) => {
                Answer { message: crate::failed(error), changed: ended || operation == Operation::Write as u64 }
            }
        }
    }

    /// The words and the handle to answer with, and whether something has changed.
    fn perform(&mut self, received: &Received) -> Result<(Words, Handle, bool)> {
        let [operation, file, a, b, _, _] = received.message.words;
        let number = (received.badge as usize).checked_sub(1);
        if operation == FAULT && self.faults {
            self.set_outside(STEPS, a);
            self.set_outside(KIND, b);
            return Ok(([0; 5], Handle::NONE, false));
        }
        let operation = Operation::from_number(operation).ok_or(FileError::BadRequest)?;
        let Some(number) = number else {
            // The base connection is good for one thing.
            return match operation {
                Operation::Session => {
                    let window = window(received.message.handle)?;
                    let connection = self.begin(Session { window: Some(window), ..Session::default() })?;
                    Ok(([0; 5], connection, true))
                }
                _ => Err(FileError::BadRequest),
            };
        };
        let done = |words: &[u64], changed: bool| {
            let mut all = [0; 5];
            all[..words.len()].copy_from_slice(words);
            Ok((all, Handle::NONE, changed))
        };
        match operation {
            Operation::Session => Err(FileError::BadRequest),
            Operation::Attach => {
                let session = self.session(number)?;
                if session.window.is_some() {
                    return Err(FileError::NotAllowed);
                }
                session.window = Some(window(received.message.handle)?);
                done(&[], true)
            }
            Operation::Open => {
                let path = self.path(number, 0, a)?;
                if b & !Flags::ALL.0 != 0 {
                    return Err(FileError::BadRequest);
                }
                if self.session(number)?.open >= FILES {
                    return Err(FileError::TooManyFiles);
                }
                let target = self.tree.open(&components(&path)?, Flags(b))?;
                let (kind, bytes) = self.tree.status(target)?;
                let file = File { target, writable: Flags(b).has(Flags::WRITE) };
                done(&[self.session(number)?.add(file), kind as u64, bytes], true)
            }
            Operation::Read => {
                let target = self.file(number, file)?.target;
                let count = b.min(WINDOW as u64) as usize;
                let count = match target {
                    Target::ArchiveDirectory(..) => return Err(FileError::IsADirectory),
                    Target::Archive(index) => {
                        let data = self.tree.archived(index);
                        let start = (a.min(data.len() as u64)) as usize;
                        let piece = &data[start..data.len().min(start + count)];
                        self.window(number)?.copy_from(0, piece);
                        piece.len()
                    }
                    Target::Memory(node) => {
                        let mut buffer = core::mem::take(&mut self.buffer);
                        let read = self.tree.memory.read(node, a, &mut buffer[..count]);
                        let result = read.and_then(|read| {
                            self.window(number)?.copy_from(0, &buffer[..read]);
                            Ok(read)
                        });
                        self.buffer = buffer;
                        result?
                    }
                };
                self.step();
                done(&[count as u64], false)
            }
            Operation::Write => {
                let count = usize::try_from(b).ok().filter(|&count| count <= WINDOW).ok_or(FileError::TooLarge)?;
                let file = self.file(number, file)?;
                if !file.writable {
                    return Err(FileError::ReadOnly);
                }
                let node = Tree::writable(file.target)?;
                let offset = if a == u64::MAX { self.tree.memory.status(node)?.1 } else { a };
                let mut buffer = core::mem::take(&mut self.buffer);
                // From here on it does not change any more.
                let copied = self.window(number).map(|window| window.copy_to(0, &mut buffer[..count]));
                let mut result = copied;
                let mut written = 0;
                for piece in buffer[..count].chunks(PAGE_SIZE) {
                    result = result.and_then(|()| self.tree.memory.write(node, offset.saturating_add(written), piece));
                    written += piece.len() as u64;
                    self.step();
                }
                self.buffer = buffer;
                // A part that has been written is there.
                result.map(|()| (([count as u64, 0, 0, 0, 0]), Handle::NONE, true))
            }
            Operation::Truncate => {
                let file = self.file(number, file)?;
                if !file.writable {
                    return Err(FileError::ReadOnly);
                }
                self.tree.memory.truncate(Tree::writable(file.target)?, a)?;
                done(&[], true)
            }
            Operation::Rename => {
                let (from, to) = (self.path(number, 0, a)?, self.path(number, a, b)?);
                let (from, to) = (components(&from)?, components(&to)?);
                match (Tree::in_memory(&from), Tree::in_memory(&to)) {
                    (Some(from), Some(to)) => self.tree.memory.rename(from, to)?,
                    _ => return Err(FileError::ReadOnly),
                }
                done(&[], true)
            }
            Operation::Unlink | Operation::MakeDirectory => {
                let path = self.path(number, 0, a)?;
                let path = components(&path)?;
                let path = Tree::in_memory(&path).ok_or(FileError::ReadOnly)?;
                match operation {
                    Operation::Unlink => self.tree.memory.unlink(path)?,
                    _ => self.tree.memory.make_directory(path)?,
                }
                done(&[], true)
            }
            Operation::ReadDirectory => {
                let target = self.file(number, file)?.target;
                let index = usize::try_from(a).unwrap_or(usize::MAX);
                match self.tree.entry(target, index)? {
                    Some((name, kind, bytes)) => {
                        self.window(number)?.copy_from(0, name.as_bytes());
                        done(&[name.len() as u64, kind as u64, bytes], false)
                    }
                    None => done(&[], false),
                }
            }
            Operation::Status => {
                let path = self.path(number, 0, a)?;
                let (kind, bytes) = self.tree.status(self.tree.find(&components(&path)?)?)?;
                done(&[kind as u64, bytes], false)
            }
            Operation::Close => {
                let file = self.file(number, file)?.target;
                let session = self.session(number)?;
                session.files[received.message.words[1] as usize] = None;
                session.open -= 1;
                if let Target::Memory(node) = file {
                    self.tree.memory.close(node);
                }
                done(&[], true)
            }
            Operation::Map => self.map(number, file),
            Operation::Share => {
                let file = self.file(number, file)?;
                if let Target::Memory(node) = file.target {
                    self.tree.memory.open(node)?;
                }
                let mut session = Session::default();
                session.add(file);
                match self.begin(session) {
                    Ok(connection) => Ok(([0; 5], connection, true)),
                    Err(error) => {
                        if let Target::Memory(node) = file.target {
                            self.tree.memory.close(node);
                        }
                        Err(error)
                    }
                }
            }
            Operation::Usage => {
                let (usage, limits) = (self.tree.memory.usage(), self.tree.memory.limits());
                let open: usize = self.sessions.iter().flatten().map(|session| session.open).sum();
                let sessions = self.sessions.iter().flatten().count();
                let words = [usage.pages, limits.pages, usage.nodes, open, sessions];
                done(&words.map(|word| word as u64), false)
            }
        }
    }

    /// A file as memory: the archive itself, or a copy.
    fn map(&mut self, number: usize, file: u64) -> Result<(Words, Handle, bool)> {
        match self.file(number, file)?.target {
            Target::ArchiveDirectory(..) => Err(FileError::IsADirectory),
            Target::Archive(index) => {
                let data = self.tree.archived(index);
                let handle = duplicate(Handle::ARCHIVE, Rights::READ.or(Rights::DUPLICATE))?;
                Ok(([self.tree.place(data) as u64, data.len() as u64, 0, 0, 0], handle, false))
            }
            Target::Memory(node) => {
                let (kind, bytes) = self.tree.memory.status(node)?;
                if kind == FileKind::Directory {
                    return Err(FileError::IsADirectory);
                }
                let bytes = bytes as usize;
                let copy = Shared::new(bytes.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE))?;
                let region = copy.map(Permissions::ReadWrite)?;
                let mut page = [0; PAGE_SIZE];
                for place in (0..bytes).step_by(PAGE_SIZE) {
                    let count = self.tree.memory.read(node, place as u64, &mut page)?;
                    region.copy_from(place, &page[..count]);
                }
                drop(region);
                let handle = copy.duplicate(Rights::READ.or(Rights::DUPLICATE))?.into_handle();
                Ok(([0, bytes as u64, 0, 0, 0], handle, false))
            }
        }
    }

    /// Gives a session a place. Returns the connection to it.
    fn begin(&mut self, session: Session) -> Result<Handle> {
        let number = self.sessions.iter().position(Option::is_none).ok_or(FileError::TooManyClients)?;
        let connection = self.endpoint.connect(number as u64 + 1)?;
        self.gone.bind_connection(1 << number, &connection)?;
        self.sessions[number] = Some(session);
        Ok(connection.into_handle())
    }

    fn session(&mut self, number: usize) -> Result<&mut Session> {
        self.sessions.get_mut(number).and_then(Option::as_mut).ok_or(FileError::BadRequest)
    }

    fn window(&self, number: usize) -> Result<&Region> {
        let session = self.sessions.get(number).and_then(Option::as_ref).ok_or(FileError::BadRequest)?;
        session.window.as_ref().ok_or(FileError::NoWindow)
    }

    fn file(&mut self, number: usize, file: u64) -> Result<File> {
        let file = usize::try_from(file).map_err(|_| FileError::BadFile)?;
        self.session(number)?.files.get(file).copied().flatten().ok_or(FileError::BadFile)
    }

    /// A copy of a path in the window, which no other process can change.
    fn path(&self, number: usize, start: u64, length: u64) -> Result<Vec<u8>> {
        let end = start.checked_add(length).filter(|&end| end <= WINDOW as u64).ok_or(FileError::NameTooLong)?;
        let mut path = alloc::vec![0; (end - start) as usize];
        self.window(number)?.copy_to(start as usize, &mut path);
        Ok(path)
    }
}

impl Session {
    fn add(&mut self, file: File) -> u64 {
        self.open += 1;
        match self.files.iter().position(Option::is_none) {
            Some(number) => {
                self.files[number] = Some(file);
                number as u64
            }
            None => {
                self.files.push(Some(file));
                self.files.len() as u64 - 1
            }
        }
    }
}

/// Maps a window, which has to be one.
fn window(handle: Handle) -> Result<Region> {
    if handle == Handle::NONE {
        return Err(FileError::NoWindow);
    }
    let object = Shared::from_handle(handle);
    let region = object.map(Permissions::ReadWrite);
    // The caller closes the handle.
    let _ = object.into_handle();
    let region = region?;
    if region.bytes() == WINDOW { Ok(region) } else { Err(FileError::BadRequest) }
}

/// What a broken server does.
#[allow(unsafe_code)]
fn fault() {
    // SAFETY: it ends the thread, or its supervisor sends it elsewhere.
    unsafe { core::arch::asm!("udf #7", options(nomem, nostack)) };
}
