//! Bombs: processes that take everything of one kind that there is, for as long as they live. They get errors, a
//! program that is more urgent starts and ends meanwhile, and nothing is left of them. Memory has no shares: see
//! `t-oom`.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use graft_rt::message::Endpoint;
use graft_rt::notification::Notification;
use graft_rt::process::{self, duplicate, sleep};
use graft_rt::test::{Bare, FreeFrames, Report, Steps};
use graft_rt::thread::{self, Cores};
use graft_rt::{Error, ExitStatus, Handle, Process, Rights, Share, claim, println, snapshot, time};

/// Processes of each kind at a time.
const PROCESSES: usize = 3;
/// Below the first process's.
const PRIORITY: u8 = 12;
/// Starts of a program that are measured.
const PROGRAMS: u32 = 5;
/// How long one may take, with `--exact`.
const LIMIT: Duration = Duration::from_millis(100);

struct Bomb {
    name: &'static str,
    /// Takes some more.
    take: fn() -> Result<(), Error>,
    refusals: &'static [Error],
}

const BOMBS: &[Bomb] = &[
    Bomb { name: "handles", take: handles, refusals: &[Error::HandlesExhausted] },
    Bomb { name: "endpoints", take: endpoints, refusals: &[Error::HandlesExhausted] },
    Bomb { name: "notifications", take: notifications, refusals: &[Error::HandlesExhausted] },
    Bomb { name: "snapshots", take: snapshots, refusals: &[Error::HandlesExhausted, Error::OutOfMemory] },
    Bomb { name: "threads", take: threads, refusals: &[Error::ThreadsExhausted] },
    Bomb { name: "messages", take: messages, refusals: &[Error::ThreadsExhausted] },
];

/// Sets each of them off.
pub(crate) fn run(report: &Report, exact: bool) -> Result<(), Error> {
    for bomb in BOMBS {
        let frames = FreeFrames::now();
        let steps = Steps::new()?;
        let mut bombs = [const { None }; PROCESSES];
        for (index, process) in bombs.iter_mut().enumerate() {
            *process = Some(Process::fork_into(Share::default(), || go_off(bomb, &steps, index))?);
        }
        for index in 0..PROCESSES {
            claim!(report, steps.wait(1 + index), "{}: no refusal", bomb.name);
        }
        let mut longest = Duration::ZERO;
        for _ in 0..PROGRAMS {
            sleep(Duration::from_millis(3));
            let before = time::clock();
            let ended = Process::spawn(&["true"]).map(|program| program.wait());
            longest = longest.max(time::clock() - before);
            let answered = ended.is_ok_and(|end| end.is_ok_and(ExitStatus::is_success));
            claim!(report, answered, "{}: a program", bomb.name);
        }
        claim!(report, !steps.is_reached(0), "{}: another refusal", bomb.name);
        claim!(report, !exact || longest <= LIMIT, "{}: a program took {longest:?}", bomb.name);
        for process in bombs.iter().flatten() {
            process.kill(1)?;
            process.wait()?;
        }
        drop((bombs, steps));
        frames.claim_same(report, format_args!("after a bomb of {}", bomb.name));
        println!("bomb,{},{}", bomb.name, longest.as_nanos());
        report.done(format_args!("a bomb of {}", bomb.name));
    }
    Ok(())
}

/// Takes more and more, and goes on when that is refused.
fn go_off(bomb: &Bomb, steps: &Steps, index: usize) -> ! {
    let _ = thread::schedule(PRIORITY, Cores::All);
    loop {
        if let Err(error) = (bomb.take)() {
            let permitted = bomb.refusals.contains(&error);
            if !permitted {
                println!("{}: {error}", bomb.name);
            }
            steps.reach(if permitted { 1 + index } else { 0 });
        }
    }
}

fn handles() -> Result<(), Error> {
    duplicate(Handle::CONSOLE, Rights::ALL).map(drop)
}

fn endpoints() -> Result<(), Error> {
    let endpoint = core::mem::ManuallyDrop::new(Endpoint::new()?);
    core::mem::forget((endpoint.connect(1)?, endpoint.receiver()?));
    Ok(())
}

fn notifications() -> Result<(), Error> {
    Notification::new().map(core::mem::forget)
}

fn snapshots() -> Result<(), Error> {
    snapshot::take(Share::L1).map(core::mem::forget)
}

/// Threads that sleep for a moment, again and again, with no handle to any.
fn threads() -> Result<(), Error> {
    process::close(Bare::Sleep.create(1_000)?)
}

/// Threads that call where no thread receives, likewise.
fn messages() -> Result<(), Error> {
    static CONNECTION: AtomicU32 = AtomicU32::new(0);
    if CONNECTION.load(Ordering::Relaxed) == 0 {
        let endpoint = core::mem::ManuallyDrop::new(Endpoint::new()?);
        CONNECTION.store(endpoint.connect(1)?.into_handle().0, Ordering::Relaxed);
    }
    process::close(Bare::Call.create(CONNECTION.load(Ordering::Relaxed).into())?)
}
