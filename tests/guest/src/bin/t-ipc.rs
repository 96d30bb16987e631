//! Tests messages between processes: words, handles, deadlines, and every way for one side to go.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::PAGE_SIZE;
use graft_rt::memory::Shared;
use graft_rt::message::{Connection, Endpoint, Message, Receiver};
use graft_rt::process::{self, sleep, yield_now};
use graft_rt::test::{FreeFrames, Numbers, Report, Steps, claim_success, touch_stack_and_heap};
use graft_rt::{
    Arguments, Error, ExitStatus, Handle, Permissions, Process, Rights, Share, claim, claim_eq, thread, time,
};

graft_rt::program!(main);

const CALLS: u64 = 300;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    answers(&report)?;
    crowd(&report)?;
    handles(&report)?;
    bad_handles(&report)?;
    deadlines(&report)?;
    ends(&report)?;
    circles(&report)?;
    storm(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// What the server of these tests answers.
fn answer(words: [u64; 6]) -> [u64; 6] {
    let [a, b, c, d, e, f] = words;
    [f, e.wrapping_mul(3), d, c ^ a, b, a.wrapping_add(1)]
}

/// Serves until a message whose first word is 0.
fn serve(receiver: &Receiver) -> Result<u64, Error> {
    let mut served = 0;
    let mut received = receiver.receive()?;
    loop {
        let words = received.message.words;
        if words[0] == 0 {
            receiver.reply(Message::default())?;
            return Ok(served);
        }
        served += 1;
        received = receiver.reply_receive(Message::words(answer(words)))?;
    }
}

/// A process that serves at the endpoint, which the caller gives away with this.
fn server(endpoint: Endpoint) -> Result<Process, Error> {
    Process::fork_into(Share::default(), || match endpoint.receiver().and_then(|receiver| serve(&receiver)) {
        Ok(_) => 0,
        Err(_) => 1,
    })
}

fn client(connection: &Connection, seed: u64, calls: u64) -> i32 {
    let mut numbers = Numbers::new(seed);
    for _ in 0..calls {
        let words =
            [numbers.next() | 1, numbers.next(), numbers.next(), numbers.next(), numbers.next(), numbers.next()];
        if connection.call(Message::words(words)) != Ok(Message::words(answer(words))) {
            return 1;
        }
    }
    0
}

fn answers(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(7)?;
    let server = server(endpoint)?;
    claim_eq!(report, client(&connection, 1, CALLS), 0, "one client's calls");
    claim_eq!(report, connection.call(Message::default()), Ok(Message::default()), "the last call");
    claim_success(report, &server, format_args!("the server"));
    claim_eq!(report, connection.call(Message::default()), Err(Error::Gone), "a call to a server that has ended");
    report.done(format_args!("a call is answered, and refused when there is no server any more"));
    Ok(())
}

/// Several servers at one endpoint, several clients, each of which knows its own answers.
fn crowd(report: &Report) -> Result<(), Error> {
    const SERVERS: usize = 3;
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(Process::fork_into(Share::L1, || {
            i32::from(endpoint.receiver().and_then(|receiver| serve(&receiver)).is_err())
        })?);
    }
    let mut clients = Vec::new();
    for seed in 0..5 {
        clients.push(Process::fork_into(Share::L1, || client(&connection, seed, CALLS))?);
    }
    for client in &clients {
        claim_success(report, client, format_args!("one of many clients"));
    }
    for _ in 0..SERVERS {
        claim_eq!(report, connection.call(Message::default()), Ok(Message::default()), "the end of a server");
    }
    for server in &servers {
        claim_success(report, server, format_args!("one of many servers"));
    }
    drop(endpoint);
    report.done(format_args!("clients share servers, and each gets its own answers"));
    Ok(())
}

fn handles(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(3)?;
    let server = Process::fork_into(Share::default(), || {
        let serve = || -> Result<i32, Error> {
            let receiver = endpoint.receiver()?;
            let received = receiver.receive()?;
            let sent = Shared::from_handle(received.message.handle);
            let memory = sent.map(Permissions::ReadWrite)?;
            memory.write(5, memory.read(5) + 1);
            let third = sent.duplicate(Rights::ALL)?.into_handle();
            let back = Message { words: [memory.read(5).into(), 0, 0, 0, 0, 0], handle: third };
            receiver.reply(back)?;
            Ok(i32::from(process::close(third) != Err(Error::BadHandle)))
        };
        serve().unwrap_or(2)
    })?;
    drop(endpoint);
    let memory = Shared::new(PAGE_SIZE)?;
    let mapped = memory.map(Permissions::ReadWrite)?;
    mapped.write(5, 41);
    let moved = process::duplicate(memory.handle(), Rights::ALL)?;
    let answer = connection.call(Message { words: [1; 6], handle: moved })?;
    claim_eq!(report, (answer.words[0], mapped.read(5)), (42, 42), "memory that both have mapped");
    claim!(report, answer.handle != Handle::NONE, "a handle comes with the answer");
    // It has either come back under the same number, or is not ours any more.
    let closed = process::close(moved);
    let expected = if answer.handle == moved { Ok(()) } else { Err(Error::BadHandle) };
    claim_eq!(report, closed, expected, "the handle that was sent");
    if answer.handle != moved {
        claim_eq!(report, process::close(answer.handle), Ok(()), "the handle that was answered");
    }
    claim_success(report, &server, format_args!("the server that was sent memory"));
    report.done(format_args!("handles move with messages"));
    Ok(())
}

fn bad_handles(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(3)?;
    let receiver = endpoint.receiver()?;
    for handle in [Handle(900), Handle(u32::MAX), Handle(u32::MAX - 1)] {
        let message = Message { words: [1; 6], handle };
        claim_eq!(report, connection.call(message), Err(Error::BadHandle), "a call with handle {}", handle.0);
        claim_eq!(report, connection.send(message), Err(Error::BadHandle), "a message with handle {}", handle.0);
    }
    let fixed = process::duplicate(endpoint.handle(), Rights::READ)?;
    let message = Message { words: [1; 6], handle: fixed };
    claim_eq!(report, connection.call(message), Err(Error::NoRight), "a call with a handle that may not be moved");
    claim_eq!(report, process::close(fixed), Ok(()), "that handle afterwards");
    claim_eq!(report, receiver.reply(Message::default()), Err(Error::NotFound), "an answer to no call");
    claim_eq!(report, connection.send(Message::default()), Err(Error::NotReady), "a message that no thread waits for");
    // A receiver whose table is full gets the message, and the handle stays.
    let full = Process::fork_into(Share::default(), || {
        while process::duplicate(Handle::CONSOLE, Rights::ALL).is_ok() {}
        let Ok(received) = last_receiver(&endpoint).receive() else { return 1 };
        i32::from(received.message.handle != Handle::NONE || received.message.words[0] != 9)
    })?;
    drop(receiver);
    let own = process::duplicate(Handle::CONSOLE, Rights::ALL)?;
    drop(endpoint);
    let sent = connection.call(Message { words: [9; 6], handle: own });
    claim_eq!(report, sent, Err(Error::Gone), "a call to a server that ends instead of answering");
    claim_success(report, &full, format_args!("a receiver without room for the handle"));
    claim_eq!(report, process::close(own), Ok(()), "the handle that found no room");
    report.done(format_args!("handles that cannot move stay where they are"));
    Ok(())
}

/// A receiver, in the place of a handle that is given up for it.
fn last_receiver(endpoint: &Endpoint) -> Receiver {
    let _ = process::close(Handle::SYSTEM);
    endpoint.receiver().unwrap_or(Receiver::from_handle(Handle::NONE))
}

fn deadlines(report: &Report) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(3)?;
    let receiver = endpoint.receiver()?;
    let soon = || time::clock() + Duration::from_millis(3);
    for _ in 0..5 {
        let deadline = soon();
        claim_eq!(report, connection.call_until(Message::words([1; 6]), deadline), Err(Error::TimedOut), "in line");
        claim!(report, time::clock() >= deadline, "a call ended before its deadline");
        let deadline = soon();
        claim_eq!(report, receiver.receive_until(deadline), Err(Error::TimedOut), "a receiver without a call");
        claim!(report, time::clock() >= deadline, "a receiver gave up before its deadline");
    }
    let past = connection.call_until(Message::words([1; 6]), Duration::from_nanos(1));
    claim_eq!(report, past, Err(Error::TimedOut), "a deadline in the past");
    // One that is taken and not answered.
    let taken = Steps::new()?;
    let slow = Process::fork_into(Share::default(), || {
        let Ok(receiver) = endpoint.receiver() else { return 1 };
        if receiver.receive().is_err() {
            return 2;
        }
        taken.reach(0);
        sleep(Duration::from_millis(20));
        // The caller may be late, on a busy host, but not so late that it is still in its call for good.
        let late = receiver.reply(Message::default());
        i32::from(late != Err(Error::Gone) && late != Ok(())) * 3
    })?;
    // On a busy host the deadline may come before the server does: then it would wait for another call.
    let (deadline, called) = loop {
        let deadline = soon();
        let called = connection.call_until(Message::words([1; 6]), deadline);
        if taken.is_reached(0) {
            break (deadline, called);
        }
    };
    claim!(report, matches!(called, Err(Error::TimedOut)) || called.is_ok(), "a slow server: {called:?}");
    claim!(report, called.is_ok() || time::clock() >= deadline, "a call that was taken ended before its deadline");
    claim_success(report, &slow, format_args!("the slow server"));
    // A deadline that is not met leaves nothing behind: the next sleep has its full length.
    let quick = Process::fork_into(Share::default(), || match endpoint.receiver() {
        Ok(receiver) => i32::from(serve(&receiver).is_err()),
        Err(_) => 1,
    })?;
    for _ in 0..20 {
        let deadline = time::clock() + Duration::from_millis(2);
        let _ = connection.call_until(Message::words([1; 6]), deadline);
        let start = time::clock();
        sleep(Duration::from_millis(4));
        claim!(
            report,
            time::clock() - start >= Duration::from_millis(4),
            "a sleep ended at an earlier call's deadline"
        );
    }
    claim_eq!(report, connection.call(Message::default()), Ok(Message::default()), "the last call");
    claim_success(report, &quick, format_args!("the quick server"));
    report.done(format_args!("deadlines are kept, and forgotten when they are not needed"));
    Ok(())
}

fn ends(report: &Report) -> Result<(), Error> {
    let steps = Steps::new()?;
    let read_only = Shared::new(PAGE_SIZE)?.map(Permissions::Read)?;
    // Servers that end with a call of ours under way, and in every other place.
    for (what, act) in [("exits", 0), ("faults", 1), ("closes its receiver", 2), ("closes its endpoint", 3)] {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(3)?;
        let server = Process::fork_into(Share::default(), || {
            let Ok(receiver) = endpoint.receiver() else { return 1 };
            if act < 3 && receiver.receive().is_err() {
                return 2;
            }
            match act {
                0 => process::exit(0),
                1 => read_only.write(0, 1),
                2 => drop(receiver),
                _ => {}
            }
            let _ = process::close(endpoint.handle());
            sleep(Duration::from_millis(2));
            0
        })?;
        drop(endpoint);
        claim_eq!(report, connection.call(Message::words([1; 6])), Err(Error::Gone), "a server that {what}");
        let ended = server.wait()?;
        claim!(
            report,
            matches!(ended, ExitStatus::Exited(0) | ExitStatus::Faulted(_)),
            "a server that {what}: it {ended}"
        );
    }
    // Clients that are killed in line, and after their call has been taken.
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(3)?;
    let receiver = endpoint.receiver()?;
    for taken in [false, true] {
        let client = Process::fork_into(Share::default(), || {
            steps.reach(usize::from(taken));
            i32::from(connection.call(Message::words([1; 6])).is_ok())
        })?;
        claim!(report, steps.wait(usize::from(taken)), "a client comes");
        if taken {
            claim!(report, receiver.receive().is_ok(), "its call is taken");
        }
        client.kill(4)?;
        claim_eq!(report, client.wait(), Ok(ExitStatus::Killed(4)), "a client in its call, taken: {taken}");
        let expected = if taken { Error::Gone } else { Error::NotFound };
        claim_eq!(report, receiver.reply(Message::default()), Err(expected), "an answer to it, taken: {taken}");
    }
    // A process that calls itself, from another thread.
    let served = thread::scope(|scope| {
        let server = scope.spawn(|| serve(&receiver))?;
        let called = client_of(&connection);
        server.join().map_err(|_| Error::Gone)?.and_then(|served| called.map(|()| served))
    });
    claim_eq!(report, served, Ok(CALLS), "threads of one process");
    report.done(format_args!("no end of one side leaves the other waiting"));
    Ok(())
}

fn client_of(connection: &Connection) -> Result<(), Error> {
    if client(connection, 9, CALLS) != 0 {
        return Err(Error::BadArgument);
    }
    connection.call(Message::default()).map(drop)
}

/// Clients and servers that are killed at any moment. Who is left is well.
/// Servers that call each other while they serve.
fn circles(report: &Report) -> Result<(), Error> {
    const ROUNDS: u64 = 100;
    let (a, b) = (Endpoint::new()?, Endpoint::new()?);
    let (to_a, to_b) = (a.connect(1)?, b.connect(2)?);
    let own = a.receiver()?;
    claim_eq!(report, to_a.call(Message::default()), Err(Error::WouldDeadlock), "a server that calls itself");
    // It has one thread, and its caller waits for it: who is called back can never receive.
    let server = |back: &Connection| {
        let Ok(receiver) = b.receiver() else { return 1 };
        let Ok(mut received) = receiver.receive() else { return 2 };
        loop {
            let [round, ..] = received.message.words;
            let refused = back.call(Message::default()) == Err(Error::WouldDeadlock);
            let answer = Message::words([round + 1, refused.into(), 0, 0, 0, 0]);
            if round == ROUNDS {
                return i32::from(receiver.reply(answer).is_err()) * 3;
            }
            let Ok(next) = receiver.reply_receive(answer) else { return 4 };
            received = next;
        }
    };
    let other = Process::fork_into(Share::default(), || server(&to_a))?;
    for round in 0..=ROUNDS {
        let words = to_b.call(Message::words([round, 0, 0, 0, 0, 0]))?.into_words();
        claim_eq!(report, words, [round + 1, 1, 0, 0, 0, 0], "a call back in round {round}");
    }
    claim_success(report, &other, format_args!("the server that calls back"));
    // With a deadline a call back is one like others, and so is one to a server that has another thread.
    let timed = Process::fork_into(Share::default(), || {
        let Ok(receiver) = b.receiver() else { return 1 };
        if receiver.receive().is_err() {
            return 2;
        }
        let late = to_a.call_until(Message::default(), time::clock() + Duration::from_millis(1));
        let served = to_a.call(Message::words([7; 6])).map(Message::into_words);
        let right = late == Err(Error::TimedOut) && served == Ok([8; 6]);
        i32::from(!right || receiver.reply(Message::default()).is_err()) * 3
    })?;
    let called = thread::scope(|scope| {
        let caller = scope.spawn(|| to_b.call(Message::default()))?;
        sleep(Duration::from_millis(10));
        let received = own.receive()?;
        claim_eq!(report, received.message.words, [7; 6], "a call to the other thread");
        own.reply(Message::words([8; 6]))?;
        caller.join().map_err(|_| Error::Gone)?
    });
    claim!(report, called.is_ok(), "a call whose server calls back to another thread: {called:?}");
    claim_success(report, &timed, format_args!("a server that calls back in time"));
    report.done(format_args!("a circle of calls is refused, and what is none is not"));
    Ok(())
}

fn storm(report: &Report) -> Result<(), Error> {
    let mut numbers = Numbers::new(77);
    for round in 0..12 {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(round)?;
        let mut children = Vec::new();
        for number in 0..8 {
            let seed = numbers.next();
            children.push(Process::fork_into(Share::L1, || {
                let mut numbers = Numbers::new(seed);
                if number % 2 == 0 {
                    let Ok(receiver) = endpoint.receiver() else { return 1 };
                    let _ = process::close(connection.handle());
                    while receiver.receive().is_ok() {
                        if numbers.below(3) != 0 {
                            let _ = receiver.reply(Message::words([numbers.next(); 6]));
                        }
                    }
                } else {
                    let _ = process::close(endpoint.handle());
                    loop {
                        let handle = process::duplicate(connection.handle(), Rights::ALL).unwrap_or(Handle::NONE);
                        let message = Message { words: [1; 6], handle };
                        let deadline = time::clock() + Duration::from_micros(numbers.below(300) as u64);
                        let result = match numbers.below(3) {
                            0 => connection.call_until(message, deadline),
                            1 => connection.send(message).map(|()| Message::default()),
                            _ => connection.call(message),
                        };
                        // It has moved, or it has not.
                        let _ = process::close(handle);
                        if result == Err(Error::Gone) && numbers.below(50) == 0 {
                            break;
                        }
                        yield_now();
                    }
                }
                0
            })?);
        }
        drop(endpoint);
        for _ in 0..8 {
            sleep(Duration::from_micros(numbers.below(2_000) as u64));
            let child = children.swap_remove(numbers.below(children.len()));
            child.kill(9)?;
            let ended = child.wait()?;
            claim!(
                report,
                matches!(ended, ExitStatus::Killed(9) | ExitStatus::Exited(0)),
                "one in the storm: it {ended}"
            );
        }
    }
    report.done(format_args!("clients and servers that are killed at any moment harm no other"));
    Ok(())
}
