//! What each call of a session does.

use graft_lib::files::components;
use graft_rt::abi::{PAGE_SIZE, Permissions};
use graft_rt::files::{FileError, FileKind, Flags, Operation, Result, WINDOW};
use graft_rt::memory::Shared;
use graft_rt::message::Received;
use graft_rt::process::duplicate;
use graft_rt::{Handle, Rights};

use super::{Done, FAULT, FILES, File, KIND, STEPS, Server, Session, window};
use crate::tree::{Target, Tree};

impl Server<'_> {
    /// What a call asks for, and what it answers.
    pub(super) fn perform(&mut self, received: &Received) -> Result<Done> {
        let [operation, file, a, b, _, _] = received.message.words;
        let number = (received.badge as usize).checked_sub(1);
        if operation == FAULT && self.faults {
            self.set_outside(STEPS, a);
            self.set_outside(KIND, b);
            return Ok(Done::default());
        }
        let operation = Operation::from_number(operation).ok_or(FileError::BadRequest)?;
        let Some(number) = number else {
            // The base connection is good for one thing.
            return match operation {
                Operation::Session => {
                    let window = window(received.message.handle)?;
                    let connection = self.begin(Session { window: Some(window), ..Session::default() })?;
                    Ok(Done { handle: connection, changed: true, ..Done::default() })
                }
                _ => Err(FileError::BadRequest),
            };
        };
        let done = |words: &[u64], changed: bool| {
            let mut done = Done { changed, ..Done::default() };
            done.words[..words.len()].copy_from_slice(words);
            Ok(done)
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
                result?;
                done(&[count as u64], true)
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
                    Ok(connection) => Ok(Done { handle: connection, changed: true, ..Done::default() }),
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
    fn map(&mut self, number: usize, file: u64) -> Result<Done> {
        match self.file(number, file)?.target {
            Target::ArchiveDirectory(..) => Err(FileError::IsADirectory),
            Target::Archive(index) => {
                let data = self.tree.archived(index);
                let handle = duplicate(Handle::ARCHIVE, Rights::READ.or(Rights::DUPLICATE))?;
                let words = [self.tree.place(data) as u64, data.len() as u64, 0, 0, 0];
                Ok(Done { words, handle, changed: false })
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
                Ok(Done { words: [0, bytes as u64, 0, 0, 0], handle, changed: false })
            }
        }
    }
}
