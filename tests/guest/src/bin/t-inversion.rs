//! Tests that a thread that needs what a less urgent one on the same core is in the middle of gets it: the less urgent
//! one has its turns meanwhile, and the process does not stand still.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use graft_rt::abi::{PAGE_SIZE, ProcessState};
use graft_rt::process::{Fork, fork, sleep};
use graft_rt::test::{FreeFrames, Report, touch_stack_and_heap, wait_until};
use graft_rt::thread::{self, Cores};
use graft_rt::time::clock;
use graft_rt::{Arguments, Error, Permissions, Process, Region, Share, claim, process};

graft_rt::program!(main);

/// Enough for hundreds of pieces of an operation.
const BYTES: usize = 24 << 20;
/// How often the less urgent thread does what takes long.
const ROUNDS: u32 = 4;
/// The less urgent thread, the more urgent one, and the one that waits for both, on one core.
const LOW: u8 = 5;
const HIGH: u8 = 9;
const CORE: Cores = Cores::Some(1);

/// What a thread does, with the region or without.
type Part = fn(&Region);

/// What the less urgent thread is in the middle of, and what the more urgent one does meanwhile.
const CASES: &[(&str, Part, Part)] = &[
    ("a store during a fork", forks, stores),
    ("a program made ready during a fork", forks, spawns),
    ("a mapping during a fork", forks, maps),
    ("a mapping during a change of a range", protects, maps),
    ("memory of the heap that another takes", allocates, allocates_once),
];

fn main(_arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    touch_stack_and_heap();
    let frames = FreeFrames::now();
    for &(what, long, short) in CASES {
        let victim = Process::fork_into(Share::default(), || pair(long, short))?;
        ends(&report, &victim, what)?;
    }
    // A supervisor is more urgent than the process whose memory it reads.
    let region = filled()?;
    let victim = Process::fork_into(Share::Copy, || {
        let _ = thread::schedule(LOW, CORE);
        (0..ROUNDS).for_each(|_| forks(&region));
        0
    })?;
    let mut bytes = [0; 64];
    thread::schedule(HIGH, CORE)?;
    let mut page = 0;
    let mut is_over = || -> Result<bool, Error> {
        let start = clock();
        // NotFound: it has no memory any more.
        match victim.read_memory(region.address() + page * PAGE_SIZE, &mut bytes) {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        page = (page + 1) % 100;
        sleep((clock() - start).max(Duration::from_micros(300)));
        has_ended(&victim)
    };
    while !is_over()? {}
    thread::schedule(16, Cores::All)?;
    ends(&report, &victim, "a look at a process during its fork")?;
    drop((victim, region));
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}

fn has_ended(process: &Process) -> Result<bool, Error> {
    Ok(process.info()?.state == ProcessState::Ended as u32)
}

/// Claims that a process ends well, and does not wait for that for ever.
fn ends(report: &Report, victim: &Process, what: &str) -> Result<(), Error> {
    claim!(report, wait_until(|| has_ended(victim) == Ok(true)), "{what}: the process stands still");
    let _ = victim.kill(1);
    let status = victim.wait()?;
    claim!(report, status.is_success(), "{what}: it {status}");
    report.done(format_args!("{what}"));
    Ok(())
}

fn filled() -> Result<Region, Error> {
    let region = Region::new(BYTES)?;
    (0..BYTES).step_by(PAGE_SIZE).for_each(|at| region.write(at, 1));
    Ok(region)
}

/// A process whose two threads share a core: 0 once both are through.
fn pair(long: Part, short: Part) -> i32 {
    let Ok(region) = filled() else { return 1 };
    let over = AtomicBool::new(false);
    let started = thread::scope(|scope| {
        let low = scope.spawn(|| {
            let _ = thread::schedule(LOW, CORE);
            (0..ROUNDS).for_each(|_| long(&region));
            over.store(true, Ordering::SeqCst);
        });
        let high = scope.spawn(|| {
            let _ = thread::schedule(HIGH, CORE);
            while !over.load(Ordering::SeqCst) {
                let start = clock();
                short(&region);
                // However slow the machine is, the other one has the core half of the time.
                sleep((clock() - start).max(Duration::from_micros(300)));
            }
        });
        low.is_ok() && high.is_ok()
    });
    i32::from(!started)
}

fn forks(_region: &Region) {
    match fork(Share::Copy) {
        Ok(Fork::Child) => process::exit(0),
        Ok(Fork::Parent(child)) => _ = child.wait(),
        Err(_) => {}
    }
}

fn protects(region: &Region) {
    for permissions in [Permissions::Read, Permissions::ReadWrite] {
        let _ = region.protect(0..BYTES, permissions);
    }
}

fn stores(region: &Region) {
    region.write(0, 2);
}

fn maps(_region: &Region) {
    drop(Region::new(PAGE_SIZE));
}

fn spawns(_region: &Region) {
    if let Ok(child) = Process::spawn(&["true"]) {
        let _ = child.wait();
    }
}

fn allocates(_region: &Region) {
    (0..30_000).for_each(|size| drop(core::hint::black_box(Box::new([size; 8]))));
}

fn allocates_once(_region: &Region) {
    drop(core::hint::black_box(Box::new([0u64; 16])));
}
