//! The file server: the boot archive, read-only, and a file system in memory at `/tmp`, by one protocol.
//!
//! ```text
//!   files [--pages N] [--faults]      granted: serve (an endpoint), heal (its supervisor, or none)
//! ```
//!
//! Each client has a session: a connection whose badge is the session's number, a window that both map, and a table of
//! open files, which no other session can name. When the last handle to its connection is gone, so is all that it had.
//! Every call that changes something ends with a checkpoint before it is answered: see [`graft_rt::heal`].
//!
//! With `--faults` the operation 99 has the server fault after so many of its steps, which tests and `healdemo` need.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod server;
mod tree;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::archive::Archive;
use graft_rt::files::FileError;
use graft_rt::heal::{Checkpoint, Keeper, note_call};
use graft_rt::message::{Endpoint, Message};
use graft_rt::{Arguments, Error, Handle, Permissions, eprintln, grants, memory};

use server::{Answer, Server};

graft_rt::program!(main);

/// Pages of files in memory: 32 MiB.
const PAGES: usize = 8192;

/// Bytes that a level-3 table leads to.
const TABLE: usize = 2 << 20;

fn main(arguments: Arguments) -> i32 {
    let (mut pages, mut faults) = (PAGES, false);
    let mut arguments = arguments.skip(1);
    while let Some(argument) = arguments.next() {
        match (argument, argument == "--pages") {
            ("--faults", _) => faults = true,
            (_, true) if let Some(number) = arguments.next().and_then(|text| text.parse().ok()) => pages = number,
            _ => {
                eprintln!("usage: files [--pages N] [--faults]");
                return 2;
            }
        }
    }
    let Some(serve) = grants::handle("serve") else {
        eprintln!("files: it was granted no endpoint, `serve`");
        return 2;
    };
    let archive = match Archive::open() {
        Ok(archive) => archive,
        Err(error) => {
            eprintln!("files: {error}");
            return 1;
        }
    };
    if let Err(error) = fill_table(archive.end()) {
        eprintln!("files: {error}");
        return 1;
    }
    match serve_from(Endpoint::from_handle(serve), &archive, pages, faults) {
        Ok(never) => never,
        Err(error) => {
            eprintln!("files: {error}");
            1
        }
    }
}

/// Reserves the rest of the archive's last table. A table with a session's window cannot be shared with a checkpoint,
/// which copies it entry by entry: the windows get one of their own, however large the archive is.
fn fill_table(archive_end: usize) -> Result<(), Error> {
    let begin = archive_end.next_multiple_of(PAGE_SIZE);
    match begin.next_multiple_of(TABLE) - begin {
        0 => Ok(()),
        bytes => memory::map(begin, bytes, Permissions::Read).map(drop),
    }
}

fn serve_from(endpoint: Endpoint, archive: &Archive, pages: usize, faults: bool) -> Result<i32, Error> {
    let receiver = endpoint.receiver()?;
    let own = [endpoint.handle(), receiver.handle()];
    let mut server = Server::new(endpoint, archive, pages, faults)?;
    let mut keeper = Keeper::granted(&[own[0], own[1], server.notification()]);
    keeper.ready()?;
    keeper.checkpoint(Handle::NONE)?;
    // After a restore to this very first checkpoint: the call that was open, if any, was not done.
    let _ = receiver.reply(again());
    let mut received = receiver.receive()?;
    loop {
        note_call();
        server.step();
        let Answer { mut message, changed } = server.answer(&received);
        if changed {
            server.step();
            match keeper.checkpoint(message.handle) {
                Ok(Checkpoint::Taken | Checkpoint::Restored { same_call: true }) => server.forget_ended(),
                Ok(Checkpoint::Restored { same_call: false }) => message = again(),
                // What was done stands, and a fault would take it back: the client is not told of a success.
                Err(error) => message = failed(FileError::Call(error)),
            }
            server.step();
        }
        received = receiver.answer_receive(message)?;
    }
}

/// The answer to a call that was open when the server went back.
fn again() -> Message {
    failed(FileError::Again)
}

fn failed(error: FileError) -> Message {
    Message::words([error.to_word(), 0, 0, 0, 0, 0])
}
