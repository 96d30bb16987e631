//! Tests that a process is never visible half made: while one program makes calls that make a process in part and then
//! fail, another looks at all processes, and finds no child of the first.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use graft_rt::abi::ProcessState;
use graft_rt::archive::{Archive, FileError};
use graft_rt::process::{self, STANDARD_HANDLES, fork_guaranteed};
use graft_rt::test::{FreeFrames, Report, claim_success};
use graft_rt::{Arguments, Error, Handle, Process, Rights, Share, claim_eq, system};

graft_rt::program!(main);

/// Calls of each kind. With more than one core, as many looks at all processes fall into their midst.
const CALLS: u32 = 5000;

fn main(_arguments: Arguments) -> Result<i32, FileError> {
    let report = Report::new();
    let archive = Archive::open()?;
    let program = archive.file("true")?;
    let frames = FreeFrames::now();
    never_seen(&report, "a fork with a guarantee that its process has lost", || {
        fork_guaranteed(Share::L3).err() == Some(Error::NotAllowed)
    })?;
    never_seen(&report, "a program that is to get a handle that names nothing", || {
        let [console, archive, system] = STANDARD_HANDLES;
        let handles = [console, archive, system, Handle(40_000)];
        Process::spawn_image(program, &["true"], &handles).err() == Some(Error::BadHandle)
    })?;
    never_seen(&report, "a program that there is no handle for", {
        let mut is_full = false;
        move || {
            while !is_full {
                is_full = process::duplicate(Handle::CONSOLE, Rights::NONE).is_err();
            }
            Process::spawn_image(program, &["true"], &[]).err() == Some(Error::HandlesExhausted)
        }
    })?;
    let (first, second) = (fork_once()?, fork_once()?);
    claim_eq!(&report, second, first + 1, "the identifier after {first}");
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// Claims that a child which makes this call again and again, and is told each time that it has failed, is never seen
/// to be a parent.
fn never_seen(report: &Report, what: &str, mut fails: impl FnMut() -> bool) -> Result<(), Error> {
    let child = Process::fork_into(Share::L3, || i32::from(!(0..CALLS).all(|_| fails())))?;
    let (mut looks, mut seen) = (0_u64, 0);
    while child.info()?.state != ProcessState::Ended as u32 {
        let mut after = child.identifier();
        while let Some(process) = system::next_process(after)? {
            after = process.identifier();
            seen += u32::from(process.info()?.parent == child.identifier());
        }
        looks += 1;
    }
    claim_eq!(report, seen, 0, "processes seen in {looks} looks during {what}");
    claim_success(report, &child, format_args!("a child that repeats {what}"));
    report.done(format_args!("never seen: {what}"));
    Ok(())
}

/// The identifier of a process that has ended.
fn fork_once() -> Result<u64, Error> {
    let child = Process::fork_into(Share::L3, || 0)?;
    child.wait()?;
    Ok(child.identifier())
}
