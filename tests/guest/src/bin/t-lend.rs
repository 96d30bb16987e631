//! Tests memory that a caller lends its server: what is copied, what is refused, and that nothing is copied once the
//! call is over.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_rt::abi::{Call, Handle, PAGE_SIZE};
use graft_rt::message::{Connection, Endpoint, Message, Receiver};
use graft_rt::process::sleep;
use graft_rt::test::{FreeFrames, Report, claim_success, touch_stack_and_heap};
use graft_rt::{Arguments, Error, Permissions, Process, Region, Share, claim, claim_eq, memory, thread, time};

graft_rt::program!(main);

/// Longer than two pages, and no multiple of anything.
const LONG: usize = 2 * PAGE_SIZE + 1_234;

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    copies(&report)?;
    refusals(&report)?;
    sharing(&report)?;
    deadlines(&report)?;
    deaths(&report)?;
    threads(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// A client in a process of its own, and a receiver for its calls.
fn with_client(client: impl FnOnce(&Connection) -> i32) -> Result<(Process, Receiver, Endpoint), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(1)?;
    let receiver = endpoint.receiver()?;
    let process = Process::fork_into(Share::default(), || client(&connection))?;
    Ok((process, receiver, endpoint))
}

/// The bytes that clients lend.
fn pattern(index: usize) -> u8 {
    (index.wrapping_mul(31) >> 3) as u8 ^ index as u8
}

/// All bytes there and back, with every distance of the two sides from the begin of a page that matters.
fn copies(report: &Report) -> Result<(), Error> {
    const STARTS: [usize; 4] = [0, 1, 8, PAGE_SIZE - 3];
    let (client, receiver, _endpoint) = with_client(|connection| {
        for start in STARTS {
            let lent: Vec<u8> = (0..start + LONG).map(pattern).collect();
            let mut room = vec![0xee; start + LONG + 2];
            let message = Message::words([start as u64, 0, 0, 0, 0, 0]);
            let end = start + LONG;
            if connection.call_lending(message, &lent[start..], &mut room[start + 1..=end]) != Ok(message) {
                return 1;
            }
            let is_right = |(index, &byte): (usize, &u8)| match index {
                inside if (start + 1..=end).contains(&inside) => byte == !pattern(inside - 1),
                _ => byte == 0xee,
            };
            if !room.iter().enumerate().all(is_right) {
                return 2;
            }
        }
        0
    })?;
    let mut received = receiver.receive()?;
    for number in 0..STARTS.len() {
        for shift in [0, 5] {
            let mut bytes = vec![0xee; shift + LONG + 1];
            receiver.read(0, &mut bytes[shift..shift + LONG])?;
            let start = received.message.words[0] as usize;
            let is_right = (0..LONG).all(|index| bytes[shift + index] == pattern(start + index));
            claim!(report, is_right && bytes[shift + LONG] == 0xee, "what is read from {start}, to {shift}");
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
            receiver.write(100, &bytes[shift + 100..shift + LONG])?;
            receiver.write(0, &bytes[shift..shift + 100])?;
        }
        let answer = Message::words(received.message.words);
        if number + 1 == STARTS.len() {
            receiver.reply(answer)?;
        } else {
            received = receiver.reply_receive(answer)?;
        }
    }
    claim_success(report, &client, format_args!("the client finds what was written, and nothing else"));
    report.done(format_args!("{LONG} bytes go over and come back, and none beside them"));
    Ok(())
}

/// What a server must not reach.
fn refusals(report: &Report) -> Result<(), Error> {
    const CALLS: usize = 3;
    let (client, receiver, _endpoint) = with_client(|connection| {
        let lent = [7; 64];
        let mut room = [0; 32];
        let Ok(_) = connection.call_lending(Message::default(), &lent, &mut room) else { return 1 };
        // Nothing is lent.
        let Ok(_) = connection.call(Message::default()) else { return 2 };
        let Ok(read_only) = Region::new(PAGE_SIZE) else { return 3 };
        let Ok(gone) = Region::new(PAGE_SIZE) else { return 4 };
        let (first, second) = (read_only.address(), gone.address());
        if memory::protect(first, PAGE_SIZE, Permissions::Read).is_err() {
            return 5;
        }
        drop(gone);
        i32::from(raw_lending(connection, [second, PAGE_SIZE, first, PAGE_SIZE]).is_err())
    })?;
    let mut buffer = [0; 64];
    claim_eq!(report, receiver.read(0, &mut buffer), Err(Error::NotFound), "a read without a call");
    let mut calls = 0;
    let mut received = receiver.receive();
    while received.is_ok() {
        match calls {
            0 => {
                claim_eq!(report, receiver.read(0, &mut buffer), Ok(()), "all of it");
                claim_eq!(report, receiver.read(1, &mut buffer), Err(Error::BadArgument), "one byte beyond");
                claim_eq!(report, receiver.read(usize::MAX, &mut buffer[..1]), Err(Error::BadArgument), "far beyond");
                claim_eq!(report, receiver.write(0, &buffer[..33]), Err(Error::BadArgument), "a write beyond");
                claim_eq!(report, receiver.write(32, &[]), Ok(()), "nothing, at the end");
                let nowhere = copy(&receiver, Call::LentRead, [0, 0x10_0000_0000, 8]);
                claim_eq!(report, nowhere, Err(Error::BadAddress), "a buffer that is not there");
                let kernels = copy(&receiver, Call::LentRead, [0, u64::MAX - 7, 8]);
                claim_eq!(report, kernels, Err(Error::BadAddress), "a buffer in the kernel");
                let other = copy(&receiver, Call::LentRead, [u64::MAX - 3, buffer.as_ptr().addr() as u64, 8]);
                claim_eq!(report, other, Err(Error::BadArgument), "an offset that wraps");
            }
            1 => {
                claim_eq!(report, receiver.read(0, &mut buffer[..1]), Err(Error::BadArgument), "nothing is lent");
                claim_eq!(report, receiver.write(0, &buffer[..1]), Err(Error::BadArgument), "nor to be written");
            }
            _ => {
                claim_eq!(report, receiver.read(0, &mut buffer), Err(Error::BadAddress), "what is not there");
                claim_eq!(report, receiver.write(0, &buffer), Err(Error::BadAddress), "what may not be written");
            }
        }
        calls += 1;
        if calls == CALLS {
            receiver.reply(Message::default())?;
            break;
        }
        received = receiver.reply_receive(Message::default());
    }
    claim_eq!(report, receiver.read(0, &mut buffer), Err(Error::NotFound), "a read after the answer");
    claim_success(report, &client, format_args!("the client has its answers"));
    let stranger = copy_through(Handle::SELF, Call::LentRead, [0, buffer.as_ptr().addr() as u64, 8]);
    claim_eq!(report, stranger, Err(Error::BadHandle), "a process is no reply");
    report.done(format_args!("nothing but what is lent is reached"));
    Ok(())
}

/// What is written belongs to the client alone.
fn sharing(report: &Report) -> Result<(), Error> {
    for share in [Share::Copy, Share::L3, Share::L2, Share::L1] {
        let endpoint = Endpoint::new()?;
        let connection = endpoint.connect(1)?;
        let receiver = endpoint.receiver()?;
        let mut memory = vec![1; 3 * PAGE_SIZE];
        let client = Process::fork_into(share, || {
            let own = &mut memory[PAGE_SIZE..2 * PAGE_SIZE];
            let _ = connection.call_lending(Message::default(), &[], own);
            i32::from(!own.iter().all(|&byte| byte == 2))
        })?;
        receiver.receive()?;
        receiver.write(0, &vec![2; PAGE_SIZE])?;
        receiver.reply(Message::default())?;
        claim_success(report, &client, format_args!("the client has it"));
        claim!(report, memory.iter().all(|&byte| byte == 1), "its parent, which shared it at {share:?}, has not");
    }
    report.done(format_args!("a write through the call breaks what is shared"));
    Ok(())
}

/// Nothing is copied when the caller runs again, and copies do not lengthen a deadline.
fn deadlines(report: &Report) -> Result<(), Error> {
    let (client, receiver, _endpoint) = with_client(|connection| {
        for _ in 0..2 {
            let mut room = [0; 64];
            // A call that times out in line, on a machine that stood still, is made again.
            while room == [0; 64] {
                let deadline = time::clock() + Duration::from_millis(5);
                let result = connection.call_lending_until(Message::default(), &[1; 64], &mut room, deadline);
                if result != Err(Error::TimedOut) || time::clock() < deadline {
                    return 1;
                }
            }
            room = [9; 64];
            sleep(Duration::from_millis(10));
            if room != [9; 64] {
                return 2;
            }
        }
        0
    })?;
    let take = || loop {
        receiver.receive()?;
        if receiver.write(0, &[1; 64]).is_ok() {
            return Ok::<(), Error>(());
        }
    };
    take()?;
    let mut bytes = [0; 64];
    // Copies all the time: each takes the caller's wait over, and gives it back.
    let end = loop {
        if let Err(error) = receiver.read(0, &mut bytes).and_then(|()| receiver.write(0, &bytes)) {
            break error;
        }
    };
    claim_eq!(report, end, Error::NotFound, "the deadline comes in the middle of copies");
    take()?;
    sleep(Duration::from_millis(8));
    claim_eq!(report, receiver.write(0, &bytes), Err(Error::NotFound), "a write after the deadline");
    claim_success(report, &client, format_args!("the client's memory is its own again"));
    report.done(format_args!("deadlines are kept while bytes are copied"));
    Ok(())
}

/// A thread that copies all the time keeps no answer of another one's from going to the call that it is for.
fn threads(report: &Report) -> Result<(), Error> {
    const CALLS: u64 = 2_000;
    let (client, receiver, _endpoint) = with_client(|connection| {
        let lent = [7; 512];
        let answered = (0..CALLS).all(|number| {
            let message = Message::words([number; 6]);
            connection.call_lending(message, &lent, &mut []) == Ok(message)
        });
        i32::from(!answered)
    })?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 512];
            while !over.load(Ordering::Relaxed) {
                let _ = receiver.read(0, &mut bytes);
            }
        })?;
        let mut received = receiver.receive();
        for number in 0..CALLS {
            let Ok(message) = received.map(|received| received.message) else { break };
            // Some at once, others in two steps.
            received = match number % 3 {
                _ if number == CALLS - 1 => break,
                0 => receiver.reply(message).and_then(|()| receiver.receive()),
                _ => receiver.reply_receive(message),
            };
        }
        claim!(report, received.is_ok(), "an answer beside copies: {received:?}");
        if let Ok(received) = received {
            claim_eq!(report, receiver.reply(received.message), Ok(()), "the last answer");
        }
        over.store(true, Ordering::Relaxed);
        Ok::<(), Error>(())
    })?;
    claim_success(report, &client, format_args!("every call has its own answer"));
    report.done(format_args!("two threads use one reply, and no answer is lost"));
    Ok(())
}

/// Clients that end in the middle.
fn deaths(report: &Report) -> Result<(), Error> {
    for round in 0..20 {
        let (client, receiver, _endpoint) = with_client(|connection| {
            let mut room = vec![0; LONG];
            i32::from(connection.call_lending(Message::default(), &[3; 256], &mut room).is_ok())
        })?;
        receiver.receive()?;
        let bytes = vec![round; LONG];
        let killer = Process::fork_into(Share::default(), || {
            sleep(Duration::from_micros(u64::from(round) * 50));
            i32::from(client.kill(9).is_err())
        })?;
        let end = loop {
            if let Err(error) = receiver.write(0, &bytes) {
                break error;
            }
        };
        claim_eq!(report, end, Error::NotFound, "a client that is killed in the middle of a copy");
        claim_success(report, &killer, format_args!("the killer"));
        client.wait()?;
    }
    report.done(format_args!("a client that is killed in the middle harms no server"));
    Ok(())
}

/// One of the calls that copy, with these arguments behind the reply.
fn copy(receiver: &Receiver, way: Call, arguments: [u64; 3]) -> Result<u64, Error> {
    copy_through(receiver.handle(), way, arguments)
}

#[expect(unsafe_code, reason = "a call that the library does not make")]
fn copy_through(reply: Handle, way: Call, [offset, buffer, bytes]: [u64; 3]) -> Result<u64, Error> {
    // SAFETY: the buffer is not there, or the caller's own and not otherwise used.
    let answer = unsafe { graft_rt::call::raw(way as u64, [reply.0.into(), offset, buffer, bytes, 0, 0]) };
    Error::from_register(answer.x0)
}

/// Lends whatever is at these addresses.
#[expect(unsafe_code, reason = "memory that there is no reference to")]
fn raw_lending(connection: &Connection, [read, reads, write, writes]: [usize; 4]) -> Result<Message, Error> {
    // SAFETY: never accessed by this program: the kernel refuses what is not there.
    let (read, write) = unsafe {
        (
            core::slice::from_raw_parts(core::ptr::with_exposed_provenance(read), reads),
            core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(write), writes),
        )
    };
    connection.call_lending(Message::default(), read, write)
}
