//! Sessions, and what each of their calls does.

use alloc::vec::Vec;

use graft_rt::abi::{PAGE_SIZE, Permissions};
use graft_rt::archive::Archive;
use graft_rt::files::{FileError, Operation, Result, WINDOW};
use graft_rt::memory::Shared;
use graft_rt::message::{Endpoint, Message, Received};
use graft_rt::notification::Notification;
use graft_rt::process::close;
use graft_rt::{Error, Handle, Region};

use crate::tree::{Target, Tree};

mod operations;

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

/// What an operation has done.
#[derive(Default)]
struct Done {
    words: [u64; 5],
    handle: Handle,
    /// Whether a checkpoint is due.
    changed: bool,
}

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
            Ok(Done { words: [a, b, c, d, e], handle, changed }) => {
                Answer { message: Message { words: [0, a, b, c, d, e], handle }, changed: changed || ended }
            }
            // A part of what was to be written may be there.
            Err(error) => {
                Answer { message: crate::failed(error), changed: ended || operation == Operation::Write as u64 }
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
