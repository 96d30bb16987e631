//! Tests notifications, and what threads of one process wait with: a word of memory, and what is made of that.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::notification::Notification;
use graft_rt::process::{duplicate, sleep};
use graft_rt::sync::{Condvar, Mutex, Semaphore, wait_on, wake};
use graft_rt::test::{FreeFrames, Report, claim_success, touch_stack_and_heap};
use graft_rt::{Arguments, Error, Process, Rights, Share, claim, claim_eq, process, thread, time};

graft_rt::program!(main);

const A_MOMENT: Duration = Duration::from_millis(5);
/// Longer than anything here takes.
const SOME_TIME: Duration = Duration::from_secs(20);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    bits(&report)?;
    processes(&report)?;
    crowd(&report)?;
    deaths(&report)?;
    arrivals(&report)?;
    connections(&report)?;
    refusals(&report)?;
    words(&report)?;
    mutex(&report)?;
    queue(&report)?;
    permits(&report)?;
    storm(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn bits(report: &Report) -> Result<(), Error> {
    let notification = Notification::new()?;
    claim_eq!(report, notification.take(), Ok(0), "nothing yet");
    notification.notify(0b101)?;
    notification.notify(0b110 | 1 << 63)?;
    notification.notify(0)?;
    claim_eq!(report, notification.wait(), Ok(0b111 | 1 << 63), "bits of two together");
    claim_eq!(report, notification.take(), Ok(0), "taken once");
    let soon = time::clock() + A_MOMENT;
    claim_eq!(report, notification.wait_until(soon), Err(Error::TimedOut), "a wait for nothing");
    claim!(report, time::clock() >= soon, "not before its deadline");
    notification.notify(8)?;
    claim_eq!(report, notification.wait_until(soon), Ok(8), "bits that are there, though the deadline has passed");
    report.done(format_args!("bits stay until they are taken, all at once, and a wait has its deadline"));
    Ok(())
}

/// Two processes that wake each other.
fn processes(report: &Report) -> Result<(), Error> {
    const TURNS: u64 = 500;
    let [there, back] = [Notification::new()?, Notification::new()?];
    let child = Process::fork_into(Share::default(), || {
        for turn in 1..=TURNS {
            if there.wait() != Ok(turn) || back.notify(turn << 32).is_err() {
                return 1;
            }
        }
        0
    })?;
    let mut answers = 0;
    for turn in 1..=TURNS {
        there.notify(turn)?;
        answers += u64::from(back.wait() == Ok(turn << 32));
    }
    claim_eq!(report, answers, TURNS, "answers");
    claim_success(report, &child, format_args!("the other process"));
    report.done(format_args!("processes wake each other, and no wake-up is lost"));
    Ok(())
}

/// Each bit that is set arrives once, whatever comes together.
fn crowd(report: &Report) -> Result<(), Error> {
    let notification = Notification::new()?;
    let (taken, rounds) = (AtomicU64::new(0), 300);
    thread::scope(|scope| {
        let mut waiters = Vec::new();
        for _ in 0..4 {
            waiters.push(scope.spawn(|| {
                loop {
                    match notification.wait() {
                        // The last one passes the end on.
                        Ok(bits) if bits >> 63 != 0 => return notification.notify(1 << 63),
                        Ok(bits) => taken.fetch_add(u64::from(bits.count_ones()), Ordering::Relaxed),
                        Err(error) => return Err(error),
                    };
                }
            })?);
        }
        for round in 0..rounds {
            let before = taken.load(Ordering::Relaxed);
            for bit in 0..8 {
                notification.notify(1 << bit)?;
            }
            // So that none comes twice before it is taken.
            while taken.load(Ordering::Relaxed) < before + 8 {
                thread::yield_now();
            }
            claim!(report, taken.load(Ordering::Relaxed) == before + 8, "round {round}: each bit once");
        }
        notification.notify(1 << 63)?;
        for waiter in waiters {
            claim_eq!(report, waiter.join()?, Ok(()), "a waiter");
        }
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("of several waiters one gets a bit, and each of them comes to its end"));
    Ok(())
}

fn deaths(report: &Report) -> Result<(), Error> {
    let notification = Notification::new()?;
    let gate = Notification::new()?;
    let child = Process::fork_into(Share::default(), || i32::from(gate.wait().is_err()))?;
    notification.bind_end(1, child.handle())?;
    claim_eq!(report, notification.bind_end(2, child.handle()), Err(Error::NotAllowed), "a second binding");
    claim_eq!(report, notification.take(), Ok(0), "while it lives");
    gate.notify(1)?;
    claim_eq!(report, notification.wait(), Ok(1), "the end of a process");
    claim_success(report, &child, format_args!("that process"));
    notification.bind_end(4, child.handle())?;
    claim_eq!(report, notification.take(), Ok(4), "an end that has been");
    let other = thread::spawn(|| sleep(A_MOMENT))?;
    notification.bind_end(8, other.handle())?;
    claim_eq!(report, notification.wait(), Ok(8), "the end of a thread");
    other.join()?;
    // What is bound goes with the process, though it never ends in time.
    let child = Process::fork_into(Share::default(), || i32::from(gate.wait().is_err()))?;
    Notification::new()?.bind_end(1, child.handle())?;
    gate.notify(1)?;
    claim_success(report, &child, format_args!("a process whose end interests no thread"));
    report.done(format_args!("ends of processes and threads set bits, once"));
    Ok(())
}

/// One thread serves an endpoint, a process's end, and the passing of time.
fn arrivals(report: &Report) -> Result<(), Error> {
    const CALLS: u64 = 100;
    let (endpoint, notification) = (Endpoint::new()?, Notification::new()?);
    let (connection, receiver) = (endpoint.connect(6)?, endpoint.receiver()?);
    notification.bind_endpoint(1, &endpoint)?;
    let client = Process::fork_into(Share::default(), || {
        let answered = |number| connection.call(Message::words([number; 6])) == Ok(Message::words([!number; 6]));
        i32::from(!(0..CALLS).all(answered))
    })?;
    notification.bind_end(2, client.handle())?;
    let (mut served, mut ended, mut waited) = (0, false, 0);
    while !ended {
        let bits = match notification.wait_until(time::clock() + Duration::from_secs(1)) {
            Err(Error::TimedOut) => {
                waited += 1;
                continue;
            }
            bits => bits?,
        };
        ended = bits & 2 != 0;
        while let Ok(received) = receiver.receive_until(Duration::from_nanos(1)) {
            receiver.reply(Message::words(received.message.words.map(|word| !word)))?;
            served += 1;
        }
        claim!(report, bits & !3 == 0, "no other bits");
    }
    claim_eq!(report, served, CALLS, "calls of which the server was told, {waited} times after a second");
    claim_success(report, &client, format_args!("the client"));
    report.done(format_args!("one thread serves calls and ends, told by bits"));
    Ok(())
}

/// A server learns that a client has gone, when it has closed its connection, ended, or been answered.
fn connections(report: &Report) -> Result<(), Error> {
    let (endpoint, notification) = (Endpoint::new()?, Notification::new()?);
    let receiver = endpoint.receiver()?;
    let one = endpoint.connect(1)?;
    notification.bind_connection(7, &one)?;
    notification.bind_connection(1, &one)?;
    let other = duplicate(one.handle(), Rights::ALL)?;
    drop(one);
    claim_eq!(report, notification.take(), Ok(0), "a connection of which there is another handle");
    process::close(other)?;
    claim_eq!(report, notification.take(), Ok(1), "closed: what was bound last, and nothing before");

    let two = endpoint.connect(2)?;
    notification.bind_connection(2, &two)?;
    let client = Process::fork_into(Share::default(), || {
        // Its caller, which is killed while its call is open.
        i32::from(two.call(Message::default()).is_err())
    })?;
    drop(two);
    receiver.receive()?;
    claim_eq!(report, notification.take(), Ok(0), "a client that waits for an answer");
    client.kill(3)?;
    client.wait()?;
    claim_eq!(report, notification.wait_until(time::clock() + SOME_TIME), Ok(2), "a client that was killed");
    claim_eq!(report, receiver.reply(Message::default()), Err(Error::Gone), "an answer to it");

    let three = endpoint.connect(3)?;
    let mute = Connection::from_handle(duplicate(three.handle(), Rights::DUPLICATE)?);
    claim_eq!(report, notification.bind_connection(1, &mute), Err(Error::NoRight), "without the right to call");
    notification.bind_connection(4, &three)?;
    drop(three);
    claim_eq!(report, notification.take(), Ok(0), "a handle that is of no use is one");
    drop(mute);
    claim_eq!(report, notification.take(), Ok(4), "the last one");
    report
        .done(format_args!("the last handle to a connection, and its holder's end, are told to the one that bound it"));
    Ok(())
}

fn refusals(report: &Report) -> Result<(), Error> {
    let notification = Notification::new()?;
    let deaf = Notification::from_handle(duplicate(notification.handle(), Rights::WRITE)?);
    let mute = Notification::from_handle(duplicate(notification.handle(), Rights::READ)?);
    claim_eq!(report, deaf.take(), Err(Error::NoRight), "to wait without the right");
    claim_eq!(report, mute.notify(1), Err(Error::NoRight), "to notify without the right");
    claim_eq!(report, mute.bind_end(1, notification.handle()), Err(Error::NoRight), "to bind without the right");
    claim_eq!(report, notification.bind_end(1, mute.handle()), Err(Error::WrongObject), "what does not end");
    let child = Process::fork_into(Share::default(), || 0)?;
    let weak = child.duplicate(Rights::KILL)?;
    claim_eq!(report, notification.bind_end(1, weak.handle()), Err(Error::NoRight), "an end without the right to wait");
    claim_success(report, &child, format_args!("the child"));
    let other = thread::spawn(|| ())?;
    let weak = duplicate(other.handle(), Rights::NONE)?;
    claim_eq!(report, notification.bind_end(1, weak), Err(Error::NoRight), "a thread without the right to wait");
    process::close(weak)?;
    other.join()?;
    let endpoint = Endpoint::new()?;
    let weak = Endpoint::from_handle(duplicate(endpoint.handle(), Rights::DUPLICATE)?);
    claim_eq!(
        report,
        notification.bind_endpoint(1, &weak),
        Err(Error::NoRight),
        "an endpoint without the right to read"
    );
    claim_eq!(report, notification.bind_end(1, notification.handle()), Err(Error::WrongObject), "a notification");
    report.done(format_args!("what a handle does not permit is refused"));
    Ok(())
}

fn words(report: &Report) -> Result<(), Error> {
    let word = AtomicU32::new(7);
    let soon = || Some(time::clock() + A_MOMENT);
    claim_eq!(report, wait_on(&word, 8, None), Ok(()), "a word that is another one");
    claim_eq!(report, wait_on(&word, 7, soon()), Err(Error::TimedOut), "until its deadline");
    claim!(report, !wake(&word), "nobody waits there");
    let other = AtomicU32::new(7);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait_on(&word, 7, None))?;
        // Until it waits, which no call tells.
        while !wake(&word) {
            claim!(report, !wake(&other), "another word");
            sleep(Duration::from_micros(100));
        }
        claim_eq!(report, waiter.join()?, Ok(()), "woken");
        Ok::<_, Error>(())
    })?;
    #[allow(unsafe_code)]
    let raw = |address: u64| {
        // SAFETY: the call reads a word.
        let answer = unsafe { graft_rt::call::raw(graft_rt::abi::Call::WaitOn as u64, [address, 0, 1, 0, 0, 0]) };
        Error::from_register(answer.x0).map(drop)
    };
    claim_eq!(report, raw(0x7_0000_0000), Err(Error::BadAddress), "a word that is nowhere");
    claim_eq!(report, raw(2), Err(Error::Unaligned), "a word that is none");
    claim_eq!(report, raw(u64::MAX - 3), Err(Error::BadAddress), "a word of the kernel's");
    report.done(format_args!("a thread waits on a word until it is woken, and for no other word"));
    Ok(())
}

fn mutex(report: &Report) -> Result<(), Error> {
    const THREADS: u64 = 6;
    const TURNS: u64 = 2000;
    let value = Mutex::new((0u64, 0u64));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for turn in 0..TURNS {
                    let mut both = value.lock();
                    both.0 += 1;
                    // So that others find it taken.
                    if turn % 64 == 0 {
                        thread::yield_now();
                    }
                    both.1 += 1;
                }
            })?;
        }
        Ok::<_, Error>(())
    })?;
    let guard = value.lock();
    claim_eq!(report, *guard, (THREADS * TURNS, THREADS * TURNS), "both sums");
    claim!(report, value.try_lock().is_none(), "taken");
    drop(guard);
    claim!(report, value.try_lock().is_some(), "free");
    report.done(format_args!("a mutex lets one thread in at a time"));
    Ok(())
}

/// A queue of one place between producers and consumers.
fn queue(report: &Report) -> Result<(), Error> {
    const ITEMS: u64 = 1000;
    let (place, changed) = (Mutex::new(None::<u64>), Condvar::new());
    let sum = AtomicU64::new(0);
    thread::scope(|scope| {
        for producer in 0..2u64 {
            let (place, changed) = (&place, &changed);
            scope.spawn(move || {
                for item in 0..ITEMS {
                    let mut full = place.lock();
                    while full.is_some() {
                        full = changed.wait(full);
                    }
                    *full = Some(producer * ITEMS + item);
                    changed.notify_all();
                }
            })?;
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ITEMS {
                    let mut full = place.lock();
                    let item = loop {
                        match full.take() {
                            Some(item) => break item,
                            None => full = changed.wait(full),
                        }
                    };
                    sum.fetch_add(item, Ordering::Relaxed);
                    changed.notify_all();
                }
            })?;
        }
        Ok::<_, Error>(())
    })?;
    claim_eq!(report, sum.into_inner(), (0..2 * ITEMS).sum(), "what came out of it");
    report.done(format_args!("a condition variable loses no change"));
    Ok(())
}

fn permits(report: &Report) -> Result<(), Error> {
    let (semaphore, inside, most) = (Semaphore::new(2), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for turn in 0..400 {
                    semaphore.acquire();
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    if turn % 16 == 0 {
                        thread::yield_now();
                    }
                    inside.fetch_sub(1, Ordering::SeqCst);
                    semaphore.release();
                }
            })?;
        }
        Ok::<_, Error>(())
    })?;
    let most = most.into_inner();
    claim!(report, (1..=2).contains(&most), "{most} threads had a permit at once");
    claim!(report, semaphore.try_acquire() && semaphore.try_acquire() && !semaphore.try_acquire(), "permits left");
    report.done(format_args!("a semaphore lets as many in as it has permits"));
    Ok(())
}

/// Waiters that are killed, with and without a deadline, while others notify.
fn storm(report: &Report) -> Result<(), Error> {
    let notification = Notification::new()?;
    for round in 0..40 {
        let child = Process::fork_into(Share::default(), || {
            let others = [(); 3].map(|()| {
                let notification = duplicate(notification.handle(), Rights::READ).map(Notification::from_handle);
                thread::spawn(move || {
                    loop {
                        let _ = notification.as_ref().map(Notification::wait);
                    }
                })
            });
            let _ = core::hint::black_box(&others);
            loop {
                let _ = notification.wait_until(time::clock() + Duration::from_micros(200));
            }
        })?;
        for bit in 0..30 {
            notification.notify(1 << bit)?;
            if bit % 7 == round % 7 {
                thread::yield_now();
            }
        }
        child.kill(0)?;
        child.wait()?;
    }
    notification.take()?;
    notification.notify(1)?;
    claim_eq!(report, notification.wait(), Ok(1), "a notification that many have waited for");
    report.done(format_args!("waiters that are killed at any moment take nothing along"));
    Ok(())
}
