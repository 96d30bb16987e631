//! Tests the file server from a client's side: what it promises, every kind of bad input, and that a client takes along
//! what it had. Then faults: the server is broken at every step of a change, and every change has been made once.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use graft_rt::abi::PAGE_SIZE;
use graft_rt::archive::Archive;
use graft_rt::files::{FileError, FileKind, Files, Open, Operation, Retry, Usage, WINDOW};
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::memory::Shared;
use graft_rt::message::{Connection, Message};
use graft_rt::test::{Report, wait_until};
use graft_rt::{Arguments, Handle, Process, Share, claim, claim_eq, process, thread};

graft_rt::program!(main);

/// The operation that plants a fault.
const FAULT: u64 = 99;
/// More than a process has room for handles.
const SESSIONS_BROKEN: u64 = 400;

fn main(_arguments: Arguments) -> Result<i32, String> {
    let report = Report::new();
    let archive = Archive::open().map_err(|error| format!("{error}"))?;
    let image = archive.file("files").map_err(|error| format!("files: {error}"))?;
    // With few pages, so that they can be used up.
    let server = Guarded::start(image, &["files", "--faults", "--pages", "256"], Grants::standard());
    let server = server.map_err(|error| format!("cannot start the file server: {error}"))?;
    let healed = AtomicUsize::new(0);
    let result = thread::scope(|scope| {
        scope
            .spawn(|| {
                loop {
                    match server.tend() {
                        Ok(Event::Healed(_)) => _ = healed.fetch_add(1, Ordering::SeqCst),
                        Ok(Event::Ended(_)) | Err(_) => return,
                        Ok(Event::Ready | Event::Kept) => {}
                        // The end of the tests.
                        Ok(Event::Ignored) => return,
                    }
                }
            })
            .map_err(|error| format!("{error}"))?;
        let result = tests(&report, &server, &archive, &healed);
        server.stop_tending().map_err(|error| format!("{error}"))?;
        result.map_err(|error| format!("{error}"))
    });
    let _ = server.process().and_then(|process| process.kill(0));
    result?;
    Ok(report.finish())
}

fn tests(report: &Report, server: &Guarded, archive: &Archive, healed: &AtomicUsize) -> Result<(), FileError> {
    let base = server.connect()?;
    let files = Files::connect(&base)?;
    contents(report, &files, archive)?;
    names(report, &files)?;
    space(report, server, &files)?;
    many(report, &files)?;
    garbage(report, &base, &files)?;
    strangers(report, &base, &files)?;
    clients(report, server, &base, &files)?;
    faults(report, &base, healed)?;
    let usage = files.usage()?;
    claim_eq!(report, (usage.pages, usage.nodes, usage.open_files, usage.sessions), (0, 1, 0, 1), "what is left");
    report.done(format_args!("after all of it the server has what it began with"));
    Ok(())
}

fn contents(report: &Report, files: &Files, archive: &Archive) -> Result<(), FileError> {
    let text = archive.file("README.md").map_err(|_| FileError::NoSuchFile)?;
    claim!(report, files.read_all("/README.md")? == text, "a file of the archive");
    let file = files.open_file("README.md", Open::Read)?;
    claim_eq!(report, file.bytes, text.len() as u64, "its length");
    claim_eq!(report, files.write(file.number, 0, b"x"), Err(FileError::ReadOnly), "a write to the archive");
    let mapped = files.map(file.number)?;
    claim!(report, (0..mapped.bytes()).all(|place| mapped.read(place) == text[place]), "the same as memory");
    claim_eq!(report, mapped.bytes(), text.len(), "as memory, its length");
    files.close(file.number)?;

    let file = files.open_file("/tmp/a", Open::New)?.number;
    let long: Vec<u8> = (0..5 * WINDOW + 77).map(|place| (place * 7 / 5) as u8).collect();
    files.write(file, 3, &long)?;
    claim!(report, files.read_all("/tmp/a")? == [&[0, 0, 0], &long[..]].concat(), "what was written, behind zeroes");
    let mapped = files.map(file)?;
    files.truncate(file, 0)?;
    claim!(report, (0..long.len()).all(|place| mapped.read(place + 3) == long[place]), "as memory, as it was");
    files.append(file, b"one ")?;
    files.append(file, b"two")?;
    claim_eq!(report, files.read_all("/tmp/a")?, b"one two", "appended");
    files.unlink("/tmp/a")?;
    claim_eq!(report, files.status("/tmp/a"), Err(FileError::NoSuchFile), "its name");
    let mut buffer = [0; 9];
    claim_eq!(report, files.read(file, 0, &mut buffer), Ok(7), "a file without a name");
    claim_eq!(report, files.usage()?.pages, 1, "it keeps its memory");
    files.close(file)?;
    claim_eq!(report, files.usage()?.pages, 0, "until it is closed");
    claim_eq!(report, files.read(file, 0, &mut buffer), Err(FileError::BadFile), "closed");
    report.done(format_args!("files are read, written, cut off, mapped, and outlive their names"));
    Ok(())
}

fn names(report: &Report, files: &Files) -> Result<(), FileError> {
    let all = files.entries("/")?;
    let tmp = all.iter().find(|entry| entry.name == "tmp").map(|entry| entry.kind);
    claim_eq!(report, tmp, Some(FileKind::Directory), "the file system in memory");
    claim!(report, all.iter().any(|entry| entry.name == "sh" && entry.kind == FileKind::File), "programs");
    files.make_directory("/tmp/d")?;
    let file = files.open_file("/tmp/d/../d/./f", Open::Replace)?.number;
    files.close(file)?;
    claim_eq!(report, files.unlink("/tmp/d"), Err(FileError::NotEmpty), "a directory with a file");
    files.rename("/tmp/d/f", "/tmp/g")?;
    claim_eq!(report, files.entries("/tmp")?.len(), 2, "entries");
    claim_eq!(report, files.rename("/tmp/d", "/tmp/d/e"), Err(FileError::NotAllowed), "a directory into itself");
    claim_eq!(report, files.rename("/tmp/g", "/README.md"), Err(FileError::ReadOnly), "into the archive");
    claim_eq!(report, files.open_file("/x", Open::New).map(drop), Err(FileError::ReadOnly), "a file in the archive");
    claim_eq!(report, files.open_file("/tmp/g", Open::New).map(drop), Err(FileError::Exists), "one that is there");
    claim_eq!(report, files.open_file("/tmp/d", Open::Write).map(drop), Err(FileError::IsADirectory), "to write to");
    claim_eq!(report, files.open_file("/tmp/g/h", Open::Read).map(drop), Err(FileError::NotADirectory), "below a file");
    for length in [255, 256, 4095, 4096, 4097, WINDOW, WINDOW + 1, 3 * WINDOW] {
        let name = format!("/tmp/{}", "n".repeat(length - 5));
        let expected = if length - 5 <= 255 { FileError::NoSuchFile } else { FileError::NameTooLong };
        claim_eq!(report, files.status(&name), Err(expected), "a path of {length} bytes");
    }
    files.unlink("/tmp/g")?;
    files.unlink("/tmp/d")?;
    report.done(format_args!("names lead to files, directories and errors"));
    Ok(())
}

fn space(report: &Report, server: &Guarded, files: &Files) -> Result<(), FileError> {
    let most = files.usage()?.pages_max;
    // A page at the end of many long files.
    const FILES: u64 = 200;
    let last = most * PAGE_SIZE as u64 - 1;
    let (before, name) = (resident_pages(server)?, |number| format!("/tmp/hole{number}"));
    for number in 0..FILES {
        let file = files.open_file(&name(number), Open::New)?.number;
        files.write(file, last, b"x")?;
        files.close(file)?;
    }
    let more = resident_pages(server)? - before;
    claim_eq!(report, files.usage()?.pages, FILES, "pages of files with holes");
    claim!(report, more <= FILES + FILES / 4, "{more} pages of the server for {FILES} of files");
    for number in 0..FILES {
        files.unlink(&name(number))?;
    }

    let file = files.open_file("/tmp/all", Open::Replace)?.number;
    let page = [1; PAGE_SIZE];
    let filled = (0..).take_while(|index| files.write(file, index * PAGE_SIZE as u64, &page).is_ok()).count() as u64;
    claim_eq!(report, filled, most, "pages until all are used up");
    claim_eq!(report, files.write(file, 0, &page), Ok(()), "what is there can be written");
    files.truncate(file, 1)?;
    claim_eq!(report, files.write(file, 1 << 40, b"x"), Err(FileError::TooLarge), "far behind the end");
    claim_eq!(report, files.truncate(file, u64::MAX), Err(FileError::TooLarge), "a length beyond all");
    files.close(file)?;
    files.unlink("/tmp/all")?;
    report.done(format_args!("no client gets more than there is"));
    Ok(())
}

fn many(report: &Report, files: &Files) -> Result<(), FileError> {
    const OPENS: u64 = 1000;
    let before = files.usage()?;
    for number in 0..OPENS {
        claim_eq!(report, files.open_file("/README.md", Open::Read)?.number, number, "a number");
    }
    let refused = (0..).find_map(|more| files.open_file("/sh", Open::Read).err().map(|error| (more, error)));
    claim!(report, matches!(refused, Some((50..=200, FileError::TooManyFiles))), "an end of it");
    claim_eq!(report, files.close(OPENS / 2), Ok(()), "one of them");
    claim_eq!(report, files.open_file("/sh", Open::Read)?.number, OPENS / 2, "its number anew");
    let mut number = 0;
    while files.close(number).is_ok() {
        number += 1;
    }
    claim_eq!(report, files.usage()?, before, "all closed");
    report.done(format_args!("a thousand files are open at once, and then none"));
    Ok(())
}

/// Any words through a connection, with and without a handle.
fn garbage(report: &Report, base: &Connection, files: &Files) -> Result<(), FileError> {
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        seed >> 16
    };
    let before = files.usage()?;
    let odd = [0, 1, 7, WINDOW as u64, WINDOW as u64 + 1, 1 << 32, u64::MAX, u64::MAX - 6];
    for round in 0..3000 {
        let operation = if round % 4 == 0 { random() } else { random() % 20 };
        let mut words = [operation, 0, 0, 0, 0, 0];
        for word in &mut words[1..] {
            *word = if random() % 2 == 0 { odd[random() as usize % odd.len()] } else { random() % 100 };
        }
        // Nothing in the window is a path that could be made.
        let handle = match random() % 8 {
            0 => Shared::new(PAGE_SIZE)?.into_handle(),
            1 => graft_rt::message::Endpoint::new()?.into_handle(),
            _ => Handle::NONE,
        };
        let connection = if random() % 3 == 0 { base } else { files.connection() };
        let answer = connection.call(Message { words, handle })?;
        if answer.handle != Handle::NONE {
            process::close(answer.handle)?;
        }
    }
    // Messages whose sender waits for no answer. A session that is begun so ends at once.
    let mut sent = 0;
    for round in 0..400u64 {
        let handle = if round % 3 == 0 { Shared::new(WINDOW)?.into_handle() } else { Handle::NONE };
        let connection = if round % 2 == 0 { base } else { files.connection() };
        let sending = connection.send(Message { words: [1 + round % 15, 0, 0, 0, 0, 0], handle });
        if sending.is_err() && handle != Handle::NONE {
            process::close(handle)?;
        }
        sent += u64::from(sending.is_ok());
    }
    claim!(report, sent > 0, "a message that was sent");
    files.window().copy_from(0, &[0xff; 64]);
    for operation in 0..=200u64 {
        for length in [0, 1, 64, u64::MAX] {
            let answer = files.connection().call(Message::words([operation, u64::MAX, length, u64::MAX, 1, 2]))?;
            let expected = Operation::from_number(operation).is_some() || operation == FAULT;
            claim!(report, expected || answer.words[0] == FileError::BadRequest.to_word(), "operation {operation}");
        }
        // It would be due.
        files.connection().call(Message::words([FAULT, 0, 0, 0, 0, 0]))?;
    }
    let mut number = 0;
    while number < 1200 {
        let _ = files.close(number);
        number += 1;
    }
    for entry in files.entries("/tmp")? {
        files.unlink(&format!("/tmp/{}", entry.name))?;
    }
    claim_eq!(report, files.usage()?.open_files, before.open_files, "open files after garbage");
    claim_eq!(report, files.usage()?.sessions, before.sessions, "sessions after garbage");
    report.done(format_args!("garbage of every kind is refused, and nothing stays of it"));
    Ok(())
}

/// What one client has, another one cannot name; a window that changes does no harm.
fn strangers(report: &Report, base: &Connection, files: &Files) -> Result<(), FileError> {
    let file = files.open_file("/tmp/mine", Open::New)?.number;
    files.append(file, b"mine")?;
    let other = Files::connect(base)?;
    let mut buffer = [0; 8];
    claim_eq!(report, other.read(file, 0, &mut buffer), Err(FileError::BadFile), "another's file");
    claim_eq!(report, other.close(file), Err(FileError::BadFile), "closing another's file");
    let shared = Files::attach(files.share(file)?)?;
    claim_eq!(report, shared.read(0, 0, &mut buffer), Ok(4), "a file that was handed on");
    claim_eq!(report, shared.read(1, 0, &mut buffer), Err(FileError::BadFile), "and no other one");
    files.close(file)?;
    files.unlink("/tmp/mine")?;
    claim_eq!(report, shared.append(0, b" yours"), Ok(()), "it lives on");
    claim_eq!(report, shared.read(0, 0, &mut buffer), Ok(8), "with what was written");
    drop(shared);
    drop(other);
    claim_eq!(report, files.usage()?.pages, 0, "and goes with its last session");

    // Another process writes into the window all the time.
    let window = files.window();
    let vandal = Process::fork_into(Share::default(), || {
        loop {
            for byte in [b'/', b't', 0, 0xff, b'.', b'a'] {
                (0..64).for_each(|place| window.write(place, byte));
            }
        }
    })?;
    for _ in 0..300 {
        let _ = files.open_file("/tmp/steady", Open::Replace).and_then(|file| files.close(file.number));
        let _ = files.rename("/tmp/steady", "/tmp/other");
        let _ = files.status("/tmp/steady");
    }
    vandal.kill(0)?;
    vandal.wait()?;
    for entry in files.entries("/tmp")? {
        files.unlink(&format!("/tmp/{}", entry.name))?;
    }
    claim_eq!(report, (files.usage()?.nodes, files.usage()?.open_files), (1, 0), "after a window that changed");
    report.done(format_args!("no client reaches another's files, and a window that changes harms its client alone"));
    Ok(())
}

fn resident_pages(server: &Guarded) -> Result<u64, FileError> {
    Ok(server.process()?.info()?.resident_pages)
}

/// Clients that come, open, write and go, in order or not.
fn clients(report: &Report, server: &Guarded, base: &Connection, files: &Files) -> Result<(), FileError> {
    let visit = |number: usize| -> Result<(), FileError> {
        let visitor = Process::fork_into(Share::default(), || {
            let come = || -> Result<(), FileError> {
                let own = Files::connect(base)?;
                let file = own.open_file(&format!("/tmp/visitor{}", number % 3), Open::Replace)?;
                own.append(file.number, &[7; 3 * PAGE_SIZE])?;
                own.unlink(&format!("/tmp/visitor{}", number % 3))?;
                // It ends with the process, not before.
                core::mem::forget(own);
                Ok(())
            };
            if come().is_err() {
                return 1;
            }
            if number.is_multiple_of(2) {
                process::exit(0);
            }
            // Killed here.
            loop {
                process::sleep(core::time::Duration::from_secs(1));
            }
        })?;
        if number.is_multiple_of(2) {
            claim_eq!(report, visitor.wait()?.shell_code(), 0, "visitor {number}");
        } else {
            while files.usage()?.sessions < 2 {
                process::yield_now();
            }
            visitor.kill(9)?;
            visitor.wait()?;
            // It may not have come so far.
            let _ = files.unlink(&format!("/tmp/visitor{}", number % 3));
        }
        Ok(())
    };
    for number in 0..8 {
        visit(number)?;
    }
    let before = (files.usage()?, resident_pages(server)?);
    for number in 0..60 {
        visit(number)?;
    }
    let Usage { pages, nodes, open_files, sessions, .. } = files.usage()?;
    claim_eq!(report, (pages, nodes, open_files, sessions), (0, 1, 0, 1), "what visitors leave");
    let after = resident_pages(server)?;
    claim!(report, after <= before.1 + 2, "pages of the server: {} before, {after} after", before.1);

    let mut crowd = Vec::new();
    let full = loop {
        match Files::connect(base) {
            Ok(one) => crowd.push(one),
            Err(error) => break error,
        }
    };
    claim_eq!(report, full, FileError::TooManyClients, "when all places are taken");
    claim_eq!(report, crowd.len() + 1, 60, "as many clients as there are places");
    drop(crowd);
    claim_eq!(report, files.usage()?.sessions, 1, "and all of them gone");
    report.done(format_args!("a client that goes or is killed takes along what it had"));
    Ok(())
}

/// Every step of every change, broken once: the client is told to try again and nothing has been done, or all of it
/// has.
fn faults(report: &Report, base: &Connection, healed: &AtomicUsize) -> Result<(), FileError> {
    let mut files = Files::connect(base)?;
    files.set_retry(Retry::No);
    // In turn an instruction that there is not, and a panic.
    let plant = |files: &Files, steps: u64| {
        let words = [FAULT, 0, steps, steps % 2, 0, 0];
        files.connection().call(Message::words(words)).map(drop).map_err(FileError::Call)
    };
    let log = files.open_file("/tmp/log", Open::New)?.number;
    let (mut again, mut stood) = (0, 0);
    for round in 0..40u64 {
        let steps = 1 + round % 9;
        let before = healed.load(Ordering::SeqCst);
        plant(&files, steps)?;
        let line = format!("{round:07}\n");
        loop {
            // Not to be repeated: appending twice would show.
            match files.append(log, line.as_bytes()) {
                Err(FileError::Again) => again += 1,
                result => break result?,
            }
        }
        plant(&files, 0)?;
        stood += healed.load(Ordering::SeqCst) - before;
    }
    let expected: String = (0..40).map(|round| format!("{round:07}\n")).collect();
    claim_eq!(report, String::from_utf8(files.read_all("/tmp/log")?), Ok(expected), "each line once, in order");
    claim!(report, again > 0 && stood > again, "faults before the checkpoint ({again}), and {stood} in all");
    // What the server got in a call that it did not finish, it gives back: more handles than its table has room for.
    let before = healed.load(Ordering::SeqCst);
    for round in 0..SESSIONS_BROKEN {
        // The session before has gone: that is a change, which would be broken in place of the next one.
        files.usage()?;
        plant(&files, 1 + round % 2)?;
        drop(Files::connect(base)?);
    }
    // The last one may not have been counted yet.
    wait_until(|| healed.load(Ordering::SeqCst) - before >= SESSIONS_BROKEN as usize);
    claim_eq!(report, healed.load(Ordering::SeqCst) - before, SESSIONS_BROKEN as usize, "each session is broken once");
    plant(&files, 0)?;
    // Sessions, opens and names, too.
    for steps in 1..6 {
        plant(&files, steps)?;
        let other = Files::connect(base)?;
        plant(&files, steps)?;
        let file = loop {
            match other.open_file("/tmp/second", Open::New) {
                Err(FileError::Again) => {}
                result => break result?,
            }
        };
        plant(&files, steps)?;
        other.unlink("/tmp/second")?;
        plant(&files, steps)?;
        other.close(file.number)?;
        plant(&files, 0)?;
    }
    claim!(report, healed.load(Ordering::SeqCst) >= 440, "{} times", healed.load(Ordering::SeqCst));
    files.close(log)?;
    files.unlink("/tmp/log")?;
    drop(files);
    report.done(format_args!("a change that is broken at any step is made once, or not at all"));
    Ok(())
}
