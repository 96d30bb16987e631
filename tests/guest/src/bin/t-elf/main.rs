//! Tests that no broken program file starts or does harm: a good one from the archive is broken in many ways.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod file;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::{PAGE_SIZE, STACK_TOP, USER_END};
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::{self, STANDARD_HANDLES};
use graft_rt::test::{FreeFrames, Numbers, Report, claim_success};
use graft_rt::{Arguments, Error, Handle, Process, claim, claim_eq};

use crate::file::{Field, ProgramFile};

graft_rt::program!(main);

/// The program that is broken: a shell, because it has text, constants and data. With these
/// arguments it does nothing and exits 0.
const VICTIM: [&str; 3] = ["sh", "-c", ""];

fn main(_arguments: Arguments) -> Result<i32, FileError> {
    let report = Report::new();
    let archive = Archive::open()?;
    let good = ProgramFile::new(archive.file(VICTIM[0])?);
    let Some(good) = good else {
        claim!(&report, false, "{} is a program as this test knows them", VICTIM[0]);
        return Ok(report.finish());
    };
    let frames = FreeFrames::now();
    unbroken(&report, &good);
    fields(&report, &good);
    lengths(&report, &good);
    requests(&report, &good);
    random(&report, &good);
    unbroken(&report, &good);
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn spawn(bytes: &[u8]) -> Result<Process, Error> {
    Process::spawn_image(bytes, &VICTIM, &STANDARD_HANDLES)
}

fn unbroken(report: &Report, good: &ProgramFile) {
    match spawn(good.bytes()) {
        Ok(process) => _ = claim_success(report, &process, format_args!("the good program")),
        Err(error) => _ = claim!(report, false, "the good program: {error}"),
    }
}

fn fields(report: &Report, good: &ProgramFile) {
    use Error::*;
    let (text, data) = (good.text(), good.data());
    let text_address = good.get(text.at(Field::Address));
    let end = good.bytes().len() as u64;
    let wrong = [
        ("magic", Field::Magic.of_file(), 0, ImageNotElf),
        ("class: 32 bits", Field::Class.of_file(), 1, ImageWrongMachine),
        ("class: unknown", Field::Class.of_file(), 77, ImageWrongMachine),
        ("byte order: big-endian", Field::Order.of_file(), 2, ImageWrongMachine),
        ("identification version", Field::IdentificationVersion.of_file(), 9, ImageBadHeader),
        ("system: not System V's", Field::System.of_file(), 9, ImageWrongMachine),
        ("type: relocatable", Field::Type.of_file(), 1, ImageWrongMachine),
        ("type: position-independent", Field::Type.of_file(), 3, ImageDynamic),
        ("type: core dump", Field::Type.of_file(), 4, ImageWrongMachine),
        ("machine: x86_64", Field::Machine.of_file(), 62, ImageWrongMachine),
        ("version", Field::Version.of_file(), 2, ImageBadHeader),
        ("entry: null", Field::Entry.of_file(), 0, ImageBadEntry),
        ("entry: not an instruction's address", Field::Entry.of_file(), text_address + 2, ImageBadEntry),
        ("entry: in data", Field::Entry.of_file(), good.get(data.at(Field::Address)), ImageBadEntry),
        ("entry: in the kernel", Field::Entry.of_file(), u64::MAX - 3, ImageBadEntry),
        ("program headers past the end", Field::Headers.of_file(), end, ImageTooShort),
        ("program headers wrap around", Field::Headers.of_file(), u64::MAX - 8, ImageTooShort),
        ("size of the header", Field::HeaderSize.of_file(), 63, ImageBadHeader),
        ("size of a program header", Field::EntrySize.of_file(), 57, ImageBadHeader),
        ("no program header", Field::Count.of_file(), 0, ImageBadHeader),
        ("65,535 program headers", Field::Count.of_file(), 0xffff, ImageBadHeader),
        ("text: wants an interpreter", text.at(Field::Kind), 3, ImageDynamic),
        ("text: writable", text.at(Field::Flags), 7, ImageWritableText),
        ("text: not executable", text.at(Field::Flags), 4, ImageBadEntry),
        ("data: executable", data.at(Field::Flags), 7, ImageWritableText),
        ("data: offset past the end", data.at(Field::Offset), end.next_multiple_of(PAGE_SIZE as u64), ImageBadSegment),
        ("data: offset wraps around", data.at(Field::Offset), !0xfff, ImageBadSegment),
        ("data: offset does not fit the address", data.at(Field::Offset), 8, ImageBadSegment),
        ("data: at null", data.at(Field::Address), 0, ImageBadSegment),
        ("data: below user memory", data.at(Field::Address), 0xf000, ImageBadSegment),
        ("data: in the kernel", data.at(Field::Address), 0xffff_ffff_8000_0000, ImageBadSegment),
        ("data: past user memory", data.at(Field::Address), USER_END as u64, ImageBadSegment),
        ("data: on the text", data.at(Field::Address), text_address, ImageOverlap),
        ("data: on the stack", data.at(Field::Address), (STACK_TOP - PAGE_SIZE) as u64, ImageBadSegment),
        ("data: file size past the end", data.at(Field::FileSize), end, ImageBadSegment),
        ("data: file size wraps around", data.at(Field::FileSize), u64::MAX, ImageBadSegment),
        ("data: memory size below file size", data.at(Field::MemorySize), 1, ImageBadSegment),
        ("data: memory size past user memory", data.at(Field::MemorySize), USER_END as u64, ImageBadSegment),
        ("data: memory size wraps around", data.at(Field::MemorySize), u64::MAX, ImageBadSegment),
        ("data: alignment is no power of two", data.at(Field::Alignment), 3, ImageBadSegment),
    ];
    for (what, place, value, error) in wrong {
        let answer = spawn(&good.with(place, value)).map(|process| process.kill(0));
        claim_eq!(report, answer, Err(error), "{what}");
    }
    report.done(format_args!("each of {} wrong fields is refused with its own error", wrong.len()));
}

/// A file that ends early, anywhere in its headers and then in steps.
fn lengths(report: &Report, good: &ProgramFile) {
    let bytes = good.bytes();
    let headers = good.headers_end();
    let needed = good.loaded_end();
    for length in (0..headers).chain((headers..needed).step_by(509)) {
        let Err(error) = spawn(&bytes[..length]) else {
            claim!(report, false, "the first {length} bytes of {} started", bytes.len());
            continue;
        };
        let right = match error {
            Error::ImageTooShort => length < headers,
            // A program header tells of bytes that the file does not have.
            Error::ImageBadSegment => length >= headers_of_one(good),
            _ => false,
        };
        claim!(report, right, "the first {length} bytes of {}: {error}", bytes.len());
    }
    report.done(format_args!("a file that ends early is refused, wherever it ends"));
}

/// The least file that has a program header.
fn headers_of_one(good: &ProgramFile) -> usize {
    good.get(Field::Headers.of_file()) as usize + file::PROGRAM_HEADER
}

/// The file is good, the request is not.
fn requests(report: &Report, good: &ProgramFile) {
    let refused = process::exec(&[], &VICTIM);
    claim_eq!(report, refused, Error::ImageTooShort, "exec of nothing");
    let handles = [Handle::NONE];
    let answer = Process::spawn_image(good.bytes(), &VICTIM, &handles).map(drop);
    claim_eq!(report, answer, Err(Error::BadHandle), "a handle to pass on that names nothing");
    report.done(format_args!("a bad request is refused"));
}

/// Changes bytes of the headers, and now and then of the text, at random: the program may run or not and do anything
/// that a program may do, but it must not affect other processes.
fn random(report: &Report, good: &ProgramFile) {
    let mut numbers = Numbers::new(2);
    let mut started = Vec::new();
    let mut refused = 0;
    for _ in 0..600 {
        let mut bytes = Vec::from(good.bytes());
        let end = if numbers.below(4) == 0 { bytes.len() } else { good.headers_end() };
        for _ in 0..1 + numbers.below(3) {
            let place = numbers.below(end);
            bytes[place] = numbers.next() as u8;
        }
        match spawn(&bytes) {
            Ok(process) => started.push(process),
            Err(_) => refused += 1,
        }
        if started.len() == 16 {
            finish(&mut started);
        }
    }
    finish(&mut started);
    claim!(report, refused > 100, "of 600 programs broken at random {refused} were refused");
    report.done(format_args!("600 programs broken at random, {refused} of them refused, did no harm"));
}

/// Gives programs that may run for ever a moment, then ends them.
fn finish(started: &mut Vec<Process>) {
    process::sleep(Duration::from_millis(2));
    for process in started.drain(..) {
        let _ = process.kill(0);
        let _ = process.wait();
    }
}
