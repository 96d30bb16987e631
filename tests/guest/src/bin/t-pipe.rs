//! Tests pipes against the other end: a writer that claims, sends and withholds what it likes, and a reader that
//! answers what it likes. The honest end of each is this program again, started with the pipe.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use graft_rt::archive::Archive;
use graft_rt::grants::Grants;
use graft_rt::message::{Connection, Endpoint, Message, Receiver};
use graft_rt::notification::Notification;
use graft_rt::process::close;
use graft_rt::stream::{self, Pipe};
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap};
use graft_rt::{Arguments, Error, ExitStatus, Handle, Process, claim, claim_eq};

graft_rt::program!(main);

/// What goes through honestly, and how much: several times what a reader takes at once.
const BYTES: usize = 10_000;
/// More messages than a process has handles.
const MESSAGES: usize = 400;
/// Handles that a program needs after it has been sent as many.
const NEEDED: usize = 100;

fn main(mut arguments: Arguments) -> Result<i32, String> {
    match arguments.nth(1) {
        Some("read") => return Ok(read()),
        Some("write") => return Ok(write()),
        _ => {}
    }
    let report = Report::new();
    let archive = Archive::open().map_err(|error| format!("{error}"))?;
    let image = archive.file("t-pipe").map_err(|error| format!("t-pipe: {error}"))?;
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    for _ in 0..2 {
        writers(&report, image).map_err(|error| format!("writers: {error}"))?;
        readers(&report, image).map_err(|error| format!("readers: {error}"))?;
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn pattern(index: usize) -> u8 {
    (index * 7 / 3) as u8
}

fn all_bytes() -> Vec<u8> {
    (0..BYTES).map(pattern).collect()
}

/// The honest reader: what arrives is what was lent, and it has room for handles of its own.
fn read() -> i32 {
    match stream::read_all() {
        Ok(bytes) if bytes == all_bytes() => has_room_for_handles(),
        Ok(_) => 3,
        Err(_) => 2,
    }
}

/// The honest writer.
fn write() -> i32 {
    match stream::write_all(&all_bytes()) {
        Ok(()) => has_room_for_handles(),
        Err(Error::BadArgument) => 5,
        Err(_) => 2,
    }
}

fn has_room_for_handles() -> i32 {
    let made: Result<Vec<Notification>, Error> = (0..NEEDED).map(|_| Notification::new()).collect();
    if made.is_ok() { 0 } else { 4 }
}

fn with_end(image: &[u8], name: &str, handles: &[Handle], does: &str) -> Result<Process, Error> {
    let mut grants = Grants::standard();
    grants.add(name, "pipe", handles);
    grants.spawn(image, &["t-pipe", does])
}

/// A message with these words and a handle.
fn with_handle(words: [u64; 6]) -> Result<Message, Error> {
    Ok(Message { words, handle: Notification::new()?.into_handle() })
}

fn writers(report: &Report, image: &[u8]) -> Result<(), Error> {
    let pipe = Pipe::new()?;
    let reader = with_end(image, "in", &pipe.reader(), "read")?;
    let (writer, endpoint, notification) = pipe.into_ends();
    drop((endpoint, notification));
    let bytes = all_bytes();
    for round in 0..MESSAGES {
        // Nothing, and more than is lent, with a handle that nobody has asked for.
        let claimed = [0, 65, u64::MAX, 1 << 63][round % 4];
        let message = with_handle([claimed, u64::MAX, 1, 2, 3, 4])?;
        let lent: &[u8] = if round % 3 == 0 { &[] } else { &bytes[..64] };
        let answer = writer.call_lending(message, lent, &mut [])?;
        // The reader may have had no room for it.
        let _ = close(message.handle);
        claim_eq!(report, answer.words[0], 0, "taken of {claimed} bytes of {}", lent.len());
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let message = Message::words([rest.len() as u64, 0, 0, 0, 0, 0]);
        let taken = writer.call_lending(message, rest, &mut [])?.words[0] as usize;
        claim!(report, (1..=rest.len()).contains(&taken), "{taken} bytes taken");
        rest = &rest[taken..];
    }
    drop(writer);
    claim_eq!(report, reader.wait(), Ok(ExitStatus::Exited(0)), "the reader");
    report.done(format_args!("a reader takes what is lent, whatever the writer says and sends"));
    Ok(())
}

/// How a reader answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// A byte at a time, with a handle, until the writer's handles would be used up; then all.
    Slowly,
    /// That it has taken nothing.
    Nothing,
    /// That it has taken more than there is.
    TooMuch,
}

fn readers(report: &Report, image: &[u8]) -> Result<(), Error> {
    for answers in [Answers::Slowly, Answers::Nothing, Answers::TooMuch] {
        let endpoint = Endpoint::new()?;
        let (connection, receiver): (Connection, Receiver) = (endpoint.connect(0)?, endpoint.receiver()?);
        let writer = with_end(image, "out", &[connection.handle()], "write")?;
        drop(connection);
        let mut left = BYTES;
        let mut messages = 0;
        while left > 0 {
            let lent = receiver.receive()?.message.words[0];
            claim_eq!(report, lent, left as u64, "what is left");
            messages += 1;
            let (taken, over) = match answers {
                Answers::Slowly if messages <= MESSAGES => (1, false),
                Answers::Slowly => (left, true),
                Answers::Nothing => (0, true),
                Answers::TooMuch => (left + 1, true),
            };
            let message = with_handle([taken as u64, 0, 0, 0, 0, 0])?;
            receiver.reply(message)?;
            let _ = close(message.handle);
            if over {
                break;
            }
            left -= taken;
        }
        let status = if answers == Answers::Slowly { 0 } else { 5 };
        claim_eq!(report, writer.wait(), Ok(ExitStatus::Exited(status)), "the writer, answered {answers:?}");
    }
    report.done(format_args!("a writer believes no reader that has taken nothing or too much, and keeps no handle"));
    Ok(())
}
