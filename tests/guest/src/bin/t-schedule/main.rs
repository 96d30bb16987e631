//! Tests priorities and cores: who runs, who waits, and that a server works as urgently as its caller.
//!
//! Where a thread must not run, it is watched for a while; where it must, it is waited for, however long that takes.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod messages;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use graft_rt::message::{Endpoint, Message};
use graft_rt::process::{duplicate, sleep};
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap, wait_until};
use graft_rt::thread::{Cores, JoinHandle};
use graft_rt::{Arguments, Error, Process, Rights, Share, claim, claim_eq, process, sync, system, thread, time};

graft_rt::program!(main);

/// The first core, on which the test's own thread runs, too.
const FIRST: Cores = Cores::Some(1);
const LOW: u8 = 4;
const MIDDLE: u8 = 8;
const HIGH: u8 = 12;
/// What a program begins with, and may not exceed.
const OWN: u8 = 16;
const A_WHILE: Duration = Duration::from_millis(30);

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    if arguments.nth(1) == Some("--exact") {
        at_once(&report, Some(50_000))?;
        return Ok(report.finish());
    }
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    thread::schedule(OWN, FIRST)?;
    refusals(&report)?;
    urgency(&report)?;
    given(&report)?;
    at_once(&report, None)?;
    demoted(&report)?;
    turns(&report)?;
    messages::servers(&report)?;
    messages::gone(&report)?;
    messages::answered(&report)?;
    messages::handed_on(&report)?;
    messages::turns_after_a_call(&report)?;
    cores(&report)?;
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// A thread that becomes ready runs before one that has made itself less urgent goes on. Far sooner than at the end of
/// a slice, where instructions are counted: elsewhere the host decides when an interrupt comes.
fn at_once(report: &Report, limit: Option<u64>) -> Result<(), Error> {
    let word = AtomicU32::new(0);
    let ran_at = AtomicU64::new(0);
    let woken_at = thread::scope(|scope| {
        on_first(scope, HIGH, || {
            while word.load(Ordering::SeqCst) == 0 {
                let _ = sync::wait_on(&word, 0, None);
            }
            ran_at.store(now(), Ordering::SeqCst);
        })?;
        sleep(Duration::from_millis(1));
        thread::schedule(LOW, FIRST)?;
        word.store(1, Ordering::SeqCst);
        let woken_at = now();
        claim!(report, sync::wake(&word), "a thread waits on the word");
        while ran_at.load(Ordering::SeqCst) == 0 {
            core::hint::spin_loop();
        }
        thread::schedule(OWN, FIRST)?;
        Ok::<_, Error>(woken_at)
    })?;
    let waited = ran_at.load(Ordering::SeqCst) - woken_at;
    claim!(report, limit.is_none_or(|limit| waited < limit), "a more urgent thread has waited for {waited} ns");
    report.done(format_args!("a more urgent thread that becomes ready runs at once"));
    Ok(())
}

/// A thread that goes on and on loses its core to the others when it is made less urgent than they are.
fn demoted(report: &Report) -> Result<(), Error> {
    if system::info()?.cores < 2 {
        return Ok(());
    }
    let counter = Counter::new();
    let (may_end, has_ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let long = on_first(scope, HIGH, || counter.run())?;
        counter.wait_for_more();
        on_first(scope, MIDDLE, || {
            while !may_end.load(Ordering::SeqCst) {
                core::hint::spin_loop();
            }
            has_ended.store(true, Ordering::SeqCst);
        })?;
        thread::schedule(OWN, Cores::Some(2))?;
        may_end.store(true, Ordering::SeqCst);
        long.schedule(LOW, FIRST)?;
        claim!(report, wait_until(|| has_ended.load(Ordering::SeqCst)), "a thread that is more urgent now");
        counter.stop();
        thread::schedule(OWN, FIRST)
    })?;
    report.done(format_args!("a thread that runs is made less urgent at once"));
    Ok(())
}

/// Nanoseconds.
fn now() -> u64 {
    time::clock().as_nanos() as u64
}

/// Counts until it is stopped.
struct Counter {
    count: AtomicU64,
    stopped: AtomicBool,
}

impl Counter {
    const fn new() -> Counter {
        Counter { count: AtomicU64::new(0), stopped: AtomicBool::new(false) }
    }

    fn run(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Sleeps until it has counted on.
    fn wait_for_more(&self) {
        let before = self.now();
        while self.now() == before {
            sleep(Duration::from_millis(1));
        }
    }
}

fn spin(duration: Duration) {
    let end = time::clock() + duration;
    while time::clock() < end {}
}

fn refusals(report: &Report) -> Result<(), Error> {
    claim_eq!(report, thread::schedule(OWN + 1, FIRST), Err(Error::NotAllowed), "a priority above the limit");
    claim_eq!(report, thread::schedule(32, FIRST), Err(Error::BadArgument), "a priority that there is not");
    claim_eq!(report, thread::schedule(OWN, Cores::Some(1 << 7)), Err(Error::BadArgument), "a core that there is not");
    claim_eq!(report, thread::schedule(OWN, Cores::Some(1 << 40)), Err(Error::BadArgument), "nor this one");
    let other = thread::spawn(|| ())?;
    let weak = duplicate(other.handle(), Rights::WAIT)?;
    claim_eq!(report, schedule(weak.0.into(), OWN.into()), Err(Error::NoRight), "another thread's, without the right");
    claim_eq!(report, schedule(9999, OWN.into()), Err(Error::BadHandle), "nobody's");
    process::close(weak)?;
    other.join()?;
    // What a program starts may go as high as that and no higher, whatever its maker might.
    thread::schedule(HIGH, FIRST)?;
    let child = Process::fork_into(Share::default(), || i32::from(thread::schedule(OWN, Cores::All).is_err()))?;
    claim!(report, matches!(child.wait()?, graft_rt::ExitStatus::Exited(0)), "a fork has its parent's limit");
    thread::schedule(OWN, FIRST)?;
    report.done(format_args!("a thread gets no priority above its limit, and no core that is not there"));
    Ok(())
}

/// The call as it is, with any handle.
#[allow(unsafe_code)]
fn schedule(thread: u64, priority: u64) -> Result<(), Error> {
    // SAFETY: the call touches no memory.
    let answer = unsafe { graft_rt::call::raw(graft_rt::abi::Call::Schedule as u64, [thread, priority, 0, 0, 0, 0]) };
    Error::from_register(answer.x0).map(drop)
}

/// A thread on the first core, with this priority before it has done anything.
fn on_first<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    priority: u8,
    work: impl FnOnce() + Send + 'scope,
) -> Result<JoinHandle<()>, Error> {
    scope.spawn(move || {
        if thread::schedule(priority, FIRST).is_ok() {
            work();
        }
    })
}

fn urgency(report: &Report) -> Result<(), Error> {
    let (low, middle) = (Counter::new(), Counter::new());
    thread::scope(|scope| {
        on_first(scope, LOW, || low.run())?;
        low.wait_for_more();
        let before = low.now();
        spin(A_WHILE);
        claim_eq!(report, low.now(), before, "a thread of a lower priority while this one runs");
        on_first(scope, MIDDLE, || middle.run())?;
        middle.wait_for_more();
        let before = low.now();
        middle.wait_for_more();
        sleep(A_WHILE);
        claim_eq!(report, low.now(), before, "the lowest of three while the middle one runs");
        middle.stop();
        low.wait_for_more();
        low.stop();
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("a thread runs when no thread of a higher priority can, and then at once"));
    Ok(())
}

/// A thread that another gives its priority.
fn given(report: &Report) -> Result<(), Error> {
    let counter = Counter::new();
    thread::scope(|scope| {
        let thread = scope.spawn(|| counter.run())?;
        counter.wait_for_more();
        thread.schedule(LOW, FIRST)?;
        // Now it begins to run again.
        counter.wait_for_more();
        let before = counter.now();
        spin(A_WHILE);
        claim_eq!(report, counter.now(), before, "a thread that was given a lower priority");
        thread.schedule(OWN, FIRST)?;
        let before = counter.now();
        while counter.now() == before {}
        counter.stop();
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("a thread has the priority that another gives it"));
    Ok(())
}

fn turns(report: &Report) -> Result<(), Error> {
    let counters = [const { Counter::new() }; 3];
    thread::scope(|scope| {
        for counter in &counters {
            on_first(scope, LOW, || counter.run())?;
        }
        for _ in 0..3 {
            counters.iter().for_each(Counter::wait_for_more);
        }
        counters.iter().for_each(Counter::stop);
        Ok::<_, Error>(())
    })?;
    claim!(report, counters.iter().all(|counter| counter.now() > 0), "all of them");
    report.done(format_args!("threads of one priority take turns"));
    Ok(())
}

fn cores(report: &Report) -> Result<(), Error> {
    if system::info()?.cores < 2 {
        return Ok(());
    }
    let (here, there) = (Counter::new(), Counter::new());
    thread::scope(|scope| {
        on_first(scope, LOW, || here.run())?;
        scope.spawn(|| thread::schedule(LOW, Cores::Some(2)).is_ok().then(|| there.run()))?;
        here.wait_for_more();
        there.wait_for_more();
        let (before_here, before_there) = (here.now(), there.now());
        while there.now() == before_there {}
        claim_eq!(report, here.now(), before_here, "a thread of this core while another core's runs");
        here.stop();
        there.stop();
        Ok::<_, Error>(())
    })?;
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(0)?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            thread::schedule(LOW, Cores::Some(2))?;
            let receiver = endpoint.receiver()?;
            let mut received = receiver.receive()?;
            while received.message.words[0] != 0 {
                received = receiver.reply_receive(received.message)?;
            }
            receiver.reply(Message::default())
        })?;
        let mut answered = 0;
        for number in 1..=200 {
            let message = Message::words([number; 6]);
            answered += u64::from(connection.call(message) == Ok(message));
        }
        connection.call(Message::default())?;
        claim_eq!(report, answered, 200, "calls from one core to another");
        claim_eq!(report, server.join()?, Ok(()), "the server of another core");
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("a thread runs on its cores alone, and is called from others"));
    Ok(())
}
