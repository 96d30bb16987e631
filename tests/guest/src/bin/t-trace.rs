//! Tests what the kernel records of its cores: each kind of event, in order, and requests with something wrong.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_rt::abi::{Call, PAGE_SIZE, Permissions, TraceEvent, TraceKind, TraceRequest};
use graft_rt::message::{Endpoint, Message};
use graft_rt::process::{duplicate, identify, sleep};
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap};
use graft_rt::thread::Cores;
use graft_rt::{
    Arguments, Error, ExitStatus, Handle, Process, Region, Rights, Share, claim, claim_eq, process, system, thread,
};

graft_rt::program!(main);

/// The core on which all of the test runs.
const CORE: u64 = 0;
const FIRST: Cores = Cores::Some(1 << CORE);
const OWN: u8 = 16;
const NOWHERE: u64 = 0x7000_0000_0000;
const KERNEL: u64 = 0xffff_8000_0000_0000;
/// More than a core remembers.
const MANY: usize = 2_000;
/// From here on numbers are those of events.
const FROM_NOW_ON: u64 = u64::MAX;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    thread::schedule(OWN, FIRST)?;
    // Room for what is read.
    drop(Vec::<TraceEvent>::with_capacity(MANY));
    let frames = FreeFrames::now();
    let was_on = system::switch_trace(false)?;
    refusals(&report)?;
    processes(&report)?;
    memory(&report)?;
    messages(&report)?;
    switches(&report)?;
    overwritten(&report)?;
    system::switch_trace(was_on)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// What this core records while something happens. The numbers of the events follow one another.
fn recorded(report: &Report, act: impl FnOnce() -> Result<(), Error>) -> Result<Vec<TraceEvent>, Error> {
    let mut next = system::trace(CORE, FROM_NOW_ON, &mut [TraceEvent::default()])?.next;
    claim_eq!(report, system::switch_trace(true)?, false, "it was off");
    let done = act();
    claim_eq!(report, system::switch_trace(false)?, true, "it was on");
    done?;
    let (mut events, mut room) = (Vec::new(), [TraceEvent::default(); 7]);
    loop {
        let read = system::trace(CORE, next, &mut room)?;
        claim_eq!(report, read.next, next + read.lost + read.count as u64, "where it goes on");
        claim_eq!(report, read.lost, 0, "what has been overwritten");
        events.extend_from_slice(&room[..read.count]);
        next = read.next;
        if read.count == 0 {
            break;
        }
    }
    claim!(report, events.is_sorted_by_key(|event| event.time), "times in order");
    claim!(report, events.iter().all(|event| TraceKind::from_number(event.kind).is_some()), "kinds that there are");
    Ok(events)
}

fn count(events: &[TraceEvent], kind: TraceKind, process: u64) -> usize {
    events.iter().filter(|event| event.kind == kind as u64 && event.process == process).count()
}

fn place(events: &[TraceEvent], kind: TraceKind, process: u64, what: u64) -> Option<usize> {
    events.iter().position(|event| event.kind == kind as u64 && event.process == process && event.what == what)
}

/// The call as it is, with any request.
#[allow(unsafe_code)]
fn raw(call: Call, handle: Handle, argument: u64) -> Result<(), Error> {
    // SAFETY: what is stored goes where the test has room, or is refused.
    let answer = unsafe { graft_rt::call::raw(call as u64, [handle.0.into(), argument, 0, 0, 0, 0]) };
    Error::from_register(answer.x0).map(drop)
}

fn refusals(report: &Report) -> Result<(), Error> {
    let weak = duplicate(Handle::SYSTEM, Rights::DUPLICATE)?;
    for (what, handle, error) in [
        ("without the right to inspect", weak, Error::NoRight),
        ("with the console", Handle::CONSOLE, Error::WrongObject),
        ("with oneself", Handle::SELF, Error::BadHandle),
        ("with nothing", Handle(9999), Error::BadHandle),
    ] {
        let request = TraceRequest::default();
        claim_eq!(report, raw(Call::Trace, handle, (&raw const request).addr() as u64), Err(error), "a look {what}");
        claim_eq!(report, raw(Call::TraceSwitch, handle, 1), Err(error), "switched on {what}");
    }
    process::close(weak)?;
    for on in [2, 3, u64::MAX] {
        claim_eq!(report, raw(Call::TraceSwitch, Handle::SYSTEM, on), Err(Error::BadArgument), "switched to {on}");
    }
    let readable = Region::new(PAGE_SIZE)?;
    readable.write(0, 1);
    readable.protect(0..PAGE_SIZE, Permissions::Read)?;
    // Something to be copied.
    claim!(
        report,
        recorded(report, || Process::fork_into(Share::default(), || 0)?.wait().map(drop))?.len() > 2,
        "a fork"
    );
    let mut room = [TraceEvent::default(); 4];
    let good = TraceRequest { core: CORE, next: 0, events: (&raw mut room).addr() as u64, capacity: 4, lost: 0 };
    let cores = system::info()?.cores;
    let elsewhere = if cores > 1 { Error::NotReady } else { Error::BadArgument };
    for (what, request, error) in [
        ("on another core", TraceRequest { core: 1, ..good }, elsewhere),
        ("on a core that there is not", TraceRequest { core: cores, ..good }, Error::BadArgument),
        ("on a core that there cannot be", TraceRequest { core: 64, ..good }, Error::BadArgument),
        ("on a wild core", TraceRequest { core: u64::MAX, ..good }, Error::BadArgument),
        ("with room for nothing", TraceRequest { capacity: 0, ..good }, Error::BadLength),
        ("with events nowhere", TraceRequest { events: NOWHERE, ..good }, Error::BadAddress),
        ("with events in the kernel", TraceRequest { events: KERNEL, ..good }, Error::BadAddress),
        ("with events around the end", TraceRequest { events: u64::MAX - 40, ..good }, Error::BadAddress),
        (
            "with events where none may be stored",
            TraceRequest { events: readable.address() as u64, ..good },
            Error::BadAddress,
        ),
    ] {
        let address = (&raw const request).addr() as u64;
        claim_eq!(report, raw(Call::Trace, Handle::SYSTEM, address), Err(error), "a look {what}");
    }
    for address in [0, 8, NOWHERE, KERNEL, u64::MAX, u64::MAX - 16, readable.address() as u64] {
        claim!(report, raw(Call::Trace, Handle::SYSTEM, address).is_err(), "a request at {address:#x}");
    }
    // Room for more than there are, and numbers that no event has yet.
    let read = system::trace(CORE, 1 << 60, &mut room)?;
    claim_eq!(report, (read.count, read.lost, room[0]), (0, 0, TraceEvent::default()), "events that are to come");
    let wild = TraceRequest { capacity: u64::MAX, events: readable.address() as u64, ..good };
    claim_eq!(
        report,
        raw(Call::Trace, Handle::SYSTEM, (&raw const wild).addr() as u64),
        Err(Error::BadAddress),
        "wild room"
    );
    report.done(format_args!("what the cores do is shown to those that may look at the system"));
    Ok(())
}

fn processes(report: &Report) -> Result<(), Error> {
    let before = system::trace(CORE, FROM_NOW_ON, &mut [TraceEvent::default()])?.next;
    Process::fork_into(Share::default(), || 0)?.wait()?;
    let after = system::trace(CORE, FROM_NOW_ON, &mut [TraceEvent::default()])?.next;
    claim_eq!(report, after, before, "events while nothing is recorded");
    let mut child = 0;
    let events = recorded(report, || {
        let forked = Process::fork_into(Share::default(), || 7)?;
        child = forked.identifier();
        forked.wait().map(drop)
    })?;
    let (own, status) = (identify(), ExitStatus::Exited(7).to_register());
    let forked = place(&events, TraceKind::Fork, own, child);
    let ran = place(&events, TraceKind::Switch, child, 0);
    let ended = place(&events, TraceKind::End, child, status);
    claim!(
        report,
        forked.is_some() && forked < ran && ran < ended,
        "fork, switch, end: {forked:?}, {ran:?}, {ended:?}"
    );
    let events = recorded(report, || {
        let spawned = Process::spawn(&["true"]).map_err(|_| Error::NotFound)?;
        child = spawned.identifier();
        spawned.wait().map(drop)
    })?;
    claim!(report, place(&events, TraceKind::Spawn, own, child).is_some(), "a program that is started");
    report.done(format_args!("processes begin, run and end in what is recorded"));
    Ok(())
}

fn memory(report: &Report) -> Result<(), Error> {
    let (region, own) = (Region::new(4 * PAGE_SIZE)?, identify());
    let at = |page: usize| (region.address() + page * PAGE_SIZE) as u64;
    let events = recorded(report, || {
        region.write(0, 1);
        region.write(PAGE_SIZE, 1);
        Ok(())
    })?;
    for page in 0..2 {
        claim!(report, place(&events, TraceKind::DemandZero, own, at(page)).is_some(), "page {page}, of zeroes");
    }
    let events = recorded(report, || {
        // It is there for as long as it takes.
        let child = Process::fork_into(Share::L3, || {
            sleep(Duration::MAX);
            0
        })?;
        region.write(0, 2);
        region.write(PAGE_SIZE, 2);
        child.kill(0)?;
        child.wait().map(drop)
    })?;
    claim!(report, place(&events, TraceKind::Split, own, at(0)).is_some(), "a table that is split");
    claim!(report, place(&events, TraceKind::Copy, own, at(1)).is_some(), "a page that is copied");
    let events = recorded(report, || {
        Process::fork_into(Share::Copy, || 0)?.wait()?;
        region.write(0, 3);
        Ok(())
    })?;
    claim!(report, place(&events, TraceKind::Reuse, own, at(0)).is_some(), "a page that is taken over");
    let (mut child, wild) = (0, 0x10);
    let events = recorded(report, || {
        let faulty = Process::fork_into(Share::default(), || {
            raw_load(wild);
            0
        })?;
        child = faulty.identifier();
        faulty.wait().map(drop)
    })?;
    let (fault, end) = (place(&events, TraceKind::Fault, child, wild), count(&events, TraceKind::End, child));
    claim!(report, fault.is_some() && end == 1, "a fault that ends a process");
    report.done(format_args!("faults are recorded with what was done about them, and their addresses"));
    Ok(())
}

/// Loads from an address.
#[allow(unsafe_code)]
fn raw_load(address: u64) {
    // SAFETY: none: it ends the process.
    core::hint::black_box(unsafe { core::ptr::with_exposed_provenance::<u8>(address as usize).read_volatile() });
}

fn messages(report: &Report) -> Result<(), Error> {
    const CALLS: usize = 20;
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(0)?;
    let server = Process::fork_into(Share::default(), || {
        let serve = || {
            let receiver = endpoint.receiver()?;
            receiver.receive()?;
            loop {
                receiver.reply_receive(Message::default())?;
            }
        };
        let ended: Result<(), Error> = serve();
        i32::from(ended.is_err())
    })?;
    connection.call(Message::default())?;
    let events = recorded(report, || (0..CALLS).try_for_each(|_| connection.call(Message::default()).map(drop)))?;
    server.kill(1)?;
    server.wait()?;
    let (own, server) = (identify(), server.identifier());
    let all = |kind: TraceKind, process, what| {
        events.iter().filter(|e| (e.kind, e.process, e.what) == (kind as u64, process, what)).count()
    };
    // A slice may end in the middle of one.
    let (calls, answers) = (all(TraceKind::Call, server, own), all(TraceKind::Answer, own, server));
    claim!(report, calls + 2 >= CALLS && calls <= CALLS, "{calls} straight calls of {CALLS}");
    claim!(report, answers + 2 >= CALLS && answers <= CALLS, "{answers} straight answers of {CALLS}");
    report.done(format_args!("calls and answers are recorded, between which processes"));
    Ok(())
}

fn switches(report: &Report) -> Result<(), Error> {
    let ready = AtomicBool::new(false);
    let events = recorded(report, || {
        sleep(Duration::from_millis(2));
        ready.store(true, Ordering::Relaxed);
        Ok(())
    })?;
    let idle = place(&events, TraceKind::Idle, 0, 0);
    let is_timer = |event: &TraceEvent| event.kind == TraceKind::Interrupt as u64 && event.what == 0;
    let timer = (idle.unwrap_or(0)..events.len()).find(|&place| is_timer(&events[place]));
    let back = events.iter().rposition(|event| event.kind == TraceKind::Switch as u64 && event.process == identify());
    claim!(report, idle.is_some() && idle < timer && timer < back, "idle, timer, back: {idle:?}, {timer:?}, {back:?}");
    report.done(format_args!("idle cores and interrupts are recorded"));
    Ok(())
}

/// What has been overwritten is counted, and what is left is whole.
fn overwritten(report: &Report) -> Result<(), Error> {
    let region = Region::new(MANY * PAGE_SIZE)?;
    let first = system::trace(CORE, FROM_NOW_ON, &mut [TraceEvent::default()])?.next;
    system::switch_trace(true)?;
    (0..MANY).for_each(|page| region.write(page * PAGE_SIZE, 1));
    system::switch_trace(false)?;
    let (mut next, mut lost, mut pages) = (first, 0, Vec::new());
    let mut room = [TraceEvent::default(); 64];
    loop {
        let read = system::trace(CORE, next, &mut room)?;
        claim_eq!(report, read.next, next + read.lost + read.count as u64, "where it goes on");
        claim!(report, read.lost == 0 || next == first, "{} lost in the middle", read.lost);
        (next, lost) = (read.next, lost + read.lost);
        let zeroes = room[..read.count].iter().filter(|event| event.kind == TraceKind::DemandZero as u64);
        pages.extend(zeroes.filter_map(|event| event.what.checked_sub(region.address() as u64)));
        if read.count == 0 {
            break;
        }
    }
    claim!(report, lost > 0 && pages.len() > 100, "{lost} of {MANY} overwritten, {} left", pages.len());
    let last = ((MANY - pages.len())..MANY).map(|page| (page * PAGE_SIZE) as u64);
    claim!(report, pages.iter().copied().eq(last), "the last ones, in order, and none of them twice");
    report.done(format_args!("what has been overwritten is told by its number"));
    Ok(())
}
