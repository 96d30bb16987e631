//! Tests the end of processes: exit codes, wait, kill, and the rights of handles.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::ProcessState;
use graft_rt::gate::Gate;
use graft_rt::process::{self, Fork, sleep};
use graft_rt::test::{FreeFrames, Report, claim_end, claim_success, wait_until};
use graft_rt::{Arguments, Error, ExitStatus, Handle, Process, Rights, Share, claim, claim_eq, system};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let frames = FreeFrames::now();
    codes(&report)?;
    kills(&report)?;
    kills_at_the_door(&report)?;
    waiters(&report)?;
    rights(&report)?;
    table(&report)?;
    orphans(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn child(work: impl FnOnce() -> i32) -> Result<Process, Error> {
    Process::fork_into(Share::default(), work)
}

fn codes(report: &Report) -> Result<(), Error> {
    for code in [0, 1, 42, 255, 256, -1, i32::MAX, i32::MIN] {
        let child = child(|| code)?;
        for time in 1..=3 {
            claim_end(report, &child, ExitStatus::Exited(code), format_args!("exit {code}, wait number {time}"));
        }
        let info = child.info()?;
        claim_eq!(report, info.state, ProcessState::Ended as u32, "the state after exit {code}");
        claim_eq!(report, info.exit_status, ExitStatus::Exited(code).to_register(), "the status after exit {code}");
        claim_eq!(report, (info.resident_pages, info.tables), (0, 0), "pages and tables after exit {code}");
        claim_eq!(report, info.parent, process::identify(), "the parent after exit {code}");
    }
    report.done(format_args!("exit codes arrive, as often as one asks"));
    Ok(())
}

/// Kills that meet their victim in every moment of falling asleep, on another core if there is one. One that is
/// missed would sleep on, and this would wait for ever.
fn kills_at_the_door(report: &Report) -> Result<(), Error> {
    for round in 0..1000 {
        let victim = child(|| {
            sleep(Duration::from_secs(3600));
            1
        })?;
        for _ in 0..round * 20 {
            core::hint::spin_loop();
        }
        claim_eq!(report, victim.kill(7), Ok(()), "kill number {round}");
        claim_end(report, &victim, ExitStatus::Killed(7), format_args!("number {round}, which falls asleep"));
    }
    report.done(format_args!("a process that falls asleep can be killed at any moment of it"));
    Ok(())
}

fn kills(report: &Report) -> Result<(), Error> {
    let spin = || loop {
        core::hint::spin_loop();
    };
    let sleeper = || {
        sleep(Duration::from_secs(3600));
        1
    };
    let victims = [("spins", child(spin)?), ("sleeps", child(sleeper)?), ("has just begun", child(sleeper)?)];
    sleep(Duration::from_millis(30));
    for (what, victim) in &victims {
        claim_eq!(report, victim.kill(7), Ok(()), "kill of one that {what}");
        claim_end(report, victim, ExitStatus::Killed(7), format_args!("one that {what}"));
        // A second kill changes nothing: the first status stays.
        let _ = victim.kill(9);
        claim_end(report, victim, ExitStatus::Killed(7), format_args!("one that {what}, killed again"));
    }
    let ended = child(|| 5)?;
    claim_end(report, &ended, ExitStatus::Exited(5), format_args!("one that ends"));
    let _ = ended.kill(9);
    claim_end(report, &ended, ExitStatus::Exited(5), format_args!("one that had ended when it was killed"));
    let own = child(|| {
        let _ = process::kill(Handle::SELF, 11);
        1
    })?;
    claim_end(report, &own, ExitStatus::Killed(11), format_args!("one that kills itself"));
    let gate = Gate::new()?;
    let waiting = child(|| {
        gate.pass();
        1
    })?;
    sleep(Duration::from_millis(5));
    claim_eq!(report, waiting.kill(3), Ok(()), "kill of one that waits");
    claim_end(report, &waiting, ExitStatus::Killed(3), format_args!("one that waits"));
    for found in system::processes() {
        claim_eq!(report, found?.kill(0), Err(Error::NoRight), "kill with a handle for looking");
    }
    report.done(format_args!("whatever a process does, it can be ended, once"));
    Ok(())
}

fn waiters(report: &Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let target = child(|| {
        gate.pass();
        21
    })?;
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(child(|| match target.wait() {
            Ok(ExitStatus::Exited(21)) => 0,
            _ => 1,
        })?);
    }
    sleep(Duration::from_millis(10));
    gate.open();
    for waiter in &waiters {
        claim_success(report, waiter, format_args!("one of several that wait for the same end"));
    }
    claim_end(report, &target, ExitStatus::Exited(21), format_args!("what they waited for"));
    claim_eq!(report, process::wait(Handle::SELF), Err(Error::NotAllowed), "waiting for oneself");
    claim_eq!(report, process::wait(Handle::NONE), Err(Error::BadHandle), "waiting for nothing");
    claim_eq!(report, process::wait(Handle::CONSOLE), Err(Error::WrongObject), "waiting for the console");
    report.done(format_args!("several wait for one, and a wait for an object without an end is refused"));
    Ok(())
}

fn rights(report: &Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let child = child(|| {
        gate.pass();
        0
    })?;
    let looking = child.duplicate(Rights::INSPECT.or(Rights::DUPLICATE))?;
    claim!(report, looking.info().is_ok(), "a handle for looking can look");
    claim_eq!(report, looking.wait(), Err(Error::NoRight), "waiting with a handle for looking");
    claim_eq!(report, looking.kill(1), Err(Error::NoRight), "killing with a handle for looking");
    let more = looking.duplicate(Rights::ALL)?;
    claim_eq!(report, more.kill(1), Err(Error::NoRight), "killing with a copy of a handle for looking");
    let blind = child.duplicate(Rights::WAIT)?;
    claim_eq!(report, blind.info().map(drop), Err(Error::NoRight), "looking with a handle for waiting");
    claim_eq!(report, blind.duplicate(Rights::WAIT).map(drop), Err(Error::NoRight), "copying without the right to");
    let closed = child.duplicate(Rights::ALL)?;
    let number = closed.handle();
    drop(closed);
    claim_eq!(report, process::wait(number), Err(Error::BadHandle), "waiting with a handle that was given up");
    claim_eq!(report, process::close(number), Err(Error::BadHandle), "giving a handle up twice");

    let kept = process::duplicate(Handle::CONSOLE, Rights::ALL.or(Rights::NO_INHERIT))?;
    let heir = Process::fork_into(Share::default(), || i32::from(process::close(kept) != Err(Error::BadHandle)))?;
    claim_success(report, &heir, format_args!("a child without the handle that is not inherited"));
    claim_eq!(report, process::close(kept), Ok(()), "giving up the handle that is not inherited");

    gate.open();
    claim_end(report, &blind, ExitStatus::Exited(0), format_args!("waiting with a handle for waiting"));
    report.done(format_args!("a handle can do what its rights say"));
    Ok(())
}

fn table(report: &Report) -> Result<(), Error> {
    let mut handles = Vec::new();
    let refusal = loop {
        match process::duplicate(Handle::CONSOLE, Rights::NONE) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
    };
    claim_eq!(report, refusal, Error::HandlesExhausted, "one handle too many");
    claim!(report, handles.len() >= 64, "a process can have {} handles", handles.len());
    let fork = process::fork(Share::default()).map(|fork| matches!(fork, Fork::Parent(_)));
    claim_eq!(report, fork, Err(Error::HandlesExhausted), "fork without room for the child's handle");
    for handle in handles {
        claim_eq!(report, process::close(handle), Ok(()), "giving up handle {}", handle.0);
    }
    report.done(format_args!("the handle table fills up and empties"));
    Ok(())
}

/// A child that ends before its own children: they go on, and no process needs to wait for them.
fn orphans(report: &Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let middle = child(|| {
        for _ in 0..3 {
            let orphan = child(|| {
                gate.pass();
                0
            });
            if orphan.is_err() {
                return 1;
            }
        }
        0
    })?;
    claim_success(report, &middle, format_args!("a child that leaves three of its own behind"));
    let orphans = || system::processes().flatten().filter_map(|process| process.info().ok());
    let alive = |info: &graft_rt::abi::ProcessInfo| {
        info.parent == middle.identifier() && info.state != ProcessState::Ended as u32
    };
    claim_eq!(report, orphans().filter(alive).count(), 3, "orphans alive");
    gate.open();
    let all_end = wait_until(|| orphans().filter(alive).count() == 0);
    claim!(report, all_end, "{} orphans alive after their gate was opened", orphans().filter(alive).count());
    report.done(format_args!("orphans live and end"));
    Ok(())
}
