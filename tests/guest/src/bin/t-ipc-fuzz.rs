//! Random calls between processes that end at random, with an oracle: `t-ipc-fuzz [ROUNDS [SEED]]`. Each round says its
//! seed when something has failed; `t-ipc-fuzz 1 SEED` is that round alone.
//!
//! ```text
//!   callers ──▶ endpoints of servers: answer, answer twice, hand the reply to another thread, forget it, keep it, call
//!      │           │                  each other, fork, end
//!      └─ ledger ──┘   a page that all of them share: which calls have been received, and which answered
//! ```
//!
//! Every call is received once at most and answered once at most, with an answer of its own, through the connection
//! whose badge its server has seen; it ends with a permitted result; a handle that went with it is on one of the two
//! sides; and in the end no process stands still, no server has kept a caller's priority, and no frame is lost.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use core::time::Duration;

use graft_rt::abi::{PAGE_SIZE, ProcessState};
use graft_rt::memory::Shared;
use graft_rt::message::{Connection, Endpoint, Message, Receiver};
use graft_rt::notification::Notification;
use graft_rt::process::{close, duplicate, sleep};
use graft_rt::sync::Mutex;
use graft_rt::test::{FreeFrames, Numbers, Report, touch_stack_and_heap, wait_until};
use graft_rt::thread::{self, Cores};
use graft_rt::{
    Arguments, Error, ExitStatus, Handle, Permissions, Process, Region, Rights, Share, claim, println, time,
};

graft_rt::program!(main);

const ROUNDS: u64 = 40;
const ENDPOINTS: usize = 3;
/// Connections to each.
const CONNECTIONS: usize = 2;
const CALLERS: usize = 4;
/// Threads of a caller that come and go with it: the first one sends handles, too.
const CALLS: u64 = 60;
/// Of a server, all with this priority; the callers' are above it, and so is the first process's.
const SERVER_THREADS: u64 = 2;
const SERVER_PRIORITY: u8 = 2;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a message is, in one of its words: a call, one without an answer, a call of another server, and one that is to
/// show the server's priority.
const CALL: u64 = 0;
const SENT: u64 = 1;
const NESTED: u64 = 2;
const PROBE: u64 = 3;

/// What all processes of a round share: words of a page.
#[derive(Clone, Copy)]
struct Ledger<'a>(&'a Region);

/// Of each caller's calls, the last ones: a word for each, of each of these kinds.
#[derive(Clone, Copy)]
enum Fate {
    Received,
    Answered,
    Accepted,
}

impl Ledger<'_> {
    const FAILED: usize = 0;
    const OVER: usize = 1;
    const PROBED: usize = 2;
    const FIRST: usize = 8;
    const LAST_CALLS: usize = 32;

    #[allow(unsafe_code)]
    fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < PAGE_SIZE / 8);
        // SAFETY: a word of the region, which stays, and which all use in this way alone.
        unsafe { AtomicU64::from_ptr((self.0.address() as *mut u64).add(index)) }
    }

    /// Notes the fate of a call: `false` if that is known already. What is late tells nothing: its word may be that of
    /// a later call of the same caller, whose numbers grow, and stays it.
    fn note(&self, fate: Fate, id: u64) -> bool {
        self.fate(fate, id).fetch_max(id, SeqCst) != id
    }

    fn fate(&self, fate: Fate, id: u64) -> &AtomicU64 {
        let (caller, number) = ((id >> 32) as usize % CALLERS, id as usize % Self::LAST_CALLS);
        self.word(Self::FIRST + (caller * 3 + fate as usize) * Self::LAST_CALLS + number)
    }

    fn claim(&self, holds: bool, what: &str, id: u64) {
        if !holds {
            self.word(Self::FAILED).fetch_add(1, SeqCst);
            println!("FAILED: {what}, call {id:#x}");
        }
    }

    fn is_over(&self) -> bool {
        self.word(Self::OVER).load(SeqCst) != 0
    }
}

/// A call that a server has to answer: the reply that keeps it, and what the answer says.
struct Open {
    reply: Receiver,
    id: u64,
    badge: u64,
    handle: Handle,
}

/// What the threads of a server share.
struct Server<'a> {
    ledger: Ledger<'a>,
    endpoint: &'a Endpoint,
    connections: &'a [Connection],
    /// Calls that a thread has left to another.
    left: Mutex<Vec<Open>>,
}

fn badge(connection: usize) -> u64 {
    0xbad_0000 + connection as u64
}

/// A moment near the present one, on either side.
fn soon(numbers: &mut Numbers) -> Duration {
    time::clock().saturating_sub(Duration::from_micros(1)) + Duration::from_nanos(numbers.below(400_000) as u64)
}

fn close_if_some(handle: Handle) -> bool {
    handle == Handle::NONE || close(handle).is_ok()
}

impl Server<'_> {
    fn serve(&self, seed: u64) {
        let mut numbers = Numbers::new(seed);
        let mut receiver = None;
        let mut kept: Vec<Open> = Vec::new();
        while !self.ledger.is_over() {
            let Some(waiting) = receiver.take().or_else(|| self.endpoint.receiver().ok()) else { continue };
            let left = self.left.lock().pop();
            left.into_iter().for_each(|open| self.answer(open, &mut numbers));
            if kept.len() > 2 || (!kept.is_empty() && numbers.below(4) == 0) {
                self.answer(kept.swap_remove(0), &mut numbers);
            }
            let received = match waiting.receive_until(soon(&mut numbers)) {
                Ok(received) => received,
                Err(error) => {
                    self.ledger.claim(error == Error::TimedOut, "a server receives", 0);
                    receiver = Some(waiting);
                    continue;
                }
            };
            let [id, check, expected, kind, ..] = received.message.words;
            if kind == PROBE || kind == NESTED {
                let answer = waiting.reply(received.message);
                let permitted = match kind {
                    PROBE => &[Err(Error::NotFound)][..],
                    _ => &[Ok(()), Err(Error::Gone)],
                };
                self.ledger.claim(permitted.contains(&answer), "an answer without a call", id);
                if kind == PROBE {
                    self.ledger.word(Ledger::PROBED).store(1, SeqCst);
                }
                receiver = Some(waiting);
                continue;
            }
            let right = check == id.wrapping_mul(FACTOR) && received.message.words[5] == !id;
            self.ledger.claim(right, "a message arrives as another", id);
            self.ledger.claim(expected == received.badge, "a badge is another's", id);
            self.ledger.claim(self.ledger.note(Fate::Received, id), "a message is received twice", id);
            if kind == SENT {
                close_if_some(received.message.handle);
                receiver = Some(waiting);
                continue;
            }
            let open = Open { reply: waiting, id, badge: received.badge, handle: received.message.handle };
            match numbers.below(16) {
                0 => kept.push(open),
                1 => self.left.lock().push(open),
                // Given up, with the reply or with the next call that it receives.
                2 => _ = close_if_some(open.handle),
                3 => {
                    close_if_some(open.handle);
                    receiver = Some(open.reply);
                }
                4 => {
                    // Through another server, or this one itself.
                    let connection = &self.connections[numbers.below(self.connections.len())];
                    let _ = connection.call_until(Message::words([0, 0, 0, NESTED, 0, 0]), soon(&mut numbers));
                    self.answer(open, &mut numbers);
                }
                5 => {
                    if let Ok(child) = Process::fork_into(numbers.choose(&Share::ALL), || 0) {
                        let _ = child.wait();
                    }
                    self.answer(open, &mut numbers);
                }
                _ => receiver = self.answer_here(open, &mut numbers),
            }
        }
        kept.into_iter().for_each(|open| _ = close_if_some(open.handle));
    }

    fn answer(&self, open: Open, numbers: &mut Numbers) {
        drop(self.answer_here(open, numbers));
    }

    /// Answers, with the handle that came with the call, or without. Returns the reply.
    fn answer_here(&self, open: Open, numbers: &mut Numbers) -> Option<Receiver> {
        let Open { reply, id, badge, handle } = open;
        let arrived = handle != Handle::NONE;
        let gives_back = arrived && numbers.below(2) == 0;
        if arrived && !gives_back {
            self.ledger.claim(close(handle).is_ok(), "a handle that has arrived names nothing", id);
        }
        let words = [id, badge, u64::from(arrived), u64::from(gives_back), id.wrapping_mul(FACTOR), !id];
        let message = Message { words, handle: if gives_back { handle } else { Handle::NONE } };
        self.ledger.note(Fate::Answered, id);
        let answered = reply.reply(message);
        match answered {
            // A handle that has stayed, because the caller's table was busy, goes with this process: its number may be
            // that of another by now.
            Ok(()) => self.ledger.claim(self.ledger.note(Fate::Accepted, id), "a call is answered twice", id),
            Err(error) => {
                self.ledger.claim(error == Error::Gone, "an answer is refused", id);
                self.ledger.claim(!gives_back || close(handle).is_ok(), "a handle has gone with no answer", id);
            }
        }
        if numbers.below(8) == 0 {
            let again = reply.reply(Message::words(words));
            self.ledger.claim(again == Err(Error::NotFound), "a reply is used twice", id);
        }
        Some(reply)
    }
}

/// A process that receives at an endpoint until the round is over.
fn server(server: &Server<'_>, seed: u64, cores: Cores) -> i32 {
    let _ = thread::schedule(SERVER_PRIORITY, cores);
    thread::scope(|scope| {
        for index in 1..SERVER_THREADS {
            let _ = scope.spawn(move || server.serve(seed + index));
        }
        server.serve(seed);
    });
    0
}

/// A process that makes calls: 0 once it has made all of them.
fn caller(ledger: Ledger<'_>, connections: &[Connection], first: u64, seed: u64) -> i32 {
    let mut numbers = Numbers::new(seed);
    let Ok(token) = Notification::new() else { return 1 };
    for id in first..first + CALLS {
        if numbers.below(8) == 0 {
            let _ = thread::schedule(SERVER_PRIORITY + 1 + numbers.below(5) as u8, Cores::All);
        }
        let at = numbers.below(connections.len());
        let handle = match numbers.below(3) {
            0 => duplicate(token.handle(), Rights::ALL).unwrap_or(Handle::NONE),
            _ => Handle::NONE,
        };
        let kind = if numbers.below(10) == 0 { SENT } else { CALL };
        let message = Message { words: [id, id.wrapping_mul(FACTOR), badge(at), kind, 0, !id], handle };
        if kind == SENT {
            let sent = connections[at].send(message);
            ledger.claim(matches!(sent, Ok(()) | Err(Error::NotReady | Error::Gone)), "a message is sent", id);
            let stays = handle != Handle::NONE && close(handle).is_ok();
            ledger.claim(handle == Handle::NONE || sent.is_ok() || stays, "a handle has gone with no message", id);
            continue;
        }
        let deadline = (numbers.below(4) != 0).then(|| soon(&mut numbers));
        let answer = match deadline {
            Some(deadline) => connections[at].call_until(message, deadline),
            None => connections[at].call(message),
        };
        match answer {
            Ok(answer) => check(ledger, id, at, handle, answer, &token),
            Err(error) => {
                let too_late = deadline.is_some_and(|deadline| time::clock() >= deadline);
                let permitted = error == Error::Gone || (error == Error::TimedOut && too_late);
                ledger.claim(permitted, "a call ends with something else, or too early", id);
                // On one of the two sides: here there is nothing that it could be taken for.
                close_if_some(handle);
            }
        }
    }
    0
}

/// What an answer says.
fn check(ledger: Ledger<'_>, id: u64, at: usize, sent: Handle, answer: Message, token: &Notification) {
    let [its_id, its_badge, arrived, gives_back, product, inverse] = answer.words;
    let right = its_id == id && its_badge == badge(at) && product == id.wrapping_mul(FACTOR) && inverse == !id;
    ledger.claim(right, "an answer is another's", id);
    let known = [Fate::Received, Fate::Answered].iter().all(|&fate| ledger.fate(fate, id).load(SeqCst) == id);
    ledger.claim(known, "an answer comes from nowhere", id);
    if answer.handle != Handle::NONE {
        ledger.claim(gives_back == 1, "a handle comes that was not sent", id);
        let bit = 1 << (id % 64);
        let back = Notification::from_handle(answer.handle);
        let notified = back.notify(bit);
        ledger.claim(notified.is_ok() && token.wait_until(Duration::ZERO) == Ok(bit), "a handle is another's", id);
    }
    if sent != Handle::NONE && sent != answer.handle {
        let stays = close(sent).is_ok();
        ledger.claim(stays == (arrived == 0), "a handle is on both sides, or on none", id);
    }
}

fn round(seed: u64, report: &Report) -> Result<(), Error> {
    let mut numbers = Numbers::new(seed);
    let page = Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?;
    let ledger = Ledger(&page);
    let pinned = seed.is_multiple_of(2);
    let mut endpoints = Vec::new();
    let mut connections = Vec::new();
    for _ in 0..ENDPOINTS {
        let endpoint = Endpoint::new()?;
        for _ in 0..CONNECTIONS {
            connections.push(endpoint.connect(badge(connections.len()))?);
        }
        endpoints.push(endpoint);
    }
    let mut servers = Vec::new();
    for index in 0..ENDPOINTS {
        servers.push(Process::fork_into(numbers.choose(&Share::ALL), || {
            endpoints.iter().enumerate().filter(|(other, _)| *other != index).for_each(|(_, endpoint)| {
                let _ = close(endpoint.handle());
            });
            let cores = if pinned { Cores::Some(1) } else { Cores::All };
            let left = Mutex::new(Vec::new());
            let endpoint = &endpoints[index];
            server(&Server { ledger, endpoint, connections: &connections, left }, seed * 64 + 8 * index as u64, cores)
        })?);
    }
    // From here on they are the servers' alone.
    drop(endpoints);
    let start = |index: usize, generation: u64, numbers: &mut Numbers| {
        let (first, seed) = ((generation * CALLERS as u64 + index as u64) << 32 | 1, numbers.next());
        Process::fork_into(numbers.choose(&Share::ALL), || caller(ledger, &connections, first, seed))
    };
    let mut callers = Vec::new();
    for index in 0..CALLERS {
        callers.push(start(index, 0, &mut numbers)?);
    }
    for generation in 1..1 + numbers.below(6) as u64 {
        sleep(Duration::from_micros(numbers.below(6_000) as u64));
        let index = numbers.below(CALLERS);
        match numbers.below(3) {
            0 => _ = servers[index % ENDPOINTS].kill(9),
            _ => {
                callers[index].kill(9)?;
                callers[index].wait()?;
                callers[index] = start(index, generation, &mut numbers)?;
            }
        }
    }
    for caller in &callers {
        // A call without a deadline may be kept for as long as its server lives, but each of these goes on.
        ends(report, caller, seed, "a caller")?;
    }
    if pinned {
        for (index, server) in servers.iter().enumerate() {
            priority(report, ledger, server, &connections[index * CONNECTIONS], seed)?;
        }
    }
    ledger.word(Ledger::OVER).store(1, SeqCst);
    for server in &servers {
        ends(report, server, seed, "a server")?;
    }
    let gone = connections[0].call(Message::default());
    claim!(report, gone == Err(Error::Gone), "seed {seed}: a call to a server that has ended: {gone:?}");
    claim!(report, ledger.word(Ledger::FAILED).load(SeqCst) == 0, "seed {seed}");
    Ok(())
}

/// Claims that a process ends, by itself or because it was killed before.
fn ends(report: &Report, process: &Process, seed: u64, what: &str) -> Result<(), Error> {
    let ended = wait_until(|| process.info().is_ok_and(|info| info.state == ProcessState::Ended as u32));
    claim!(report, ended, "seed {seed}: {what} stands still");
    let _ = process.kill(1);
    let status = process.wait()?;
    let right = status.is_success() || status == ExitStatus::Killed(9);
    claim!(report, right, "seed {seed}: {what}: it {status}");
    Ok(())
}

/// Claims that a server that has no call left to answer is as urgent as it was, on the core that this thread runs on.
fn priority(
    report: &Report,
    ledger: Ledger<'_>,
    server: &Process,
    connection: &Connection,
    seed: u64,
) -> Result<(), Error> {
    thread::schedule(SERVER_PRIORITY + 1, Cores::Some(1))?;
    let word = ledger.word(Ledger::PROBED);
    word.store(0, SeqCst);
    let mut has_run = false;
    let has_ended = || server.info().is_ok_and(|info| info.state == ProcessState::Ended as u32);
    let sent = wait_until(|| {
        if connection.send(Message::words([0, 0, 0, PROBE, 0, 0])).is_err() {
            return has_ended();
        }
        // Less urgent than this thread, on the same core: not before this one waits.
        has_run = word.load(SeqCst) != 0;
        true
    });
    // Before the next one is asked.
    let arrived = wait_until(|| word.load(SeqCst) != 0 || has_ended());
    claim!(report, sent && arrived && !has_run, "seed {seed}: a server has kept a caller's priority");
    thread::schedule(16, Cores::All)
}

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let _name = number(0);
    let (rounds, first) = (number(ROUNDS), number(1));
    let mut lost = FreeFrames::now();
    for seed in first..first + rounds {
        round(seed, &report)?;
        if report.has_failures() {
            println!("again: t-ipc-fuzz 1 {seed}");
            break;
        }
        if seed == first {
            // The heap has what it needs from here on.
            lost = FreeFrames::now();
        }
    }
    lost.claim_same(&report, format_args!("after all of it"));
    report.done(format_args!("{rounds} rounds from seed {first}"));
    Ok(report.finish())
}
