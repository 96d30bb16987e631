//! Takes the figures.

use alloc::format;
use alloc::string::String;
use core::fmt::Display;
use core::time::Duration;

use graft_demos::calls;
use graft_demos::figures::{Figures, Unit};
use graft_demos::span::Span;
use graft_rt::abi::{FaultAnswer, PAGE_SIZE, Rights};
use graft_rt::archive::Archive;
use graft_rt::files::{FileError, Files, Retry};
use graft_rt::grants::Grants;
use graft_rt::heal::{Event, Guarded};
use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::notification::Notification;
use graft_rt::process::{Process, duplicate};
use graft_rt::supervise::{Fault, answer};
use graft_rt::template::Template;
use graft_rt::thread::{self, Cores};
use graft_rt::{Error, Handle, Region, Share, system, time};

use crate::exchange::{self, FloatingPoint, Stop};

/// Rounds that are not counted.
const WARM_UP: usize = 3;
/// Where pages are mapped: a first one that stays, so that the tables are there, and the measured one beside it.
const FRESH: usize = 0x800_0000;

/// The grant with which this program only tells when its first line came.
pub(crate) const FIRST_LINE: &str = "first-line";

/// The priority of the process that notifies this one.
const LESS_URGENT: u8 = 8;

/// The times in the order in which they are shown.
const TIMES: [&str; 12] = [
    "call_reply_0",
    "call_reply_6h",
    "call_reply_donate",
    "call_reply_fp",
    "call_reply_10",
    "call_reply_4k",
    "fault_supervisor",
    "foreign_call",
    "map",
    "unmap",
    "spawn_warm",
    "heal",
];
/// Half of the way to another process and back; with one core only.
const SWITCH: &str = "yield_switch";
/// Likewise with one core only: a second one would run the waiter beside the notifier.
const NOTIFY: &str = "notify_switch";

/// Takes all figures.
pub(crate) fn run(repetitions: usize) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for metric in TIMES {
        figures.prepare(metric, Unit::Time, repetitions);
    }
    let has_one_core = system::info().map_err(|error| refused("look at the system", error))?.cores == 1;
    if has_one_core {
        figures.prepare(NOTIFY, Unit::Time, repetitions);
        figures.prepare(SWITCH, Unit::HalfTime, repetitions);
        notifications(repetitions, &mut figures).map_err(|error| refused("notify", error))?;
    }
    messages(repetitions, &mut figures).map_err(|error| refused("send a message", error))?;
    copies(repetitions, &mut figures).map_err(|error| refused("lend memory", error))?;
    for (metric, stop) in [("fault_supervisor", Stop::Fault), ("foreign_call", Stop::ForeignCall)] {
        supervised(stop, metric, repetitions, &mut figures).map_err(|error| refused("supervise", error))?;
    }
    templates(repetitions, &mut figures).map_err(|error| refused("start from a template", error))?;
    healing(repetitions, &mut figures).map_err(|error| refused("bring a server back", error))?;
    let first = Region::at(FRESH, PAGE_SIZE).map_err(|error| refused("map", error))?;
    first.write(0, 1);
    for _ in 0..WARM_UP {
        exchange::map_and_unmap(FRESH + PAGE_SIZE).map_err(|error| refused("map a page", error))?;
    }
    for _ in 0..repetitions {
        let mapping = exchange::map_and_unmap(FRESH + PAGE_SIZE).map_err(|error| refused("map a page", error))?;
        figures.note("map", mapping.map);
        figures.note("unmap", mapping.unmap);
        if has_one_core {
            figures.note(SWITCH, calls::yield_and_back().map_err(|error| refused("yield", error))?);
        }
    }
    Ok(figures)
}

fn refused(what: &str, error: impl Display) -> String {
    format!("cannot {what}: {error}")
}

/// Calls a server in a process of its own.
fn messages(repetitions: usize, figures: &mut Figures) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let server = Process::fork_into(Share::default(), || match endpoint.receiver() {
        Ok(receiver) => exchange::serve(&receiver),
        Err(_) => 1,
    })?;
    let mut call =
        |metric, handle: &dyn Fn(&Connection) -> Result<Handle, Error>, deadline: &dyn Fn() -> u64, float| {
            for round in 0..WARM_UP + repetitions {
                let span = exchange::call(&connection, handle(&connection)?, deadline(), float)?;
                if round >= WARM_UP {
                    figures.note(metric, span);
                }
            }
            Ok::<_, Error>(())
        };
    let none = |_: &Connection| Ok(Handle::NONE);
    let never = || 0;
    let in_a_second = || (time::clock() + Duration::from_secs(1)).as_nanos() as u64;
    call("call_reply_0", &none, &never, FloatingPoint::Unused)?;
    call("call_reply_6h", &|connection| duplicate(connection.handle(), Rights::ALL), &never, FloatingPoint::Unused)?;
    call("call_reply_donate", &none, &in_a_second, FloatingPoint::Unused)?;
    call("call_reply_fp", &none, &never, FloatingPoint::Used)?;
    server.kill(0)?;
    server.wait().map(drop)
}

/// Calls a server that copies what it is lent.
fn copies(repetitions: usize, figures: &mut Figures) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let server = Process::fork_into(Share::default(), || match endpoint.receiver() {
        Ok(receiver) => exchange::serve_copies(&receiver),
        Err(_) => 1,
    })?;
    let page = exchange::Page([7; PAGE_SIZE]);
    for (metric, bytes) in [("call_reply_10", 80), ("call_reply_4k", PAGE_SIZE)] {
        for round in 0..WARM_UP + repetitions {
            let span = exchange::lend(&connection, &page.0[..bytes])?;
            if round >= WARM_UP {
                figures.note(metric, span);
            }
        }
    }
    server.kill(0)?;
    server.wait().map(drop)
}

/// Supervises a process, which tells how long its stops have taken: as calls, whose first word is no fault.
fn supervised(stop: Stop, metric: &str, repetitions: usize, figures: &mut Figures) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let receiver = endpoint.receiver()?;
    let rounds = WARM_UP + repetitions;
    let process = Process::fork_into(Share::default(), || {
        for _ in 0..rounds {
            let Span { counts, by } = exchange::stop(stop);
            if connection.call(Message::words([u64::MAX, counts, by, 0, 0, 0])).is_err() {
                return 1;
            }
        }
        0
    })?;
    process.supervise(Some(&connection))?;
    let mut received = receiver.receive()?;
    for round in 0..rounds {
        let fault = Fault::of(&received).ok_or(Error::BadArgument)?;
        received = receiver.reply_receive(match stop {
            Stop::Fault => answer(FaultAnswer::GoOnAt, fault.pc + 4),
            Stop::ForeignCall => answer(FaultAnswer::Return, 0),
        })?;
        let [_, counts, by, ..] = received.message.words;
        if round >= WARM_UP {
            figures.note(metric, Span { counts, by });
        }
        if round + 1 == rounds {
            receiver.reply(Message::default())?;
        } else {
            received = receiver.reply_receive(Message::default())?;
        }
    }
    process.wait().map(drop)
}

/// Starts this program from a template of itself: it tells when its first line came.
fn templates(repetitions: usize, figures: &mut Figures) -> Result<(), FileError> {
    let archive = Archive::open().map_err(|_| FileError::Damaged)?;
    let image = archive.file("ipcbench").map_err(|_| FileError::NoSuchFile)?;
    let template = Template::load(image, "ipcbench", Share::default())?;
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let receiver = endpoint.receiver()?;
    let mut grants = Grants::standard();
    grants.add(FIRST_LINE, "", &[connection.handle()]);
    for round in 0..WARM_UP + repetitions {
        let begin = time::counter();
        let process = grants.spawn_warm(&template, &["ipcbench"])?;
        let [first, ..] = receiver.receive()?.message.words;
        receiver.reply(Message::default())?;
        process.wait()?;
        if round >= WARM_UP {
            figures.note("spawn_warm", Span::between(begin, first));
        }
    }
    Ok(())
}

/// Has the file server fault in a call, and calls it until it answers again.
fn healing(repetitions: usize, figures: &mut Figures) -> Result<(), FileError> {
    /// The operation that plants a fault.
    const FAULT: u64 = 99;
    let archive = Archive::open().map_err(|_| FileError::Damaged)?;
    let image = archive.file("files").map_err(|_| FileError::NoSuchFile)?;
    let server = Guarded::start(image, &["files", "--faults"], Grants::standard())?;
    thread::scope(|scope| -> Result<(), FileError> {
        scope.spawn(|| while !matches!(server.tend(), Ok(Event::Ignored) | Err(_)) {})?;
        let result: Result<(), FileError> = (|| {
            let mut files = Files::connect(&server.connect()?)?;
            files.set_retry(Retry::No);
            for round in 0..WARM_UP + repetitions {
                files.connection().call(Message::words([FAULT, 0, 1, 0, 0, 0]))?;
                let begin = time::counter();
                while files.usage() == Err(FileError::Again) {}
                let end = time::counter();
                if round >= WARM_UP {
                    figures.note("heal", Span::between(begin, end));
                }
            }
            Ok(())
        })();
        server.stop_tending()?;
        result
    })?;
    server.process()?.kill(0)?;
    Ok(())
}

/// Has a less urgent process notify this one. The bits are the counter's value before the call.
fn notifications(repetitions: usize, figures: &mut Figures) -> Result<(), Error> {
    let notification = Notification::new()?;
    let notifier = Process::fork_into(Share::default(), || {
        if thread::schedule(LESS_URGENT, Cores::All).is_err() {
            return 1;
        }
        loop {
            exchange::notify_with_counter(&notification);
        }
    })?;
    for round in 0..WARM_UP + repetitions {
        let begin = notification.wait()?;
        let end = time::counter();
        if round >= WARM_UP {
            figures.note(NOTIFY, Span::between(begin, end));
        }
    }
    notifier.kill(0)?;
    notifier.wait().map(drop)
}
