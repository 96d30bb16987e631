//! Tests processor time: who is charged with it, and that nothing is missing. `t-times --exact`, with one core and
//! instructions counted: to the last one.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use graft_rt::abi::{Call, SystemInfo, THREADS_MAX, ThreadInfo};
use graft_rt::message::{Endpoint, Message};
use graft_rt::process::{duplicate, sleep};
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap};
use graft_rt::thread::{Cores, JoinHandle};
use graft_rt::{
    Arguments, Error, Handle, Process, Rights, Share, claim, claim_eq, process, sync, system, thread, time,
};

graft_rt::program!(main);

/// The first core, on which all of the test runs.
const FIRST: Cores = Cores::Some(1);
const LOW: u8 = 4;
/// What a program begins with, and may not exceed.
const OWN: u8 = 16;
/// Nanoseconds.
const A_WHILE: u64 = 20_000_000;
/// What a call or two, and what is around a measurement, may take: in nanoseconds where instructions are counted.
const AROUND: u64 = 20_000;

/// How long interrupts may wait, in instructions.
const INTERRUPTS_WAIT: u64 = 20_000;

/// Whether the machine runs nothing else, and each instruction takes a nanosecond.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exactness {
    Exact,
    /// The host may take a core away at any moment: time goes by, and more of it is charged, never less.
    AtLeast,
}

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let exactness = if arguments.nth(1) == Some("--exact") { Exactness::Exact } else { Exactness::AtLeast };
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    thread::schedule(OWN, FIRST)?;
    refusals(&report)?;
    spinning(&report, exactness)?;
    servers(&report, exactness)?;
    processes(&report, exactness)?;
    idle(&report, exactness)?;
    if exactness == Exactness::Exact {
        many(&report)?;
        everything(&report)?;
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

/// Nanoseconds.
fn now() -> u64 {
    time::clock().as_nanos() as u64
}

/// Works until it has been charged with that much.
fn spend(nanoseconds: u64) {
    let used = |info: ThreadInfo| info.own_time + info.caller_time;
    let end = used(thread::own_info()) + nanoseconds;
    while used(thread::own_info()) < end {}
}

/// A thread on the first core, with this priority before it has done anything.
fn on_first<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    priority: u8,
    work: impl FnOnce() -> Result<T, Error> + Send + 'scope,
) -> Result<JoinHandle<Result<T, Error>>, Error> {
    scope.spawn(move || {
        thread::schedule(priority, FIRST)?;
        work()
    })
}

fn refusals(report: &Report) -> Result<(), Error> {
    let other = thread::spawn(|| ())?;
    let weak = duplicate(other.handle(), Rights::WAIT.or(Rights::SCHEDULE))?;
    claim_eq!(
        report,
        thread::info(weak).map(drop),
        Err(Error::NoRight),
        "a thread's time without the right to inspect"
    );
    claim_eq!(report, thread::info(Handle(9999)).map(drop), Err(Error::BadHandle), "no thread's");
    claim_eq!(report, thread::info(Handle::SYSTEM).map(drop), Err(Error::WrongObject), "the system's");
    claim_eq!(report, raw_info(0x1000), Err(Error::BadAddress), "an answer where nothing is mapped");
    claim_eq!(report, raw_info(u64::MAX - 7), Err(Error::BadAddress), "an answer in the kernel");
    process::close(weak)?;
    other.join()?;
    let info = thread::own_info();
    claim_eq!(
        report,
        (info.priority, info.own_priority, info.limit, info.cores),
        (16, 16, 16, 1),
        "how it is scheduled"
    );
    report.done(format_args!("a thread's time is told to those that may inspect it"));
    Ok(())
}

/// The call as it is, with any address.
#[allow(unsafe_code)]
fn raw_info(address: u64) -> Result<(), Error> {
    // SAFETY: nothing of the program's is at the addresses that it is given.
    let answer = unsafe { graft_rt::call::raw(Call::ThreadInfo as u64, [Handle::SELF.0.into(), address, 0, 0, 0, 0]) };
    Error::from_register(answer.x0).map(drop)
}

/// A thread that never gives way is charged with the time that goes by, and one that waits with none.
fn spinning(report: &Report, exactness: Exactness) -> Result<(), Error> {
    let (ran, may_end) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let other = on_first(scope, LOW, || {
            ran.store(1, Ordering::SeqCst);
            while !may_end.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(1));
            }
            spend(A_WHILE);
            Ok(())
        })?;
        while ran.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1));
        }
        let (before, other_before) = (thread::own_info(), other.info()?);
        while now() < before.clock + A_WHILE {}
        let (after, other_after) = (thread::own_info(), other.info()?);
        let (used, gone_by) = (after.own_time - before.own_time, after.clock - before.clock);
        claim!(report, used > 0 && used <= gone_by, "{used} ns of {gone_by} ns that it has spun");
        if exactness == Exactness::Exact {
            claim_eq!(report, used, gone_by, "a thread that spins, in instructions");
        }
        claim_eq!(report, after.caller_time, 0, "time for callers of a thread that has none");
        claim_eq!(report, other_after.own_time, other_before.own_time, "a less urgent thread meanwhile");
        may_end.store(true, Ordering::SeqCst);
        let handle = duplicate(other.handle(), Rights::INSPECT)?;
        other.join()??;
        let ended = thread::info(handle)?;
        claim!(report, ended.own_time >= other_before.own_time + A_WHILE, "a thread's time after its end");
        process::close(handle)?;
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("a thread is charged with the time in which it runs"));
    Ok(())
}

/// A server's time for its callers is told apart from its own, and none of it is charged to them.
fn servers(report: &Report, exactness: Exactness) -> Result<(), Error> {
    let endpoint = Endpoint::new()?;
    let connection = endpoint.connect(0)?;
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = on_first(scope, LOW, || {
            let receiver = endpoint.receiver()?;
            ready.store(true, Ordering::SeqCst);
            receiver.receive()?;
            spend(A_WHILE);
            // Answers and goes on with what is its own; then receives while a call is in line.
            receiver.reply(Message::default())?;
            spend(2 * A_WHILE);
            receiver.receive()?;
            spend(A_WHILE);
            receiver.reply_receive(Message::default())?;
            // Gives up the call.
            drop(receiver);
            spend(3 * A_WHILE);
            Ok(thread::own_info())
        })?;
        while !ready.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(1));
        let (own_before, server_before) = (thread::own_info(), server.info()?);
        connection.call(Message::default())?;
        let (own, first) = (thread::own_info(), server.info()?);
        let worked = first.caller_time - server_before.caller_time;
        claim!(report, worked >= A_WHILE, "{worked} ns for the caller");
        claim_eq!(report, first.priority, u32::from(LOW), "the server's priority after its answer");
        if exactness == Exactness::Exact {
            claim!(report, worked < A_WHILE + AROUND, "{worked} ns for the caller, not more");
            let more = first.own_time - server_before.own_time;
            claim!(report, more < AROUND, "{more} ns of its own while it has worked for the caller");
            let used = own.own_time - own_before.own_time;
            claim!(report, used < AROUND, "{used} ns of the caller's own");
            let sum = used + worked + more + own.caller_time;
            claim_eq!(report, sum, own.clock - own_before.clock, "both together are what has gone by");
        }
        connection.call(Message::default())?;
        claim_eq!(report, connection.call(Message::default()).map(drop), Err(Error::Gone), "a call that is given up");
        let last = server.join()??;
        let (own, worked) = (last.own_time - first.own_time, last.caller_time - first.caller_time);
        claim!(report, own >= 5 * A_WHILE && worked >= A_WHILE, "{own} ns of its own, {worked} for its caller");
        if exactness == Exactness::Exact {
            claim!(report, own < 5 * A_WHILE + AROUND && worked < A_WHILE + AROUND, "{own} ns, {worked} ns, not more");
        }
        Ok::<_, Error>(())
    })?;
    report.done(format_args!("the time that a server works for a caller is told apart"));
    Ok(())
}

/// A process's time is that of all its threads, those that have ended included, and stays when it has ended.
fn processes(report: &Report, exactness: Exactness) -> Result<(), Error> {
    let gone_before = system::info()?.gone_time;
    let child = Process::fork_into(Share::default(), || {
        let spend_some = || {
            spend(A_WHILE);
            Ok(())
        };
        let work = || thread::scope(|scope| on_first(scope, OWN, spend_some)?.join()?);
        i32::from(work().is_err() || work().is_err())
    })?;
    claim!(report, child.wait()?.is_success(), "a child with two threads");
    let ended = child.info()?;
    let used = ended.processor_time;
    claim!(report, used >= 2 * A_WHILE, "{used} ns in a process that has ended");
    if exactness == Exactness::Exact {
        claim!(report, used < 2 * A_WHILE + 30 * AROUND, "{used} ns, not more");
    }
    claim_eq!(report, (ended.caller_time, ended.priority), (0, 0), "time for callers, and the priority of no thread");
    drop(child);
    let gone = system::info()?.gone_time - gone_before;
    claim!(report, gone >= used, "{gone} ns of processes that are gone, {used} of it the child's");
    let own = process::own_info();
    claim_eq!(report, own.priority, u32::from(OWN), "the priority of a process");
    report.done(format_args!("a process's time outlives its threads, and then itself"));
    Ok(())
}

/// A core that has nothing to run is idle, and says so.
fn idle(report: &Report, exactness: Exactness) -> Result<(), Error> {
    let before = system::info()?;
    sleep(Duration::from_nanos(A_WHILE));
    let after = system::info()?;
    let gone_by = after.clock - before.clock;
    claim!(report, gone_by >= A_WHILE, "the sleep itself");
    for core in 0..after.cores as usize {
        let times = |info: &SystemInfo| (info.core_times[core], info.idle_times[core]);
        let ((time_before, idle_before), (time, idle)) = (times(&before), times(&after));
        claim!(report, idle <= time && idle >= idle_before, "core {core}: {idle} ns idle of {time}");
        claim!(report, time - time_before == gone_by || exactness != Exactness::Exact, "core {core}'s time");
        if exactness == Exactness::Exact {
            let idle = idle - idle_before;
            claim!(report, idle + AROUND > gone_by && idle < gone_by, "{idle} ns idle of {gone_by}");
        }
    }
    claim!(report, after.core_times[after.cores as usize..].iter().all(|&time| time == 0), "cores that there are not");
    report.done(format_args!("a core without a thread is idle"));
    Ok(())
}

/// A look at a process takes no longer than interrupts may wait, however many threads it has.
fn many(report: &Report) -> Result<(), Error> {
    const THREADS: u64 = 100;
    let word = AtomicU32::new(0);
    let look = || {
        let begin = now();
        let info = process::own_info();
        (now() - begin, info.threads)
    };
    look();
    let (one, _) = look();
    let (all, threads) = thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| while word.load(Ordering::SeqCst) == 0 && sync::wait_on(&word, 0, None).is_ok() {})?;
        }
        sleep(Duration::from_millis(1));
        let looked = look();
        word.store(1, Ordering::SeqCst);
        while sync::wake(&word) {}
        Ok::<_, Error>(looked)
    })?;
    let most = one + (all - one) * THREADS_MAX as u64 / THREADS;
    claim_eq!(report, u64::from(threads), THREADS + 1, "threads");
    claim!(report, most < INTERRUPTS_WAIT, "a look at a process with {THREADS_MAX} threads takes {most} instructions");
    report.done(format_args!("a look at a process is short ({one} instructions, with {THREADS_MAX} threads {most})"));
    Ok(())
}

/// All threads' times, those of processes that are gone and the idle times are the time that has gone by, to the last
/// instruction. In a process of its own, whose only thread this is.
fn everything(report: &Report) -> Result<(), Error> {
    // Something of every kind before that.
    Process::fork_into(Share::default(), || 0)?.wait()?;
    sleep(Duration::from_millis(5));
    let child = Process::fork_into(Share::default(), || {
        let report = Report::new();
        let _ = add_up(&report);
        report.finish_quietly()
    })?;
    claim!(report, child.wait()?.is_success(), "the sum of all times");
    report.done(format_args!("no instruction is missing, and none is counted twice"));
    Ok(())
}

fn add_up(report: &Report) -> Result<(), Error> {
    let own = process::identify();
    let before = system::info()?;
    let mut sum = before.idle_times[0] + before.gone_time;
    for process in system::processes() {
        let process = process?;
        if process.identifier() != own {
            sum += process.info()?.processor_time;
        }
    }
    let mine = thread::own_info();
    let after = system::info()?;
    claim_eq!(report, after.idle_times, before.idle_times, "nothing else has run meanwhile");
    let gone_by = before.core_times[0] + (mine.clock - before.clock);
    claim_eq!(report, sum + mine.own_time + mine.caller_time, gone_by, "idle, gone, and every process's");
    claim!(report, gone_by > A_WHILE, "and that is not nothing");
    Ok(())
}
