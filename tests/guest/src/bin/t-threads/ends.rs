//! The end of a process that has several threads.

use alloc::vec::Vec;
use core::hint::spin_loop;
use core::time::Duration;

use graft_rt::archive::{Archive, FileError};
use graft_rt::gate::Gate;
use graft_rt::process::{self, own_info, sleep};
use graft_rt::snapshot::{self, Taken};
use graft_rt::test::{Bare, Report, claim_end};
use graft_rt::{Error, ExitStatus, FaultKind, Process, Share, claim_eq, thread};

use crate::raw;

/// A child whose main thread does the work.
fn child(work: impl FnOnce() -> Result<i32, Error>) -> Result<Process, Error> {
    Process::fork_into(Share::default(), || work().unwrap_or(99))
}

fn spin() -> ! {
    loop {
        spin_loop();
    }
}

/// Six threads besides the caller: three that never give way, one that sleeps, one that joins for ever, one that
/// makes and joins threads.
fn crowd() -> Result<(), Error> {
    for _ in 0..3 {
        core::mem::forget(thread::spawn(|| spin())?);
    }
    let sleeper = Bare::Sleep.create(1 << 50)?;
    core::mem::forget(thread::spawn(move || thread::join(sleeper))?);
    core::mem::forget(thread::spawn(|| {
        loop {
            comes_and_goes();
        }
    })?);
    Ok(())
}

fn comes_and_goes() {
    if let Ok(handle) = Bare::End.create(0) {
        let _ = thread::join(handle);
        let _ = process::close(handle);
    }
}

pub(crate) fn last(report: &Report) -> Result<(), Error> {
    let alone = child(|| raw::exit_thread(77))?;
    claim_end(report, &alone, ExitStatus::Exited(0), format_args!("a process whose one thread ended"));
    for round in 0..100 {
        let main_first = child(|| {
            core::mem::forget(thread::spawn(move || (0..round * 10).for_each(|_| spin_loop()))?);
            raw::exit_thread(1)
        })?;
        claim_end(report, &main_first, ExitStatus::Exited(0), format_args!("one whose threads end one by one"));
    }
    let other = child(|| {
        core::mem::forget(thread::spawn(|| {
            while own_info().threads > 1 {
                thread::yield_now();
            }
            process::exit(21)
        })?);
        raw::exit_thread(1)
    })?;
    claim_end(report, &other, ExitStatus::Exited(21), format_args!("one that a second thread ends after the first"));
    Ok(())
}

pub(crate) fn exits(report: &Report) -> Result<(), Error> {
    for round in 0..40 {
        let from_main = child(|| {
            crowd()?;
            (0..round * 100).for_each(|_| spin_loop());
            Ok(round)
        })?;
        claim_end(report, &from_main, ExitStatus::Exited(round), format_args!("exit while others run"));
        let from_thread = child(|| {
            crowd()?;
            let exits = thread::spawn(move || process::exit(round))?;
            exits.join()?
        })?;
        claim_end(report, &from_thread, ExitStatus::Exited(round), format_args!("exit in a thread that is joined"));
    }
    let both = child(|| {
        let other = thread::spawn(|| process::exit(3))?;
        drop(other);
        Ok(4)
    })?;
    claim_end(report, &both, ExitStatus::Exited(3), format_args!("the first exit of two"));
    Ok(())
}

pub(crate) fn kills(report: &Report) -> Result<(), Error> {
    for round in 0..20 {
        let mut victims = Vec::new();
        for _ in 0..2 {
            victims.push(child(|| {
                crowd()?;
                if round % 2 == 0 {
                    spin()
                }
                sleep(Duration::from_secs(3600));
                Ok(1)
            })?);
        }
        // Half of the time, when all are there.
        if round % 4 < 2 {
            for victim in &victims {
                while victim.info()?.threads < 7 {
                    sleep(Duration::from_millis(1));
                }
            }
        }
        for victim in &victims {
            claim_eq!(report, victim.kill(round), Ok(()), "kill in round {round}");
            claim_end(report, victim, ExitStatus::Killed(round), format_args!("one with threads everywhere"));
            claim_eq!(report, victim.info()?.threads, 0, "threads of a process that was killed");
        }
    }
    let own = child(|| {
        crowd()?;
        let kills = thread::spawn(|| _ = process::kill(graft_rt::Handle::SELF, 6))?;
        kills.join()?;
        Ok(1)
    })?;
    claim_end(report, &own, ExitStatus::Killed(6), format_args!("one that a thread of its own kills"));
    Ok(())
}

pub(crate) fn kills_at_the_door(report: &Report) -> Result<(), Error> {
    for round in 0..300 {
        let victim = child(|| {
            core::mem::forget(thread::spawn(|| {
                loop {
                    comes_and_goes();
                }
            })?);
            loop {
                let short = thread::spawn(|| ())?;
                short.join()?;
            }
        })?;
        for _ in 0..round * 100 {
            spin_loop();
        }
        claim_eq!(report, victim.kill(7), Ok(()), "kill number {round}");
        claim_end(report, &victim, ExitStatus::Killed(7), format_args!("number {round}, whose threads come and go"));
    }
    Ok(())
}

/// Kills that meet a joining thread in every moment of falling asleep. The thread that it joins belongs to another
/// process and does not end, so nothing but the kill wakes it.
pub(crate) fn joiners(report: &Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let goes_on = thread::spawn({
        let gate = gate.handle();
        move || _ = process::wait(gate)
    })?;
    let handle = goes_on.handle();
    for round in 0..500 {
        let joins = child(|| {
            if round % 5 == 0 {
                core::mem::forget(thread::spawn(move || thread::join(handle))?);
            }
            thread::join(handle)?;
            Ok(1)
        })?;
        for _ in 0..round * 20 {
            spin_loop();
        }
        claim_eq!(report, joins.kill(7), Ok(()), "kill number {round}");
        claim_end(report, &joins, ExitStatus::Killed(7), format_args!("number {round}, which joins for ever"));
    }
    gate.open();
    claim_eq!(report, goes_on.join(), Ok(()), "the thread that was joined in vain");
    Ok(())
}

pub(crate) fn faults(report: &Report) -> Result<(), Error> {
    for culprits in [1, 4] {
        let ended = child(|| {
            crowd()?;
            for _ in 0..culprits {
                raw::create_at(0x7000_0000_0000, 0x7000_0000_0000, 0)?;
            }
            sleep(Duration::from_secs(3600));
            Ok(1)
        })?;
        let expected = ExitStatus::Faulted(FaultKind::Unmapped);
        claim_end(report, &ended, expected, format_args!("a process of which {culprits} jump to nowhere"));
    }
    // Below the stack of a thread is what it must not touch.
    let overflown = child(|| {
        let deep = thread::spawn(|| deeper(0))?;
        deep.join()?;
        Ok(1)
    })?;
    let status = overflown.wait()?;
    claim_eq!(report, status, ExitStatus::Faulted(FaultKind::WriteDenied), "the end of one whose thread calls itself");
    Ok(())
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn deeper(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    deeper(core::hint::black_box(depth + 1)).wrapping_add(frame[depth as usize % 64])
}

pub(crate) fn replacements(report: &Report) -> Result<(), Error> {
    let archive = Archive::open().map_err(lost)?;
    let [fails, succeeds] = ["false", "true"].map(|name| archive.file(name).map_err(lost));
    let (fails, succeeds) = (fails?, succeeds?);
    let exec = child(|| {
        let sleeper = Bare::Sleep.create(5_000_000)?;
        let refusal = process::exec(fails, &["false"]);
        process::close(sleeper)?;
        Ok(i32::from(refusal != Error::NotAllowed))
    })?;
    claim_end(report, &exec, ExitStatus::Exited(0), format_args!("exec beside another thread"));
    let exec = child(|| {
        for _ in 0..50 {
            thread::spawn(|| ())?.join()?;
        }
        process::exec(succeeds, &["true"]);
        Ok(1)
    })?;
    claim_end(report, &exec, ExitStatus::Exited(0), format_args!("exec when the others have ended"));
    let restores = child(|| match snapshot::take(Share::default())? {
        Taken::Now(snapshot) => {
            process::close(Bare::Sleep.create(5_000_000)?)?;
            let process = snapshot.fork()?;
            let alone = process.wait()? == ExitStatus::Exited(3);
            Ok(i32::from(!alone || snapshot.restore(1) != Error::NotAllowed))
        }
        Taken::Again(..) => Ok(1),
        Taken::Child => Ok(if own_info().threads == 1 { 3 } else { 1 }),
    })?;
    claim_end(report, &restores, ExitStatus::Exited(0), format_args!("restore beside another thread"));
    Ok(())
}

/// The archive is there, or no program would be.
fn lost(_: FileError) -> Error {
    Error::NotFound
}
