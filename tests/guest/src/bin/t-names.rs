//! Tests the server of names: what each client may ask for and provide, what becomes of names whose provider ends, and
//! every kind of bad input.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use graft_lib::names::View;
use graft_rt::archive::Archive;
use graft_rt::grants::Grants;
use graft_rt::heal::Guarded;
use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::names::{Names, Operation, Registrar};
use graft_rt::test::Report;
use graft_rt::{Arguments, Error, Handle, Process, Share, claim, claim_eq, process, thread, time};

graft_rt::program!(main);

const WORDS: [&str; 5] = ["names", "slow:wait", "fast:fail", "other:wait", "store:fail"];
/// More than the server keeps waiting at a time.
const WAITING: usize = 24;

fn main(_arguments: Arguments) -> Result<i32, String> {
    let report = Report::new();
    let text = |error: Error| format!("{error}");
    let archive = Archive::open().map_err(|error| format!("{error}"))?;
    let image = archive.file("names").map_err(|error| format!("names: {error}"))?;
    let server = Guarded::start(image, &WORDS, Grants::standard()).map_err(text)?;
    tests(&report, &server, image).map_err(text)?;
    server.process().and_then(|process| process.kill(0)).map_err(text)?;
    Ok(report.finish())
}

fn tests(report: &Report, server: &Guarded, image: &[u8]) -> Result<(), Error> {
    let all = Names::of(server.connect_as(View::ALL.0)?);
    views(report, server, &all)?;
    providers(report, &all)?;
    waiting(report, &all)?;
    garbage(report, server, &all)?;
    restart(report, server, image)
}

/// An endpoint and a connection to it whose badge says which it is.
fn somewhere(badge: u64) -> Result<(Endpoint, Connection), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(badge)?;
    Ok((endpoint, connection))
}

/// The badge with which a call through a connection arrives at an endpoint.
fn badge_of(endpoint: &Endpoint, connection: &Connection) -> Result<u64, Error> {
    let receiver = endpoint.receiver()?;
    thread::scope(|scope| {
        let caller = scope.spawn(|| connection.call(Message::default()))?;
        let received = receiver.receive()?;
        receiver.reply(Message::default())?;
        caller.join().map_err(|_| Error::Gone)??;
        Ok(received.badge)
    })
}

fn refused(result: Result<Connection, Error>) -> Option<Error> {
    result.err()
}

fn views(report: &Report, server: &Guarded, all: &Names) -> Result<(), Error> {
    let (endpoint, connection) = somewhere(7)?;
    let lease = all.provide("fast", &connection)?;
    claim_eq!(report, badge_of(&endpoint, &all.connect("fast")?)?, 7, "where the name leads");
    let child = all.narrow("fast slow +store")?;
    claim_eq!(report, badge_of(&endpoint, &child.connect("fast")?)?, 7, "for a client that is allowed it");
    claim_eq!(report, refused(child.connect("other")), Some(Error::NotFound), "a name that it is not");
    claim_eq!(report, refused(child.connect("no-such-name")), Some(Error::NotFound), "one that there is not");
    claim_eq!(report, child.provide("fast", &connection).err(), Some(Error::NotFound), "it provides another's");
    let wider = child.narrow("fast slow other +store +fast +other")?;
    claim_eq!(report, refused(wider.connect("other")), Some(Error::NotFound), "a child's child asks for more");
    claim_eq!(report, wider.provide("other", &connection).err(), Some(Error::NotFound), "and would provide more");
    let none = child.narrow("")?;
    claim_eq!(report, refused(none.connect("fast")), Some(Error::NotFound), "one that is allowed nothing");
    claim_eq!(report, none.entry(0).err(), Some(Error::NotFound), "what it sees");
    let nothing = Names::of(server.connect()?);
    claim_eq!(report, refused(nothing.connect("fast")), Some(Error::NotFound), "a connection that root never gave");
    let seen = [child.entry(0)?, child.entry(1)?, child.entry(2)?];
    let seen = seen.each_ref().map(|listed| (listed.name.as_str(), listed.present, listed.may_provide));
    claim_eq!(report, seen, [("slow", false, false), ("fast", true, false), ("store", false, true)], "what one sees");
    claim_eq!(report, child.entry(3).err(), Some(Error::NotFound), "and no more");
    drop(lease);
    claim_eq!(report, refused(all.connect("fast")), Some(Error::NotReady), "its provider has let go");
    report.done(format_args!("a client gets what its parent allowed, and a child never more"));
    Ok(())
}

fn providers(report: &Report, all: &Names) -> Result<(), Error> {
    let (_endpoint, connection) = somewhere(1)?;
    let child = all.narrow("store +store")?;
    // A provider that is killed.
    let (other, provided) = somewhere(2)?;
    let provider = Process::fork_into(Share::default(), || {
        let Ok(_lease) = child.provide("store", &provided) else { return 1 };
        process::sleep(Duration::from_secs(3600));
        0
    })?;
    let found = loop {
        match child.connect("store") {
            Err(Error::NotReady) => process::sleep(Duration::from_millis(1)),
            found => break found?,
        }
    };
    claim_eq!(report, badge_of(&other, &found)?, 2, "a name that another process provides");
    claim_eq!(report, child.provide("store", &connection).err(), Some(Error::Occupied), "a second provider");
    provider.kill(3)?;
    provider.wait()?;
    claim_eq!(report, refused(child.connect("store")), Some(Error::NotReady), "after its end, at once");
    let lease = child.provide("store", &connection)?;
    claim!(report, child.connect("store").is_ok(), "with another provider");
    lease.give_up()?;
    claim_eq!(report, refused(child.connect("store")), Some(Error::Gone), "one that is given up");
    report.done(format_args!("a name has one provider, and none when that has ended"));
    Ok(())
}

fn waiting(report: &Report, all: &Names) -> Result<(), Error> {
    let soon = || time::clock() + Duration::from_millis(5);
    claim_eq!(report, refused(all.connect_until("slow", soon())), Some(Error::TimedOut), "nothing comes");
    let (endpoint, connection) = somewhere(9)?;
    thread::scope(|scope| {
        let mut waiters = alloc::vec::Vec::new();
        for _ in 0..WAITING {
            waiters.push(scope.spawn(|| all.connect("slow"))?);
        }
        process::sleep(Duration::from_millis(20));
        // Others are answered meanwhile.
        claim_eq!(report, refused(all.connect("fast")), Some(Error::NotReady), "a name that is not waited for");
        let lease = all.provide("slow", &connection)?;
        for waiter in waiters {
            let found = waiter.join().map_err(|_| Error::Gone)?;
            claim!(report, found.is_ok_and(|found| badge_of(&endpoint, &found) == Ok(9)), "one that has waited");
        }
        drop(lease);
        Ok::<(), Error>(())
    })?;
    report.done(format_args!("asks wait for a name, more of them than there are places to wait"));
    Ok(())
}

fn garbage(report: &Report, server: &Guarded, all: &Names) -> Result<(), Error> {
    let raw = server.connect_as(View::ALL.0)?;
    let (_endpoint, somewhere) = somewhere(1)?;
    for operation in (0..8).chain([u64::MAX]) {
        for word in [0, 1, 0x7473_6166, u64::MAX] {
            for with_handle in [false, true] {
                let handle = if with_handle {
                    process::duplicate(somewhere.handle(), graft_rt::Rights::ALL)?
                } else {
                    Handle::NONE
                };
                let words = [operation, word, word, 0, word, word];
                let answer = raw.call_until(Message { words, handle }, time::clock() + Duration::from_millis(2));
                if answer.is_err() && with_handle {
                    let _ = process::close(handle);
                }
                let _ = answer.map(Message::into_words);
            }
        }
    }
    // Its words lie nowhere, are not lent, or are too long.
    let narrow = |length| Message::words([Operation::Narrow as u64, length, 0, 0, 0, 0]);
    let refused = [(raw.call(narrow(8))?, Error::BadArgument), (raw.call(narrow(1 << 40))?, Error::BadLength)];
    for (answer, expected) in refused {
        claim_eq!(report, Error::from_code(answer.into_words()[0] as i64), Some(expected), "words that are not lent");
    }
    claim_eq!(report, all.narrow(&"x".repeat(2000)).err(), Some(Error::BadLength), "too many words");
    let long = all.connect("a-name-that-is-longer-than-any-name-can-be");
    claim_eq!(report, long.err(), Some(Error::NotFound), "a name that is too long");
    let (_endpoint, connection) = self::somewhere(3)?;
    for _ in 0..300 {
        drop((all.provide("other", &connection)?, all.narrow("other")?, all.connect("fast").err()));
    }
    claim!(report, all.provide("other", &connection).is_ok(), "after more clients than a process has handles");
    report.done(format_args!("garbage is refused, and nothing piles up in the server"));
    Ok(())
}

fn restart(report: &Report, server: &Guarded, image: &[u8]) -> Result<(), Error> {
    let registrar = Registrar::new(Names::of(server.connect_as(View::ALL.0)?));
    let (endpoint, connection) = somewhere(5)?;
    registrar.provide("fast", connection)?;
    let (_other, given_up) = somewhere(6)?;
    registrar.provide("slow", given_up)?;
    registrar.give_up("slow");
    let child = registrar.names().narrow("fast slow")?;
    claim_eq!(report, badge_of(&endpoint, &child.connect("fast")?)?, 5, "before the end of the server");
    server.process()?.kill(1)?;
    server.process()?.wait()?;
    server.restart(image, &WORDS, Grants::standard())?;
    registrar.repeat();
    claim_eq!(report, badge_of(&endpoint, &child.connect("fast")?)?, 5, "the same connection to the one after it");
    claim_eq!(report, child.connect("other").err(), Some(Error::NotFound), "it allows what it allowed");
    claim_eq!(report, child.connect("slow").err(), Some(Error::Gone), "a name that was given up stays so");
    registrar.withdraw("fast");
    claim_eq!(report, child.connect("fast").err(), Some(Error::NotReady), "its server ends");
    report.done(format_args!("a server of names that is started anew means the same by the same connections"));
    Ok(())
}
