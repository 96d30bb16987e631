//! Tests what a program is started with: arguments, handles, exec.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use graft_rt::abi::ARGUMENTS_MAX;
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::{self, STANDARD_HANDLES};
use graft_rt::test::{FreeFrames, Report, claim_end, claim_success};
use graft_rt::{Arguments, Error, ExitStatus, Handle, Process, Share, arguments, claim, claim_eq, system};

graft_rt::program!(main);

/// The first argument of a copy that looks at its own arguments.
const COUNT: &str = "--sum";
/// The first argument of a copy that looks at its handles.
const HANDLES: &str = "--handles";

fn main(mut given: Arguments) -> Result<i32, FileError> {
    given.next();
    match given.next() {
        Some(COUNT) => return Ok(sum(given)),
        Some(HANDLES) => return Ok(own_handles()),
        _ => {}
    }
    let report = Report::new();
    let archive = Archive::open()?;
    let image = archive.file(arguments().get(0).unwrap_or("t-args"))?;
    let frames = FreeFrames::now();
    for part in [strings, limits, handles, replaced] {
        part(&report, image);
        frames.claim_same(&report, format_args!("after these"));
    }
    Ok(report.finish())
}

/// A number that tells argument lists apart: bytes and places both count.
fn sum(arguments: impl Iterator<Item = impl AsRef<str>>) -> i32 {
    let mut sum: u32 = 1;
    for argument in arguments {
        for &byte in argument.as_ref().as_bytes().iter().chain(&[0]) {
            sum = sum.wrapping_mul(31).wrapping_add(byte.into());
        }
    }
    (sum % 251) as i32
}

fn strings(report: &Report, image: &[u8]) {
    let many: Vec<String> = (0..1000).map(|number: u32| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for words in [&[][..], &["a"], &["", "", "x", ""], &["with space", "ünïcödé €", "\u{1f642}"], &many] {
        let mut all = Vec::from(["t-args", COUNT]);
        all.extend(words);
        match Process::spawn_image(image, &all, &STANDARD_HANDLES) {
            Ok(copy) => {
                let expected = ExitStatus::Exited(sum(words.iter()));
                claim_end(report, &copy, expected, format_args!("{} arguments", words.len()));
                let name = copy.info().map(|info| info.name);
                claim!(
                    report,
                    name.is_ok_and(|name| system::name(&name) == "t-args"),
                    "the name is the first argument"
                );
            }
            Err(error) => _ = claim!(report, false, "{} arguments: {error}", words.len()),
        }
    }
    report.done(format_args!("arguments arrive as they were given"));
}

fn limits(report: &Report, image: &[u8]) {
    // "t-args", "--sum" and their ends, and the end of the long one.
    let rest = ARGUMENTS_MAX - "t-args\0--sum\0\0".len();
    let longest = "x".repeat(rest);
    match Process::spawn_image(image, &["t-args", COUNT, &longest], &STANDARD_HANDLES) {
        Ok(copy) => {
            let expected = ExitStatus::Exited(sum([&longest].iter()));
            _ = claim_end(report, &copy, expected, format_args!("the longest arguments"));
        }
        Err(error) => _ = claim!(report, false, "the longest arguments: {error}"),
    }
    let too_long = "x".repeat(rest + 1);
    let refusal = Process::spawn_image(image, &["t-args", COUNT, &too_long], &STANDARD_HANDLES).err();
    claim_eq!(report, refusal, Some(Error::BadLength), "arguments that are too long");
    report.done(format_args!("arguments may be as long as they may be, and no longer"));
}

/// What a copy sees that was given the console twice: 1 and 2, and nothing as 3.
fn own_handles() -> i32 {
    let duplicate = |number: u32| process::duplicate(Handle(number), graft_rt::Rights::NONE);
    let right = duplicate(1).is_ok() && duplicate(2).is_ok() && duplicate(77) == Err(Error::BadHandle);
    i32::from(!right)
}

fn handles(report: &Report, image: &[u8]) {
    match Process::spawn_image(image, &["t-args", HANDLES], &[Handle::CONSOLE, Handle::CONSOLE]) {
        Ok(copy) => _ = claim_success(report, &copy, format_args!("a copy with the console twice")),
        Err(error) => _ = claim!(report, false, "a copy with the console twice: {error}"),
    }
    let refusal = Process::spawn_image(image, &["t-args", HANDLES], &[Handle(777)]).err();
    claim_eq!(report, refusal, Some(Error::BadHandle), "a handle to pass on that names nothing");
    let many = [Handle::CONSOLE; 5000];
    let refusal = Process::spawn_image(image, &["t-args", HANDLES], &many).err();
    claim_eq!(report, refusal, Some(Error::HandlesExhausted), "more handles to pass on than a process can have");
    report.done(format_args!("a program has the handles that it was given"));
}

fn replaced(report: &Report, image: &[u8]) {
    let expected = sum(["after", "exec"].iter());
    for share in Share::ALL {
        let child = Process::fork_into(share, || {
            let refusal = process::exec(&image[..100], &["t-args"]);
            if refusal != Error::ImageTooShort {
                return 100;
            }
            process::exec(image, &["t-args", COUNT, "after", "exec"]);
            101
        });
        match child {
            Ok(child) => {
                let identifier = child.identifier();
                claim_end(report, &child, ExitStatus::Exited(expected), format_args!("fork {}, exec", share.name()));
                claim_eq!(
                    report,
                    child.info().map(|info| info.identifier),
                    Ok(identifier),
                    "the identifier after exec"
                );
            }
            Err(error) => _ = claim!(report, false, "fork {}: {error}", share.name()),
        }
    }
    report.done(format_args!("exec replaces the program, and a failed one changes nothing"));
}
