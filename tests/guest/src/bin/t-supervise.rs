//! Tests faults as messages: what a supervisor is told, what it may look at and change, and every way for it to answer.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use core::arch::asm;

use graft_rt::abi::{Call, FaultAnswer, PAGE_SIZE};
use graft_rt::archive::{Archive, FileError};
use graft_rt::message::{Connection, Endpoint, Message, Receiver};
use graft_rt::process::{STANDARD_HANDLES, duplicate};
use graft_rt::supervise::{Fault, Registers, answer};
use graft_rt::test::{FreeFrames, Report, claim_end, touch_stack_and_heap};
use graft_rt::{
    Arguments, Error, ExitStatus, FaultKind, Handle, Process, Region, Rights, Share, claim, claim_eq, process, thread,
};

graft_rt::program!(main);

/// What this program is called with as a child.
const CHILD: &str = "child";
/// Where no program has anything.
const NOWHERE: usize = 0x7_0000_0000;
/// What a foreign call of these tests answers.
const ANSWER: u64 = 0xf0e1_d2c3_b4a5_9687;

fn main(mut arguments: Arguments) -> Result<i32, FileError> {
    if arguments.nth(1) == Some(CHILD) {
        // Its parent has passed on itself, as the handle behind the standard ones.
        let parent = u64::from(Handle::SYSTEM.0) + 1;
        return Ok(i32::from(raw_supervise(parent, 0) != Err(Error::NoRight)));
    }
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    foreign_calls(&report)?;
    mended(&report)?;
    emulated(&report)?;
    memory(&report)?;
    ends(&report)?;
    threads(&report)?;
    refusals(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// A process under supervision, and what that takes.
struct Supervised {
    process: Process,
    receiver: Receiver,
    endpoint: Endpoint,
    connection: Connection,
}

impl Supervised {
    /// A process that does this, once it is supervised.
    fn begin(work: impl FnOnce() -> i32) -> Result<Supervised, Error> {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(3)?;
        let receiver = endpoint.receiver()?;
        let gate = Endpoint::new()?;
        let open = gate.connect(0)?;
        let process = Process::fork_into(Share::default(), || {
            let pass = || {
                // It would keep its own supervisor's endpoint open.
                process::close(endpoint.handle())?;
                let gate = gate.receiver()?;
                gate.receive()?;
                gate.reply(Message::default())
            };
            if pass().is_ok() { work() } else { 99 }
        })?;
        process.supervise(Some(&connection))?;
        open.call(Message::default())?;
        Ok(Supervised { process, receiver, endpoint, connection })
    }

    /// The next fault, which has to be of this kind.
    fn fault(&self, report: &Report, kind: FaultKind) -> Result<Fault, Error> {
        let received = self.receiver.receive()?;
        claim_eq!(report, received.badge, 3, "through the supervisor's own connection");
        let fault = Fault::of(&received).ok_or(Error::BadArgument)?;
        claim_eq!(report, fault.kind, kind, "what happened");
        Ok(fault)
    }
}

/// A call of another system.
#[allow(unsafe_code)]
fn foreign_call(number: u64, arguments: [u64; 3]) -> u64 {
    let [mut x0, x1, x2] = arguments;
    // SAFETY: what it does is the supervisor's, which changes no memory.
    unsafe { asm!("svc #0", inout("x0") x0, in("x1") x1, in("x2") x2, in("x8") number, options(nostack)) };
    x0
}

/// Loads a word through `x9`.
#[allow(unsafe_code)]
fn load(address: usize) -> u64 {
    let word: u64;
    // SAFETY: a load, or a fault that the supervisor answers.
    unsafe { asm!("ldr x10, [x9]", inout("x9") address => _, out("x10") word, options(nostack, readonly)) };
    word
}

fn foreign_calls(report: &Report) -> Result<(), Error> {
    const CALLS: u64 = 50;
    let supervised = Supervised::begin(|| {
        let answers = |number: u64| foreign_call(number, [number + 1, number + 2, number + 3]) == ANSWER ^ number;
        i32::from(!(0..CALLS).all(answers))
    })?;
    for number in 0..CALLS {
        let fault = supervised.fault(report, FaultKind::ForeignCall)?;
        claim_eq!(report, (fault.address, fault.arguments), (number, [number + 1, number + 2, number + 3]), "the call");
        supervised.receiver.reply(answer(FaultAnswer::Return, ANSWER ^ number))?;
    }
    claim_end(report, &supervised.process, ExitStatus::Exited(0), format_args!("a program of another system"));
    report.done(format_args!("calls of another system are answered by the supervisor, and change x0 alone"));
    Ok(())
}

fn mended(report: &Report) -> Result<(), Error> {
    static WORD: u64 = 0x1122_3344_5566_7788;
    let supervised = Supervised::begin(|| i32::from(load(NOWHERE) != WORD))?;
    let fault = supervised.fault(report, FaultKind::Unmapped)?;
    claim_eq!(report, fault.address, NOWHERE as u64, "the address");
    let Registers(mut words) = supervised.receiver.registers()?;
    claim_eq!(report, (words[9], words[Registers::PC]), (NOWHERE as u64, fault.pc), "the registers");
    claim!(report, words[Registers::SP] != 0, "a stack pointer");
    words[9] = core::ptr::from_ref(&WORD).addr() as u64;
    // Of the mode nothing can be changed.
    words[33] = u64::MAX;
    supervised.receiver.set_registers(&Registers(words))?;
    claim_eq!(report, supervised.receiver.registers()?.0[33], 0xf << 28, "flags, and nothing else");
    supervised.receiver.reply(answer(FaultAnswer::GoOn, 0))?;
    claim_end(report, &supervised.process, ExitStatus::Exited(0), format_args!("a program whose register was changed"));
    claim_eq!(report, supervised.receiver.registers(), Err(Error::NotFound), "registers of nothing");
    report.done(format_args!("an instruction that failed is tried again with other registers"));
    Ok(())
}

/// An instruction that there is not, which the supervisor carries out.
#[allow(unsafe_code)]
fn twice(value: u64) -> u64 {
    let mut x1 = value;
    // SAFETY: what it does is the supervisor's, which changes `x1` alone.
    unsafe { asm!("udf #1", inout("x1") x1, options(nostack)) };
    x1
}

fn emulated(report: &Report) -> Result<(), Error> {
    let supervised = Supervised::begin(|| i32::from(!(1..20).all(|value| twice(value) == 2 * value)))?;
    for _ in 1..20 {
        let fault = supervised.fault(report, FaultKind::Undefined)?;
        let mut registers = supervised.receiver.registers()?;
        registers.0[1] *= 2;
        // Not looked at before it goes on: of this, too, only the flags may count.
        registers.0[33] = u64::MAX;
        supervised.receiver.set_registers(&registers)?;
        supervised.receiver.reply(answer(FaultAnswer::GoOnAt, fault.pc + 4))?;
    }
    claim_end(report, &supervised.process, ExitStatus::Exited(0), format_args!("a program for another processor"));
    report.done(format_args!("a supervisor carries out an instruction that there is not"));
    Ok(())
}

fn memory(report: &Report) -> Result<(), Error> {
    let region = Region::new(2 * PAGE_SIZE)?;
    region.write(PAGE_SIZE - 4, 11);
    let supervised = Supervised::begin(|| {
        foreign_call(0, [0; 3]);
        i32::from(region.read(PAGE_SIZE - 4)) << 8 | i32::from(region.read(PAGE_SIZE + 4))
    })?;
    supervised.fault(report, FaultKind::ForeignCall)?;
    let process = &supervised.process;
    let mut bytes = [0; 16];
    process.read_memory(region.address() + PAGE_SIZE - 8, &mut bytes)?;
    claim_eq!(report, bytes, [0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "across two pages");
    process.write_memory(region.address() + PAGE_SIZE - 4, &[5, 0, 0, 0, 0, 0, 0, 0, 6])?;
    claim_eq!(report, region.read(PAGE_SIZE - 4), 11, "the supervisor's own, which the process shared with it");
    claim_eq!(report, process.read_memory(NOWHERE, &mut bytes), Err(Error::BadAddress), "nothing to read");
    claim_eq!(report, process.write_memory(NOWHERE, &bytes), Err(Error::BadAddress), "nothing to write");
    let code = memory as *const () as usize;
    claim_eq!(
        report,
        process.write_memory(code, &bytes),
        Err(Error::BadAddress),
        "memory that it may not write itself"
    );
    supervised.receiver.reply(answer(FaultAnswer::Return, 0))?;
    claim_end(report, process, ExitStatus::Exited(5 << 8 | 6), format_args!("a program whose memory was changed"));
    report.done(format_args!("a supervisor reads and writes the memory of the process as the process could"));
    Ok(())
}

fn ends(report: &Report) -> Result<(), Error> {
    let faulted = ExitStatus::Faulted(FaultKind::Unmapped);
    let faulting = || Supervised::begin(|| i32::from(load(NOWHERE) == 0));

    let supervised = faulting()?;
    supervised.fault(report, FaultKind::Unmapped)?;
    supervised.receiver.reply(answer(FaultAnswer::End, 0))?;
    claim_end(report, &supervised.process, faulted, format_args!("ended by its supervisor"));

    let supervised = faulting()?;
    supervised.fault(report, FaultKind::Unmapped)?;
    supervised.receiver.reply(Message::words([77; 6]))?;
    claim_end(report, &supervised.process, faulted, format_args!("an answer that there is not"));

    let Supervised { process, receiver, endpoint, connection } = faulting()?;
    drop(endpoint);
    claim_end(report, &process, faulted, format_args!("without a supervisor, before its fault was received"));
    drop((receiver, connection));

    let supervised = faulting()?;
    supervised.fault(report, FaultKind::Unmapped)?;
    drop(supervised.receiver);
    claim_end(report, &supervised.process, faulted, format_args!("without a supervisor, afterwards"));

    let supervised = faulting()?;
    supervised.fault(report, FaultKind::Unmapped)?;
    supervised.process.kill(4)?;
    claim_end(report, &supervised.process, ExitStatus::Killed(4), format_args!("killed while it stood still"));
    claim_eq!(report, supervised.receiver.registers(), Err(Error::NotFound), "its registers");
    claim_eq!(report, supervised.receiver.reply(answer(FaultAnswer::GoOn, 0)), Err(Error::Gone), "an answer to it");

    let supervised = Supervised::begin(|| {
        foreign_call(0, [0; 3]);
        i32::from(load(NOWHERE) == 0)
    })?;
    supervised.fault(report, FaultKind::ForeignCall)?;
    supervised.process.supervise(None)?;
    supervised.receiver.reply(answer(FaultAnswer::Return, 0))?;
    claim_end(report, &supervised.process, faulted, format_args!("not supervised any more"));
    report.done(format_args!("a process whose fault is not answered ends as it would without a supervisor"));
    Ok(())
}

fn threads(report: &Report) -> Result<(), Error> {
    const CALLS: u64 = 200;
    let supervised = Supervised::begin(|| {
        let calls = |first: u64| {
            let answers = |number: u64| foreign_call(number, [0; 3]) == ANSWER ^ number;
            (first..first + CALLS).all(answers)
        };
        let all = thread::scope(|scope| {
            let others = [scope.spawn(|| calls(1000)), scope.spawn(|| calls(2000))];
            let own = calls(0);
            others.into_iter().all(|other| other.and_then(|other| other.join()) == Ok(true)) && own
        });
        i32::from(!all)
    })?;
    let mut received = supervised.receiver.receive()?;
    for left in (0..3 * CALLS).rev() {
        let number = received.message.words[1];
        let reply = answer(FaultAnswer::Return, ANSWER ^ number);
        if left == 0 {
            supervised.receiver.reply(reply)?;
        } else {
            received = supervised.receiver.reply_receive(reply)?;
        }
    }
    claim_end(report, &supervised.process, ExitStatus::Exited(0), format_args!("three threads that call at once"));
    report.done(format_args!("the faults of several threads are answered one after the other"));
    Ok(())
}

/// The call as it is, with any numbers.
#[allow(unsafe_code)]
fn raw_supervise(process: u64, connection: u64) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    let answer = unsafe { graft_rt::call::raw(Call::Supervise as u64, [process, connection, 0, 0, 0, 0]) };
    Error::from_register(answer.x0).map(drop)
}

fn refusals(report: &Report) -> Result<(), FileError> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(0)?;
    let receiver = endpoint.receiver()?;
    let child = Process::fork_into(Share::default(), || 0)?;
    let weak = child.duplicate(Rights::WAIT.or(Rights::KILL).or(Rights::INSPECT))?;
    claim_eq!(report, weak.supervise(Some(&connection)), Err(Error::NoRight), "to supervise without the right");
    claim_eq!(report, weak.read_memory(0x40_0000, &mut [0; 8]), Err(Error::NoRight), "to read without the right");
    claim_eq!(report, weak.write_memory(0x40_0000, &[0; 8]), Err(Error::NoRight), "to write without the right");
    let mute = Connection::from_handle(duplicate(connection.handle(), Rights::DUPLICATE)?);
    claim_eq!(report, child.supervise(Some(&mute)), Err(Error::NoRight), "a connection that cannot be called through");
    let wrong = Connection::from_handle(receiver.handle());
    claim_eq!(report, child.supervise(Some(&wrong)), Err(Error::WrongObject), "what is no connection");
    core::mem::forget(wrong);
    let nothing = raw_supervise(child.handle().0.into(), 1 << 32);
    claim_eq!(report, nothing, Err(Error::BadHandle), "a connection whose handle has 33 bits");
    let archive = Archive::open()?;
    let handles = [STANDARD_HANDLES.as_slice(), &[Handle::SELF]].concat();
    let other = Process::spawn_image(archive.file("t-supervise")?, &["t-supervise", CHILD], &handles)?;
    claim_end(
        report,
        &other,
        ExitStatus::Exited(0),
        format_args!("a program that was given its parent, and supervises it"),
    );
    claim_eq!(report, receiver.registers(), Err(Error::NotFound), "registers before any fault");
    // An ordinary call is no fault.
    thread::scope(|scope| {
        let caller = scope.spawn(|| connection.call(Message::words([1; 6])))?;
        receiver.receive()?;
        claim_eq!(report, receiver.registers(), Err(Error::NotFound), "registers of a caller");
        receiver.reply(Message::default())?;
        claim_eq!(report, caller.join()?, Ok(Message::default()), "its answer");
        Ok::<_, Error>(())
    })?;
    claim_end(report, &child, ExitStatus::Exited(0), format_args!("the child"));
    report.done(format_args!("who has no right to supervise does not, and a caller is no fault"));
    Ok(())
}
