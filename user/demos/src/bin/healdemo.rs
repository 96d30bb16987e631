//! Breaks the file server in the middle of a copy, again and again: `healdemo [--faults N] [--size SIZE]`.
//!
//! It starts a file server of its own under its own supervision, copies a file into it piece by piece, has the server
//! fault after a different number of steps each time, and compares every byte in the end. The server's memory and
//! handles are what they are after a copy without a fault.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicUsize, Ordering};

use graft_rt::archive::Archive;
use graft_rt::files::{FileError, Files, Open, Retry, WINDOW};
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::message::Message;
use graft_rt::{Arguments, println, size, thread};

graft_rt::program!(main);

/// The operation that plants a fault; see the server's `--faults`.
const FAULT: u64 = 99;
const COPY: &str = "/tmp/copy";

/// Failures in words.
fn because(what: &str) -> impl Fn(FileError) -> String + '_ {
    move |error| format!("{what}: {error}")
}

fn main(arguments: Arguments) -> Result<i32, String> {
    let (mut faults, mut bytes) = (100, 2 << 20);
    let mut arguments = arguments.skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match option {
            "--faults" => faults = value.parse().map_err(|_| format!("--faults {value}: not a number"))?,
            "--size" => bytes = size::parse(value).map_err(|error| format!("--size {value}: {error}"))? as usize,
            _ => return Err("usage: healdemo [--faults N] [--size SIZE]".into()),
        }
    }
    run(faults, bytes)
}

/// The byte of the copied file at this place.
fn content(place: usize) -> u8 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn run(faults: usize, bytes: usize) -> Result<i32, String> {
    let archive = Archive::open().map_err(|error| format!("{error}"))?;
    let image = archive.file("files").map_err(|error| format!("files: {error}"))?;
    let server = Guarded::start(image, &["files", "--faults"], Grants::standard());
    let server = server.map_err(|error| format!("cannot start the file server: {error}"))?;
    let healed = AtomicUsize::new(0);
    let result = thread::scope(|scope| {
        scope
            .spawn(|| {
                loop {
                    match server.tend() {
                        Ok(Event::Healed(_)) => _ = healed.fetch_add(1, Ordering::Relaxed),
                        Ok(Event::Ready | Event::Kept) => {}
                        Ok(Event::Ended(_) | Event::Ignored) | Err(_) => return,
                    }
                }
            })
            .map_err(|error| format!("cannot start the supervisor: {error}"))?;
        let result = copy(&server, faults, bytes, &healed);
        server.stop_tending().map_err(|error| format!("cannot end the supervisor: {error}"))?;
        result
    });
    let _ = server.process().and_then(|process| process.kill(0));
    result
}

fn copy(server: &Guarded, faults: usize, bytes: usize, healed: &AtomicUsize) -> Result<i32, String> {
    let base = server.connect().map_err(|error| format!("cannot connect: {error}"))?;
    let mut files = Files::connect(&base).map_err(because("cannot connect"))?;
    files.set_retry(Retry::No);
    let mut told_again = 0;
    let mut insist = |what: &str, operation: &mut dyn FnMut(&Files) -> Result<u64, FileError>| loop {
        match operation(&files) {
            Err(FileError::Again) => told_again += 1,
            result => return result.map_err(because(what)),
        }
    };
    let file =
        insist("cannot make the copy", &mut |files| files.open_file(COPY, Open::Replace).map(|file| file.number))?;
    let pieces = bytes.div_ceil(WINDOW);
    let mut buffer = alloc::vec![0; WINDOW];
    let mut planted = 0;
    for piece in 0..pieces {
        let start = piece * WINDOW;
        let length = WINDOW.min(bytes - start);
        for (place, byte) in buffer[..length].iter_mut().enumerate() {
            *byte = content(start + place);
        }
        // As many faults as are left, spread over the pieces that are left: before, in, and after what is done.
        let due = (faults * (piece + 1)).div_ceil(pieces);
        while planted < due {
            let steps = 1 + planted as u64 % 7;
            insist("cannot plant a fault", &mut |files| {
                let answer = files.connection().call(Message::words([FAULT, 0, steps, 0, 0, 0]))?;
                FileError::from_word(answer.words[0]).map(|()| 0)
            })?;
            planted += 1;
            let before = healed.load(Ordering::Relaxed);
            while healed.load(Ordering::Relaxed) == before {
                insist("cannot append", &mut |files| files.write(file, start as u64, &buffer[..length]).map(|()| 0))?;
            }
        }
        insist("cannot write", &mut |files| files.write(file, start as u64, &buffer[..length]).map(|()| 0))?;
    }
    let times = healed.load(Ordering::Relaxed);
    println!(
        "{bytes} bytes copied; the server faulted and was brought back {times} times, and said \"again\" {told_again} times"
    );
    let mut place = 0;
    while place < bytes {
        let count = files.read(file, place as u64, &mut buffer).map_err(because("cannot read"))?;
        let wrong = (0..count).find(|&index| buffer[index] != content(place + index));
        if let Some(index) = wrong {
            return Err(format!("byte {} of the copy is wrong", place + index));
        }
        if count == 0 {
            return Err(format!("the copy ends after {place} bytes"));
        }
        place += count;
    }
    println!("every byte of the copy is what it should be");
    files.close(file).and_then(|()| files.unlink(COPY)).map_err(because("cannot take the copy away"))?;
    let usage = files.usage().map_err(because("cannot ask"))?;
    println!("left: {} pages, {} open files, {} session", usage.pages, usage.open_files, usage.sessions);
    if times < faults {
        return Err(format!("{times} faults of {faults}"));
    }
    if (usage.pages, usage.open_files, usage.sessions) != (0, 0, 1) {
        return Err("something is left of the copy".into());
    }
    Ok(0)
}
