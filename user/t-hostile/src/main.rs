//! Does what no program may do: `t-hostile ACT`. Without ACT, does all of it in children and tests
//! that each is ended for the right reason and that nobody else notices.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod acts;

use graft_rt::archive::FileError;
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{Arguments, ExitStatus, FaultKind, Process, Share, claim, eprintln, println};

use crate::acts::Act;

graft_rt::program!(main);

fn main(mut arguments: Arguments) -> Result<i32, FileError> {
    match arguments.nth(1) {
        None => everything(),
        Some(name) => match Act::ALL.iter().find(|act| act.name == name) {
            Some(act) => {
                (act.commit)();
                eprintln!("t-hostile: {name}: nothing stopped it");
                Ok(1)
            }
            None => {
                eprintln!("t-hostile: {name}: there is no such act; there are:");
                Act::ALL.iter().for_each(|act| println!("  {:16} {}", act.name, act.purpose));
                Ok(2)
            }
        },
    }
}

fn everything() -> Result<i32, FileError> {
    let report = Report::new();
    let frames = FreeFrames::now();
    for act in Act::ALL {
        let program = Process::spawn(&["t-hostile", act.name])?;
        judge(&report, act, "spawned", &program)?;
        // The same from a child that shares its tables, where the faults meet APTable.
        for share in Share::ALL {
            let child = Process::fork_into(share, || {
                (act.commit)();
                1
            })?;
            judge(&report, act, share.name(), &child)?;
        }
        report.done(format_args!("{}: {}", act.name, act.purpose));
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn judge(report: &Report, act: &Act, how: &str, process: &Process) -> Result<(), FileError> {
    let status = process.wait()?;
    let right = matches!(status, ExitStatus::Faulted(kind) if act.ends.contains(&kind));
    let expected = act.ends.first().map_or("", |kind: &FaultKind| kind.message());
    claim!(report, right, "{} ({how}): it {status}; expected: it {expected}", act.name);
    Ok(())
}
