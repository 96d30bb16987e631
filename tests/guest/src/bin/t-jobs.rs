//! Tests jobs: that nothing of a job runs while it is suspended, that none of it is left when it is ended, and that
//! those who wait for its processes are none the worse.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::{Call, FaultAnswer, JOB_LEVELS, PAGE_SIZE, ProcessState};
use graft_rt::call::Answer;
use graft_rt::job::{self, Job};
use graft_rt::memory::{Region, Shared};
use graft_rt::message::{Connection, Endpoint, Message};
use graft_rt::notification::Notification;
use graft_rt::process::{duplicate, sleep, yield_now};
use graft_rt::supervise::{Fault, answer};
use graft_rt::test::{FreeFrames, Numbers, Report, Steps, claim_end, touch_stack_and_heap, wait_until};
use graft_rt::thread::Cores;
use graft_rt::{
    Arguments, Error, ExitStatus, Handle, Permissions, Process, Rights, Share, claim, claim_eq, process, thread, time,
};

graft_rt::program!(main);

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    for test in
        [refusals, still, all_of_it, bomb, dead, waits, calls, faults, nested, own, many_threads, starved, storm]
    {
        test(&report)?;
    }
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn soon() -> Duration {
    time::clock() + Duration::from_secs(20)
}

/// Starts children that do this, in a job.
fn children(job: &Job, count: usize, does: impl Fn(usize)) -> Result<Vec<Process>, Error> {
    job.enter()?;
    let children = (0..count)
        .map(|index| {
            Process::fork_into(Share::default(), || {
                does(index);
                0
            })
        })
        .collect();
    job::leave()?;
    children
}

fn claim_killed(report: &Report, children: &[Process], code: i32, what: &str) {
    for child in children {
        claim_end(report, child, ExitStatus::Killed(code), format_args!("{what}"));
    }
}

/// Bytes that processes count up, each its own.
struct Counters(Region);

impl Counters {
    fn new() -> Result<Counters, Error> {
        Ok(Counters(Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?))
    }

    fn count(&self, index: usize) {
        self.0.write(index, self.0.read(index).wrapping_add(1));
    }

    fn now(&self, count: usize) -> Vec<u8> {
        (0..count).map(|index| self.0.read(index)).collect()
    }

    /// Whether none of them counts, as far as can be seen in a while in which others run.
    fn stand_still(&self, count: usize) -> bool {
        let before = self.now(count);
        for _ in 0..20 {
            yield_now();
        }
        sleep(Duration::from_millis(2));
        self.now(count) == before
    }

    /// Whether this one comes to count.
    fn one_goes_on(&self, index: usize) -> bool {
        let before = self.0.read(index);
        wait_until(|| self.0.read(index) != before)
    }

    /// Whether all of them come to count.
    fn go_on(&self, count: usize) -> bool {
        let before = self.now(count);
        wait_until(|| self.now(count).iter().zip(&before).all(|(now, before)| now != before))
    }
}

#[allow(unsafe_code)]
fn raw(call: Call, arguments: [u64; 3]) -> Result<Answer, Error> {
    let [a, b, c] = arguments;
    // SAFETY: these calls touch no memory.
    unsafe { graft_rt::call::raw(call as u64, [a, b, c, 0, 0, 0]) }.result()
}

/// Has the server of a test end.
const LAST: u64 = 999;

/// Makes a call that is none of the kernel's.
#[allow(unsafe_code)]
fn foreign_call() {
    // SAFETY: the supervisor changes no register but `x0`.
    unsafe { core::arch::asm!("svc #0", inout("x0") 0_u64 => _, options(nostack)) };
}

fn refusals(report: &Report) -> Result<(), Error> {
    let job = Job::new()?;
    let notification = Notification::new()?;
    let handle = u64::from(job.handle().0);
    let less = duplicate(job.handle(), Rights::DUPLICATE)?;
    for (arguments, error) in [
        ([handle, 3, 0], Error::BadArgument),
        ([handle, u64::MAX, 0], Error::BadArgument),
        ([0, 1, 0], Error::BadHandle),
        ([handle | 1 << 32, 1, 0], Error::BadHandle),
        ([notification.handle().0.into(), 1, 0], Error::WrongObject),
        ([Handle::SELF.0.into(), 1, 0], Error::BadHandle),
        ([less.0.into(), 1, 0], Error::NoRight),
    ] {
        claim_eq!(report, raw(Call::JobControl, arguments).err(), Some(error), "control {arguments:x?}");
    }
    for (number, error) in [
        (1 << 32, Error::BadHandle),
        (notification.handle().0.into(), Error::WrongObject),
        (less.0.into(), Error::NoRight),
    ] {
        claim_eq!(report, raw(Call::JobEnter, [number, 0, 0]).err(), Some(error), "enter {number:x}");
    }
    process::close(less)?;
    // Empty, it can be anything.
    for result in [job.suspend(), job.suspend(), job.resume(), job.kill(1), job.resume()] {
        claim_eq!(report, result, Ok(()), "what is done to a job without a process");
    }
    report.done(format_args!("what is no job, or not one's own, is refused"));
    Ok(())
}

fn still(report: &Report) -> Result<(), Error> {
    const COUNT: usize = 6;
    let (job, counters) = (Job::new()?, Counters::new()?);
    let all = children(&job, COUNT, |index| {
        loop {
            counters.count(index);
            if index % 2 == 0 {
                yield_now();
            }
        }
    })?;
    for round in 0..30 {
        claim!(report, counters.go_on(COUNT), "round {round}: they run");
        job.suspend()?;
        claim!(report, counters.stand_still(COUNT), "round {round}: they stand still");
        let suspended = |child: &Process| child.info().map(|info| info.state) == Ok(ProcessState::Suspended as u32);
        claim!(report, all.iter().all(suspended), "round {round}: and are seen to");
        job.resume()?;
    }
    job.kill(5)?;
    claim_killed(report, &all, 5, "one of a job that is ended");
    report.done(format_args!("nothing of a job runs from when it is suspended until it is resumed"));
    Ok(())
}

fn all_of_it(report: &Report) -> Result<(), Error> {
    const COUNT: usize = 4;
    let (job, counters) = (Job::new()?, Counters::new()?);
    // Children, their children, and theirs, whose parents have ended.
    let all = children(&job, COUNT, |index| {
        let _ = Process::fork_into(Share::default(), || {
            let _ = Process::fork_into(Share::default(), || {
                loop {
                    counters.count(index);
                }
            });
            0
        });
    })?;
    for child in &all {
        claim_end(report, child, ExitStatus::Exited(0), format_args!("a parent"));
    }
    let outside = children(&Job::new()?, 1, |_| {
        loop {
            counters.count(COUNT);
        }
    })?;
    claim!(report, counters.go_on(COUNT + 1), "all of them run");
    job.suspend()?;
    claim!(report, counters.stand_still(COUNT), "those of the job stand still");
    claim!(report, counters.one_goes_on(COUNT), "no other does");
    job.resume()?;
    claim!(report, counters.go_on(COUNT + 1), "all of them run again");
    job.kill(6)?;
    claim!(report, wait_until(|| counters.stand_still(COUNT)), "they have ended");
    claim!(report, counters.one_goes_on(COUNT), "no other has");
    outside.iter().for_each(|other| _ = other.kill(7));
    claim_killed(report, &outside, 7, "another job's");
    report.done(format_args!("what a job's processes start is in the job, whoever their parents are"));
    Ok(())
}

fn bomb(report: &Report) -> Result<(), Error> {
    for suspended in [false, true] {
        let (job, steps) = (Job::new()?, Steps::new()?);
        let all = children(&job, 3, |_| {
            loop {
                // Each child does the same.
                let _ = process::fork(Share::L1);
                steps.reach(0);
            }
        })?;
        claim!(report, steps.wait(0), "it goes off");
        if suspended {
            job.suspend()?;
        }
        job.kill(4)?;
        claim_killed(report, &all, 4, "a bomb");
    }
    report.done(format_args!("processes that do nothing but fork are all ended"));
    Ok(())
}

fn dead(report: &Report) -> Result<(), Error> {
    let (job, steps) = (Job::new()?, Steps::new()?);
    for round in 0..20 {
        let all = children(&job, 2, |index| {
            steps.reach(index);
            loop {
                let _ =
                    Notification::new().and_then(|never| never.wait_until(time::clock() + Duration::from_micros(5)));
            }
        })?;
        claim!(report, steps.wait(0) && steps.wait(1), "round {round}: they run");
        job.suspend()?;
        all[0].kill(round)?;
        claim_killed(report, &all[..1], round, "one that is suspended");
        job.suspend()?;
        job.kill(-1)?;
        claim_killed(report, &all[1..], -1, "the other");
        // What is born now is born alive.
    }
    report.done(format_args!("what is suspended can be ended"));
    Ok(())
}

fn waits(report: &Report) -> Result<(), Error> {
    let (job, steps, told) = (Job::new()?, Steps::new()?, Notification::new()?);
    let all = children(&job, 1, |_| {
        steps.reach(0);
        if told.wait() == Ok(3) {
            steps.reach(1);
        }
        sleep(Duration::from_millis(1));
        steps.reach(2);
    })?;
    claim!(report, steps.wait(0), "it runs");
    job.suspend()?;
    told.notify(1)?;
    told.notify(2)?;
    claim!(report, !steps.is_reached(1), "it waits no longer, and does not go on");
    job.resume()?;
    // It has got the first bit alone if it had waited already.
    claim!(report, steps.wait(2), "it goes on");
    claim_end(report, &all[0], ExitStatus::Exited(0), format_args!("it"));
    report.done(format_args!("one that waits gets what it has waited for, and goes on when it is resumed"));
    Ok(())
}

fn calls(report: &Report) -> Result<(), Error> {
    // The server is suspended.
    let (job, endpoint) = (Job::new()?, Endpoint::new()?);
    let connection = endpoint.connect(1)?;
    let server = children(&job, 1, |_| {
        let Ok(receiver) = endpoint.receiver() else { return };
        while let Ok(received) = receiver.receive() {
            let words = received.message.into_words();
            if words[0] == LAST {
                return;
            }
            let _ = receiver.reply(Message::words(words));
        }
    })?;
    let ask = |word| connection.call_until(Message::words([word; 6]), soon()).map(|answer| answer.into_words()[0]);
    for round in 0..30 {
        claim_eq!(report, ask(round), Ok(round), "a server that runs");
        job.suspend()?;
        let late = connection.call_until(Message::words([7; 6]), time::clock() + Duration::from_millis(1));
        claim_eq!(report, late.err(), Some(Error::TimedOut), "one that is suspended");
        job.resume()?;
    }
    let last = connection.call_until(Message::words([LAST; 6]), soon());
    claim_eq!(report, last.err(), Some(Error::Gone), "one that ends");
    claim_end(report, &server[0], ExitStatus::Exited(0), format_args!("the server"));

    // The callers are: in line, or with a call that has been received.
    let receiver = endpoint.receiver()?;
    for round in 0..30 {
        let steps = Steps::new()?;
        let lent = [b'a'; 40];
        let callers = children(&job, 2, |index| {
            let message = Message::words([index as u64; 6]);
            let mut room = [0; 8];
            let answered = connection.call_lending(message, &lent, &mut room).map(Message::into_words);
            if answered == Ok([index as u64 + 5; 6]) && room == *b"received" {
                steps.reach(10 + index);
            }
        })?;
        let received = receiver.receive_until(soon())?;
        let index = received.message.into_words()[0];
        job.suspend()?;
        let mut bytes = [0; 40];
        claim_eq!(report, receiver.read(0, &mut bytes), Ok(()), "what it has lent");
        claim_eq!(report, bytes, lent, "what it has lent");
        claim_eq!(report, receiver.write(0, b"received"), Ok(()), "what it has lent to be written");
        if round % 2 == 0 {
            claim_eq!(report, receiver.reply(Message::words([index + 5; 6])), Ok(()), "the answer arrives");
            claim!(report, !steps.is_reached(10 + index as usize), "and it does not go on");
            job.resume()?;
            let received = receiver.receive_until(soon())?;
            let index = received.message.into_words()[0];
            receiver.write(0, b"received")?;
            receiver.reply(Message::words([index + 5; 6]))?;
            for caller in &callers {
                claim_end(report, caller, ExitStatus::Exited(0), format_args!("a caller"));
            }
        } else {
            job.kill(8)?;
            claim_killed(report, &callers, 8, "a caller that is suspended");
            claim_eq!(report, receiver.reply(Message::default()), Err(Error::Gone), "an answer to one that is gone");
        }
        let answered = steps.is_reached(10) && steps.is_reached(11);
        claim!(report, answered == (round % 2 == 0), "round {round}: both have been answered, or neither");
    }
    report.done(format_args!("servers of callers that are suspended, and callers of servers that are, go on"));
    Ok(())
}

fn faults(report: &Report) -> Result<(), Error> {
    let (job, endpoint, steps) = (Job::new()?, Endpoint::new()?, Steps::new()?);
    let (connection, receiver, gate) = (endpoint.connect(2)?, endpoint.receiver()?, Notification::new()?);
    let child = children(&job, 1, |_| {
        let _ = gate.wait();
        for step in 0..3 {
            foreign_call();
            steps.reach(step);
        }
    })?;
    child[0].supervise(Some(&connection))?;
    gate.notify(1)?;
    for step in 0..3 {
        let received = receiver.receive_until(soon())?;
        claim!(report, Fault::of(&received).is_some(), "it is stopped");
        received.message.into_words();
        job.suspend()?;
        receiver.reply(answer(FaultAnswer::Return, 0))?;
        for _ in 0..20 {
            yield_now();
        }
        claim!(report, !steps.is_reached(step), "step {step}: its fault is answered, and it does not go on");
        job.resume()?;
        claim!(report, step == 2 || steps.wait(step), "step {step}: it does");
    }
    claim_end(report, &child[0], ExitStatus::Exited(0), format_args!("one that is supervised"));
    report.done(format_args!("one that is stopped at a fault can be suspended, too"));
    Ok(())
}

fn nested(report: &Report) -> Result<(), Error> {
    let (outer, counters, to, from) = (Job::new()?, Counters::new()?, Notification::new()?, Notification::new()?);
    let all = children(&outer, 1, |_| {
        let run = || -> Result<(), Error> {
            let inner = Job::new()?;
            children(&inner, 1, |_| {
                loop {
                    counters.count(0);
                }
            })?;
            inner.suspend()?;
            from.notify(1)?;
            to.wait()?;
            inner.resume()?;
            from.notify(1)?;
            loop {
                counters.count(1);
            }
        };
        let _ = run();
    })?;
    from.wait_until(soon())?;
    claim!(report, counters.stand_still(2), "the inner one is suspended");
    outer.suspend()?;
    to.notify(1)?;
    outer.resume()?;
    from.wait_until(soon())?;
    claim!(report, counters.go_on(2), "both are resumed");
    outer.suspend()?;
    claim!(report, counters.stand_still(2), "the outer one is suspended, and the inner one with it");
    outer.resume()?;
    claim!(report, counters.go_on(2), "and resumed");
    outer.kill(3)?;
    claim_killed(report, &all, 3, "the outer one's");
    claim!(report, wait_until(|| counters.stand_still(2)), "the inner one is ended with the outer one");

    // As deep as they can be; and nothing enters another's.
    let depth = Process::fork_into(Share::default(), || deepen(0))?;
    claim_end(report, &depth, ExitStatus::Exited(0), format_args!("jobs in jobs"));
    report.done(format_args!("a job within another is suspended, resumed and ended with it"));
    Ok(())
}

/// Makes a job within those that there are, and goes on in it. Returns 0 if all is as it should be.
fn deepen(others: usize) -> i32 {
    match Job::with_level() {
        Err(error) => i32::from(error != Error::NotAllowed || others == 0),
        Ok((job, level)) => {
            let deeper = job.enter().and_then(|()| {
                // Neither the job itself nor its maker's can be entered from within.
                Process::fork_into(Share::default(), || {
                    if job.enter() != Err(Error::NotAllowed) { 50 } else { deepen(others + 1) }
                })
            });
            let code = deeper.and_then(|process| process.wait());
            i32::from(code != Ok(ExitStatus::Exited(0)) || level as usize >= JOB_LEVELS)
        }
    }
}

fn own(report: &Report) -> Result<(), Error> {
    let (job, counters, from) = (Job::new()?, Counters::new()?, Notification::new()?);
    let child = children(&job, 2, |index| {
        if index == 0 {
            // Its own, with itself in it.
            let _ = from.notify(1);
            let _ = job.suspend();
        }
        loop {
            counters.count(index);
        }
    })?;
    from.wait_until(soon())?;
    claim!(report, wait_until(|| counters.stand_still(2)), "one that suspends its own job stands still");
    let before = counters.now(1);
    claim_eq!(report, before, [0], "and has not returned from that");
    job.resume()?;
    claim!(report, counters.go_on(2), "until another resumes it");
    job.kill(2)?;
    claim_killed(report, &child, 2, "it");
    report.done(format_args!("a process may suspend the job that it is in"));
    Ok(())
}

fn many_threads(report: &Report) -> Result<(), Error> {
    const THREADS: usize = 150;
    let (job, counters) = (Job::new()?, Counters::new()?);
    let child = children(&job, 1, |_| {
        let count = |index: usize| loop {
            counters.count(index);
            yield_now();
        };
        thread::scope(|scope| {
            for index in 1..THREADS {
                let _ = scope.spawn(move || count(index)).map(core::mem::forget);
            }
            count(0);
        });
    })?;
    for round in 0..3 {
        claim!(report, counters.go_on(THREADS), "round {round}: all threads run");
        job.suspend()?;
        claim!(report, counters.stand_still(THREADS), "round {round}: none does");
        job.resume()?;
    }
    claim!(report, counters.go_on(THREADS), "all threads run");
    job.suspend()?;
    job.kill(1)?;
    claim_killed(report, &child, 1, "a process with many threads");
    report.done(format_args!("all threads of a process are suspended and resumed"));
    Ok(())
}

/// On one core: what a thread is in the middle of doing to a job, while a more urgent one keeps it from running, holds
/// up none that is more urgent than both.
fn starved(report: &Report) -> Result<(), Error> {
    const LOW: u8 = 5;
    const MIDDLE: u8 = 6;
    const HIGH: u8 = 7;
    const CORE: Cores = Cores::Some(1);
    const ROUNDS: usize = 20;
    // So many processes that the less urgent one is nearly always in the middle.
    let (sleepers, counters) = (Job::new()?, Counters::new()?);
    let all = children(&sleepers, 60, |_| sleep(Duration::from_secs(1000)))?;
    let victim = Process::fork_into(Share::default(), || {
        let run = || -> Result<(), Error> {
            let (urgent, begin) = (Job::new()?, Notification::new()?);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let _ = thread::schedule(LOW, CORE);
                    while usize::from(counters.now(1)[0]) < ROUNDS {
                        let _ = sleepers.resume();
                    }
                })?;
                scope.spawn(|| {
                    let _ = thread::schedule(HIGH, CORE);
                    for _ in 0..ROUNDS {
                        let _ = begin.wait();
                        let _ = urgent.resume();
                        counters.count(0);
                    }
                })?;
                thread::schedule(MIDDLE, CORE)?;
                for round in 0..ROUNDS {
                    sleep(Duration::from_millis(1));
                    begin.notify(1)?;
                    while usize::from(counters.now(1)[0]) <= round {}
                }
                Ok(())
            })
        };
        i32::from(run().is_err())
    })?;
    let is_done = wait_until(|| victim.info().is_ok_and(|info| info.state == ProcessState::Ended as u32));
    claim!(report, is_done, "a job is not held up by one that does not run");
    victim.kill(1)?;
    sleepers.kill(1)?;
    claim_killed(report, &all, 1, "those that sleep");
    report.done(format_args!("nobody waits for a less urgent thread that is in the middle of a job"));
    Ok(())
}

/// Everything at once, by several processes, to processes that do everything.
fn storm(report: &Report) -> Result<(), Error> {
    let jobs: Vec<Job> = (0..3).map(|_| Job::new()).collect::<Result<_, _>>()?;
    let (endpoint, steps) = (Endpoint::new()?, Steps::new()?);
    let connection = endpoint.connect(1)?;
    let work = |seed: usize| {
        let mut numbers = Numbers::new(seed as u64);
        let mut grown = 0;
        loop {
            match numbers.below(6) {
                0 if grown < 3 => {
                    grown += 1;
                    let _ = process::fork(numbers.choose(&[Share::L1, Share::L3, Share::Copy]));
                }
                1 => sleep(Duration::from_micros(numbers.below(50) as u64)),
                2 => _ = connection.call_until(Message::default(), time::clock() + Duration::from_micros(30)),
                3 => {
                    let receive = |receiver: graft_rt::message::Receiver| {
                        receiver.receive_until(time::clock() + Duration::from_micros(30)).map(|received| {
                            received.message.into_words();
                            let _ = receiver.reply(Message::default());
                        })
                    };
                    let _ = endpoint.receiver().and_then(receive);
                }
                4 => yield_now(),
                _ => _ = core::hint::black_box((0..numbers.below(500)).sum::<usize>()),
            }
        }
    };
    let mut all = Vec::new();
    for job in &jobs {
        all.extend(children(job, 3, work)?);
    }
    let controllers: Vec<Process> = (0..3)
        .map(|seed| {
            Process::fork_into(Share::default(), || {
                let mut numbers = Numbers::new(100 + seed);
                for _ in 0..60 {
                    let job = &jobs[numbers.below(jobs.len())];
                    let _ = if numbers.below(2) == 0 { job.suspend() } else { job.resume() };
                    sleep(Duration::from_micros(numbers.below(300) as u64));
                }
                steps.reach(seed as usize);
                0
            })
        })
        .collect::<Result<_, _>>()?;
    for controller in &controllers {
        claim_end(report, controller, ExitStatus::Exited(0), format_args!("one that suspends and resumes"));
    }
    for (index, job) in jobs.iter().enumerate() {
        if index % 2 == 0 {
            job.resume()?;
        }
        job.kill(3)?;
    }
    claim_killed(report, &all, 3, "one of several jobs");
    let _: &Connection = &connection;
    report.done(format_args!("processes that do everything are suspended and resumed by several, and then ended"));
    Ok(())
}
