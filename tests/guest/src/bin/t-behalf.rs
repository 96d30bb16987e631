//! Tests what a supervisor does in the place of a stopped thread: it fills an empty process, changes its memory, gives
//! it threads, forks it, keeps it and brings it back. The process never makes a call of this system's.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use graft_rt::abi::{FaultAnswer, PAGE_SIZE, Permissions, USER_END, USER_START};
use graft_rt::memory::Shared;
use graft_rt::message::{Connection, Endpoint, Receiver};
use graft_rt::process::close;
use graft_rt::supervise::{Fault, Registers, Stopped, answer};
use graft_rt::test::{FreeFrames, Report, claim_end, touch_stack_and_heap};
use graft_rt::{Arguments, Error, ExitStatus, FaultKind, Process, Share, claim, claim_eq, process};

graft_rt::program!(main);

/// Where the program of another system is.
const CODE: usize = 0x10_0000;
/// Its memory.
const DATA: usize = 0x20_0000;
const ELSEWHERE: usize = 0x8_0000_0000;
/// The badge of its connection.
const BADGE: u64 = 11;
/// What it can do: an instruction, and a call of its own system.
const INSTRUCTIONS: [u32; 12] = [
    LOAD,
    CALL,
    0xf900_0022,
    CALL, // str x2, [x1]
    0xd53b_d040,
    CALL,
    0xd51b_d042,
    CALL, // mrs x0, tpidr_el0; msr tpidr_el0, x2
    0x9e66_0000,
    CALL,
    0x9e67_0040,
    CALL, // fmov x0, d0; fmov d0, x2
];
/// ldr x0, [x1]
const LOAD: u32 = 0xf940_0020;
/// svc #0
const CALL: u32 = 0xd400_0001;

/// Where the instructions are.
#[derive(Clone, Copy)]
enum Does {
    Load = 0,
    Store = 8,
    ThreadPointer = 16,
    SetThreadPointer = 24,
    FloatingPoint = 32,
    SetFloatingPoint = 40,
}

fn main(_: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    memory(&report)?;
    refusals(&report)?;
    threads(&report)?;
    forks(&report)?;
    snapshots(&report)?;
    ends(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// A process of another system, which stands still, and what that takes.
struct Guest {
    process: Process,
    receiver: Receiver,
    endpoint: Endpoint,
    _connection: Connection,
}

impl Guest {
    /// One that has come to its first instruction, and has no memory.
    fn empty(report: &Report) -> Result<Guest, Error> {
        let endpoint = Endpoint::new()?;
        let (connection, receiver) = (endpoint.connect(BADGE)?, endpoint.receiver()?);
        let process = Process::empty(&connection, "guest")?;
        let guest = Guest { process, receiver, endpoint, _connection: connection };
        let fault = next(report, &guest.receiver, BADGE)?;
        claim_eq!(
            report,
            (fault.kind, fault.address),
            (FaultKind::Unmapped, USER_START as u64),
            "the first instruction"
        );
        Ok(guest)
    }

    /// One that has its program, and two pages.
    fn new(report: &Report) -> Result<Guest, Error> {
        let guest = Guest::empty(report)?;
        let stopped = guest.stopped();
        claim_eq!(report, stopped.map(CODE, PAGE_SIZE, Permissions::ReadWrite), Ok(CODE), "a page for its program");
        guest.process.write_memory(CODE, INSTRUCTIONS.map(u32::to_le_bytes).as_flattened())?;
        stopped.protect(CODE, PAGE_SIZE, Permissions::ReadExecute)?;
        stopped.map(DATA, 2 * PAGE_SIZE, Permissions::ReadWrite)?;
        Ok(guest)
    }

    fn stopped(&self) -> Stopped<'_> {
        self.receiver.stopped()
    }

    /// Has it do something, with these in `x1` and `x2`. Returns what stops it next.
    fn does(&self, report: &Report, what: Does, x1: usize, x2: u64) -> Result<Fault, Error> {
        does(report, &self.receiver, BADGE, what, x1, x2)
    }

    fn load(&self, report: &Report, address: usize) -> Result<u64, Error> {
        load(report, &self.receiver, BADGE, address)
    }

    fn store(&self, report: &Report, address: usize, value: u64) -> Result<(), Error> {
        let fault = self.does(report, Does::Store, address, value)?;
        claim_eq!(report, fault.kind, FaultKind::ForeignCall, "a store at {address:#x}");
        Ok(())
    }
}

/// What stops the process behind a badge next.
fn next(report: &Report, receiver: &Receiver, badge: u64) -> Result<Fault, Error> {
    let received = receiver.receive()?;
    claim_eq!(report, received.badge, badge, "the process that stands still");
    Fault::of(&received).ok_or(Error::BadArgument)
}

fn does(report: &Report, receiver: &Receiver, badge: u64, what: Does, x1: usize, x2: u64) -> Result<Fault, Error> {
    let Registers(mut words) = receiver.registers()?;
    (words[1], words[2], words[Registers::PC]) = (x1 as u64, x2, (CODE + what as usize) as u64);
    receiver.set_registers(&Registers(words))?;
    receiver.reply(answer(FaultAnswer::GoOn, 0))?;
    next(report, receiver, badge)
}

fn load(report: &Report, receiver: &Receiver, badge: u64, address: usize) -> Result<u64, Error> {
    let fault = does(report, receiver, badge, Does::Load, address, 0)?;
    claim_eq!(report, fault.kind, FaultKind::ForeignCall, "a load at {address:#x}");
    Ok(fault.arguments[0])
}

fn memory(report: &Report) -> Result<(), Error> {
    let guest = Guest::new(report)?;
    let stopped = guest.stopped();
    guest.store(report, DATA + 8, 21)?;
    claim_eq!(report, guest.load(report, DATA + 8)?, 21, "a word of its own");
    stopped.protect(DATA, PAGE_SIZE, Permissions::Read)?;
    let fault = guest.does(report, Does::Store, DATA + 8, 22)?;
    claim_eq!(
        report,
        (fault.kind, fault.address),
        (FaultKind::WriteDenied, DATA as u64 + 8),
        "a store where it may read"
    );
    claim_eq!(report, guest.load(report, DATA + 8)?, 21, "what it may read");
    claim_eq!(report, stopped.relocate(DATA, PAGE_SIZE, ELSEWHERE), Ok(ELSEWHERE), "a move");
    claim_eq!(report, guest.does(report, Does::Load, DATA + 8, 0)?.kind, FaultKind::Unmapped, "where it was");
    claim_eq!(report, guest.load(report, ELSEWHERE + 8)?, 21, "where it is");
    let object = Shared::new(2 * PAGE_SIZE)?;
    let region = object.map(Permissions::ReadWrite)?;
    let mapped = stopped.map_object(&object, DATA - 2 * PAGE_SIZE, Permissions::ReadWrite);
    claim_eq!(report, mapped, Ok((DATA - 2 * PAGE_SIZE, 2 * PAGE_SIZE)), "the supervisor's object");
    guest.store(report, DATA - PAGE_SIZE, 77)?;
    claim_eq!(report, region.read(PAGE_SIZE), 77, "what it has stored there");
    guest.store(report, DATA + PAGE_SIZE, 5)?;
    stopped.discard(DATA + PAGE_SIZE, PAGE_SIZE)?;
    claim_eq!(report, guest.load(report, DATA + PAGE_SIZE)?, 0, "what was discarded");
    let room = stopped.map(0, PAGE_SIZE, Permissions::ReadWrite)?;
    guest.store(report, room, 1)?;
    stopped.unmap(room, PAGE_SIZE)?;
    claim_eq!(report, guest.does(report, Does::Load, room, 0)?.kind, FaultKind::Unmapped, "what was unmapped");
    // What faults goes on where the supervisor has mapped something.
    stopped.map(room, PAGE_SIZE, Permissions::Read)?;
    guest.receiver.reply(answer(FaultAnswer::GoOn, 0))?;
    claim_eq!(report, next(report, &guest.receiver, BADGE)?.arguments[0], 0, "a page that came with the fault");
    guest.process.kill(1)?;
    claim_end(report, &guest.process, ExitStatus::Killed(1), format_args!("a process that stands still"));
    report.done(format_args!("a supervisor fills an empty process, and maps, protects, moves and unmaps in it"));
    Ok(())
}

fn refusals(report: &Report) -> Result<(), Error> {
    let guest = Guest::new(report)?;
    let stopped = guest.stopped();
    let kernel = usize::MAX - 0xff_ffff;
    let write = Permissions::ReadWrite;
    for (what, refused, error) in [
        ("nothing", stopped.map(ELSEWHERE, 0, write).map(drop), Error::BadLength),
        ("half a page", stopped.map(ELSEWHERE, PAGE_SIZE / 2, write).map(drop), Error::Unaligned),
        ("between pages", stopped.map(ELSEWHERE + 8, PAGE_SIZE, write).map(drop), Error::Unaligned),
        ("the kernel", stopped.map(kernel, PAGE_SIZE, write).map(drop), Error::BadAddress),
        ("past the end", stopped.map(USER_END - PAGE_SIZE, 2 * PAGE_SIZE, write).map(drop), Error::BadAddress),
        ("around the end", stopped.unmap(0_usize.wrapping_sub(PAGE_SIZE), PAGE_SIZE), Error::BadAddress),
        ("over something", stopped.map(DATA, PAGE_SIZE, write).map(drop), Error::Occupied),
        ("a hole", stopped.protect(ELSEWHERE, PAGE_SIZE, write), Error::NotMapped),
        ("onto itself", stopped.relocate(DATA, PAGE_SIZE, DATA).map(drop), Error::Occupied),
        ("a thread in the kernel", stopped.create_thread(kernel, DATA, 0, 0).map(drop), Error::BadAddress),
        ("a thread without a stack", stopped.create_thread(CODE, 0, 0, 0).map(drop), Error::BadAddress),
        ("a thread between words", stopped.create_thread(CODE + 2, DATA, 0, 0).map(drop), Error::Unaligned),
    ] {
        claim_eq!(report, refused, Err(error), "{what}");
    }
    let wrong = Connection::from_handle(guest.endpoint.handle());
    claim_eq!(report, stopped.fork(Share::L3, Some(&wrong)).map(drop), Err(Error::WrongObject), "to no connection");
    claim_eq!(report, Process::empty(&wrong, "no").map(drop), Err(Error::WrongObject), "supervised by no connection");
    core::mem::forget(wrong);
    guest.process.supervise(None)?;
    claim_eq!(report, stopped.fork(Share::L3, None).map(drop), Err(Error::NotAllowed), "a child without a supervisor");
    guest.receiver.reply(answer(FaultAnswer::End, 0))?;
    let used = stopped.map(ELSEWHERE, PAGE_SIZE, write);
    claim_eq!(report, used, Err(Error::NotFound), "with a reply that has been used");
    claim_eq!(report, stopped.snapshot(Share::L3).map(drop), Err(Error::NotFound), "a snapshot with it");
    claim_end(
        report,
        &guest.process,
        ExitStatus::Faulted(FaultKind::Unmapped),
        format_args!("ended by its supervisor"),
    );
    claim_eq!(report, stopped.unmap(DATA, PAGE_SIZE), Err(Error::NotFound), "of a process that has ended");
    report.done(format_args!("what the process could not do itself is not done for it"));
    Ok(())
}

fn threads(report: &Report) -> Result<(), Error> {
    let guest = Guest::new(report)?;
    guest.store(report, DATA, 1)?;
    let second = guest.endpoint.receiver()?;
    let thread = guest.stopped().create_thread(USER_START, DATA + PAGE_SIZE, 41, 42)?;
    let fault = next(report, &second, BADGE)?;
    claim_eq!(report, (fault.kind, fault.address), (FaultKind::Unmapped, USER_START as u64), "its first instruction");
    let Registers(words) = second.registers()?;
    claim_eq!(report, (words[0], words[Registers::SP]), (41, (DATA + PAGE_SIZE) as u64), "argument and stack");
    claim_eq!(report, does(report, &second, BADGE, Does::ThreadPointer, 0, 0)?.arguments[0], 42, "its thread pointer");
    // Both stand still; each of the replies names its own.
    claim_eq!(report, load(report, &second, BADGE, DATA)?, 1, "memory that both have");
    second.stopped().map(ELSEWHERE, PAGE_SIZE, Permissions::ReadWrite)?;
    guest.store(report, ELSEWHERE, 3)?;
    claim_eq!(report, load(report, &second, BADGE, ELSEWHERE)?, 3, "what was mapped for the one");
    let snapshot = guest.stopped().snapshot(Share::L3)?;
    claim_eq!(report, guest.stopped().restore(&snapshot), Err(Error::NotAllowed), "back, beside another thread");
    close(thread)?;
    guest.process.kill(2)?;
    claim_end(report, &guest.process, ExitStatus::Killed(2), format_args!("two threads that stand still"));
    report.done(format_args!("a supervisor makes threads, each of them supervised from its first instruction"));
    Ok(())
}

fn forks(report: &Report) -> Result<(), Error> {
    const CHILD: u64 = 12;
    for share in Share::ALL {
        let guest = Guest::new(report)?;
        guest.store(report, DATA, 100)?;
        guest.does(report, Does::SetThreadPointer, 0, 0x1234)?;
        guest.does(report, Does::SetFloatingPoint, 0, 0x5678)?;
        // The child makes the call again, and comes in line.
        let connection = guest.endpoint.connect(CHILD)?;
        let mut registers = guest.receiver.registers()?;
        registers.0[Registers::PC] -= 4;
        registers.0[20] = 2020;
        guest.receiver.set_registers(&registers)?;
        let child = guest.stopped().fork(share, Some(&connection))?;
        let second = guest.endpoint.receiver()?;
        claim_eq!(report, next(report, &second, CHILD)?.kind, FaultKind::ForeignCall, "the child's first instruction");
        claim_eq!(report, second.registers()?.0[20], 2020, "a register of the parent's");
        for (what, wanted) in [(Does::ThreadPointer, 0x1234), (Does::FloatingPoint, 0x5678)] {
            let found = does(report, &second, CHILD, what, 0, 0)?.arguments[0];
            claim_eq!(report, found, wanted, "registers that the parent had, {}", share.name());
        }
        claim!(report, does(report, &second, CHILD, Does::Store, DATA, 200)?.kind == FaultKind::ForeignCall, "a store");
        claim_eq!(report, guest.load(report, DATA)?, 100, "the parent's memory, {}", share.name());
        claim_eq!(report, load(report, &second, CHILD, DATA)?, 200, "the child's, {}", share.name());
        claim!(report, child.info()?.parent == guest.process.info()?.identifier, "whose child it is");
        // A child of the child's, which is supervised as that is.
        let fault = does(report, &second, CHILD, Does::Load, ELSEWHERE, 0)?;
        claim_eq!(report, fault.kind, FaultKind::Unmapped, "a load of what is not there");
        let grandchild = second.stopped().fork(share, None)?;
        let third = guest.endpoint.receiver()?;
        claim_eq!(
            report,
            next(report, &third, CHILD)?.kind,
            FaultKind::Unmapped,
            "the child's child, supervised alike"
        );
        for process in [grandchild, child, guest.process] {
            process.kill(3)?;
            process.wait()?;
        }
    }
    report.done(format_args!("a supervisor forks a stopped process at each depth, and the child is supervised"));
    Ok(())
}

fn snapshots(report: &Report) -> Result<(), Error> {
    for share in Share::ALL {
        let guest = Guest::new(report)?;
        guest.store(report, DATA, 1)?;
        guest.does(report, Does::SetFloatingPoint, 0, 7)?;
        let before = guest.receiver.registers()?;
        let snapshot = guest.stopped().snapshot(share)?;
        for round in 2..5 {
            guest.store(report, DATA, round)?;
            guest.does(report, Does::SetFloatingPoint, 0, round)?;
            guest.stopped().map(ELSEWHERE, PAGE_SIZE, Permissions::ReadWrite)?;
            guest.stopped().restore(&snapshot)?;
            claim_eq!(report, guest.receiver.registers()?, before, "registers, {}", share.name());
            claim_eq!(report, guest.does(report, Does::FloatingPoint, 0, 0)?.arguments[0], 7, "floating point");
            claim_eq!(report, guest.load(report, DATA)?, 1, "memory, {}", share.name());
            let fault = guest.does(report, Does::Load, ELSEWHERE, 0)?;
            claim_eq!(report, fault.kind, FaultKind::Unmapped, "what came later");
        }
        // In another process, which was empty.
        let other = Guest::empty(report)?;
        other.stopped().restore(&snapshot)?;
        claim_eq!(report, other.receiver.registers()?, before, "registers of another process");
        claim_eq!(report, other.load(report, DATA)?, 1, "its memory");
        other.store(report, DATA, 9)?;
        guest.stopped().restore(&snapshot)?;
        claim_eq!(report, guest.load(report, DATA)?, 1, "which is not that of the first");
        for Guest { process, .. } in [guest, other] {
            process.kill(4)?;
            process.wait()?;
        }
    }
    report.done(format_args!("a supervisor keeps a process, brings it back, and makes another one of it"));
    Ok(())
}

fn ends(report: &Report) -> Result<(), Error> {
    // A supervisor that ends, with a process that it has just made and one that it has forked.
    let child = Process::fork_into(Share::L3, || {
        let report = Report::new();
        let begin = || {
            let guest = Guest::new(&report)?;
            let connection = guest.endpoint.connect(1)?;
            core::mem::forget(guest.stopped().fork(Share::L1, Some(&connection))?);
            core::mem::forget(guest);
            Ok::<_, Error>(())
        };
        if begin().is_ok() { process::exit(5) } else { 6 }
    })?;
    claim_end(report, &child, ExitStatus::Exited(5), format_args!("a supervisor that leaves processes behind"));
    report.done(format_args!("processes whose supervisor ends do, too"));
    Ok(())
}
