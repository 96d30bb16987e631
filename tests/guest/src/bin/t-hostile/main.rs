//! Does what no program may do: `t-hostile ACT`. Without ACT, does all of it in children and tests
//! that each is ended for the right reason and that no other process is affected.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod acts;
mod bomb;

use graft_rt::abi::{PAGE_SIZE, THREADS_MAX};
use graft_rt::archive::FileError;
use graft_rt::device::{self, Dma, Interrupt, Registers, Trigger};
use graft_rt::test::{FreeFrames, Report, claim_end};
use graft_rt::{
    Arguments, Error, ExitStatus, FaultKind, Handle, Process, Share, claim, claim_eq, eprintln, println, process,
};

use crate::acts::Act;
use crate::bomb::Handles;

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
    threads(&report)?;
    devices(&report);
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// A bomb of threads affects no other process, and all of its threads end with its process, however that ends.
fn threads(report: &Report) -> Result<(), Error> {
    let ends: [(ExitStatus, fn()); 3] = [
        (ExitStatus::Exited(1), || ()),
        (ExitStatus::Killed(5), || _ = process::kill(Handle::SELF, 5)),
        (ExitStatus::Faulted(FaultKind::Unmapped), || {
            Act::ALL.iter().filter(|act| act.name == "null").for_each(|act| (act.commit)())
        }),
    ];
    for (handles, refusal) in [(Handles::Kept, Error::HandlesExhausted), (Handles::GivenUp, Error::ThreadsExhausted)] {
        for (expected, end) in ends {
            let frames = FreeFrames::now();
            let child = Process::fork_into(Share::default(), || {
                let (threads, error) = bomb::light(handles);
                // What it has is what it can have: the first thread counts, too.
                let all = match handles {
                    Handles::Kept => threads > 64,
                    Handles::GivenUp => threads + 1 == THREADS_MAX as u64,
                };
                if error != refusal || !all || u64::from(process::own_info().threads) != threads + 1 {
                    return 2;
                }
                end();
                1
            })?;
            claim_end(report, &child, expected, format_args!("a bomb of threads, handles {handles:?}"));
            claim_eq!(report, child.info()?.threads, 0, "threads of a bomb that has ended");
            drop(child);
            frames.claim_same(report, format_args!("after a bomb of threads, handles {handles:?}"));
        }
        report.done(format_args!("a bomb of threads, handles {handles:?}: {refusal}"));
    }
    Ok(())
}

/// A program that the shell has started hands out no devices: with them it could have one store anywhere.
fn devices(report: &Report) {
    let refused = Some(Error::NoRight);
    claim_eq!(report, device::Tree::new().err(), refused, "the device tree");
    claim_eq!(report, Dma::new(PAGE_SIZE).err(), refused, "memory for a device");
    claim_eq!(report, Interrupt::new(0, Trigger::Level).err(), refused, "an interrupt");
    claim_eq!(report, Registers::new(0, PAGE_SIZE as u64).err(), refused, "registers");
    report.done(format_args!("devices: {}", Error::NoRight));
}

fn judge(report: &Report, act: &Act, how: &str, process: &Process) -> Result<(), FileError> {
    let status = process.wait()?;
    let right = matches!(status, ExitStatus::Faulted(kind) if act.ends.contains(&kind));
    let expected = act.ends.first().map_or("", |kind: &FaultKind| kind.message());
    claim!(report, right, "{} ({how}): it {status}; expected: it {expected}", act.name);
    Ok(())
}
