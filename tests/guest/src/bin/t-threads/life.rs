//! From create to join.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use graft_rt::abi::{STACK_TOP, ThreadEnd};
use graft_rt::gate::Gate;
use graft_rt::process::{self, own_info, sleep};
use graft_rt::test::{Bare, Report, claim_end, claim_success, wait_until};
use graft_rt::{
    Error, ExitStatus, FaultKind, Handle, Permissions, Process, Region, Rights, Share, claim, claim_eq, thread,
};

use crate::raw::{self, Beginning, FloatingPoint};

/// Threads alive at a time: less than there is room for in a handle table.
const WAVE: u64 = 200;

pub(crate) fn results(report: &Report) -> Result<(), Error> {
    let boxed = Box::new([1_u64, 2, 3]);
    let thread = thread::spawn(move || boxed.iter().sum::<u64>())?;
    claim_eq!(report, thread.join(), Ok(6), "what a thread makes of a box that it was given");
    let words = ["one", "two", "three"];
    let lengths = thread::scope(|scope| {
        let threads = words.map(|word| scope.spawn(move || (word, word.len())));
        threads.map(|thread| thread.and_then(thread::JoinHandle::join))
    });
    claim_eq!(report, lengths, words.map(|word| Ok((word, word.len()))), "what threads say of borrowed words");
    let count = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)).map(drop))?;
        scope.spawn(|| count.fetch_add(1, Ordering::Relaxed)).map(drop)
    })?;
    claim_eq!(report, count.into_inner(), 2, "threads of a scope, one made by another, that ended with it");
    let shared = Arc::new(());
    let dropped = thread::spawn({
        let shared = shared.clone();
        move || drop(shared)
    })?;
    drop(dropped);
    claim_eq!(report, Arc::strong_count(&shared), 1, "owners when the handle of a thread was dropped");
    claim_eq!(report, own_info().threads, 1, "threads when all have been waited for");
    Ok(())
}

pub(crate) fn registers(report: &Report) -> Result<(), Error> {
    let mut found = Beginning::UNKNOWN;
    let address = (&raw const found).addr() as u64;
    for (stack_top, thread_pointer) in [(STACK_TOP as u64, 0), (1 << 48, u64::MAX), (0x1_0010, 0x1234_5678_9abc_def1)] {
        found = Beginning::UNKNOWN;
        // Some thread's values are in the registers; they are not for the new one.
        raw::hold(
            &FloatingPoint { vectors: [[7; 2]; 32], control: 3 << 22, status: 1 },
            graft_rt::abi::Call::Yield,
            1,
            1,
            [0; 2],
        );
        claim_eq!(report, raw::look(&mut found, stack_top, thread_pointer), Ok(address), "the value it ended with");
        claim_eq!(report, found.general[0], address, "x0");
        claim!(report, found.general[1..].iter().all(|&x| x == 0), "x1 to x30 are {:x?}", &found.general[1..]);
        claim_eq!(report, found.stack_pointer, stack_top, "sp");
        claim_eq!(report, found.thread_pointer, thread_pointer, "TPIDR_EL0");
        claim_eq!(report, found.flags, 0, "the flags");
        claim!(report, found.floating_point == FloatingPoint::ZERO, "floating point is {:x?}", found.floating_point);
    }
    Ok(())
}

pub(crate) fn waves(report: &Report) -> Result<(), Error> {
    let sum = AtomicU64::new(0);
    for wave in 0..4 {
        thread::scope(|scope| {
            let threads = (0..WAVE).map(|number| {
                let sum = &sum;
                scope.spawn(move || {
                    sum.fetch_add(number, Ordering::Relaxed);
                    wave * WAVE + number
                })
            });
            let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
            for (number, thread) in threads.into_iter().enumerate() {
                claim_eq!(report, thread.join(), Ok(wave * WAVE + number as u64), "thread {number} of wave {wave}");
            }
            Ok(())
        })?;
    }
    claim_eq!(report, sum.into_inner(), 4 * WAVE * (WAVE - 1) / 2, "what hundreds have added up");
    Ok(())
}

pub(crate) fn joins(report: &Report) -> Result<(), Error> {
    let gate = Gate::new()?;
    let ended = Bare::End.create(u64::MAX)?;
    for time in 1..=3 {
        claim_eq!(report, thread::join(ended), Ok(ThreadEnd::Exited(u64::MAX)), "join number {time}");
    }
    let second = process::duplicate(ended, Rights::ALL)?;
    process::close(ended)?;
    claim_eq!(report, thread::join(second), Ok(ThreadEnd::Exited(u64::MAX)), "join with a second handle");
    process::close(second)?;

    let waits = thread::spawn({
        let gate = gate.handle();
        move || _ = process::wait(gate)
    })?;
    let handle = waits.handle();
    let outside = Process::fork_into(Share::default(), || i32::from(thread::join(handle) != Ok(ThreadEnd::Exited(0))))?;
    thread::scope(|scope| {
        let inside = [(); 4].map(|()| scope.spawn(|| thread::join(handle)));
        sleep(Duration::from_millis(5));
        gate.open();
        for thread in inside {
            claim_eq!(report, thread?.join(), Ok(Ok(ThreadEnd::Exited(0))), "one of several that join the same thread");
        }
        Ok(())
    })?;
    claim_success(report, &outside, format_args!("a process that joins another one's thread"));
    claim_eq!(report, waits.join(), Ok(()), "the thread that they all joined");

    // A child that inherits a handle to a thread of its parent learns how the parent ended.
    let gate = Gate::new()?;
    let killed = Process::fork_into(Share::default(), || {
        let Ok(sleeper) = Bare::Sleep.create(1 << 40) else { return 1 };
        let watcher = Process::fork_into(Share::default(), || {
            gate.open();
            let end = thread::join(sleeper);
            i32::from(end != Ok(ThreadEnd::WithProcess(ExitStatus::Killed(5))))
        });
        watcher.map_or(1, |watcher| watcher.wait().map_or(1, ExitStatus::shell_code))
    })?;
    gate.pass();
    let watcher = graft_rt::system::processes()
        .flatten()
        .find(|process| process.info().is_ok_and(|info| info.parent == killed.identifier()));
    sleep(Duration::from_millis(2));
    killed.kill(5)?;
    claim_end(report, &killed, ExitStatus::Killed(5), format_args!("a process whose thread another one joins"));
    let status = watcher.map(|watcher| {
        loop {
            match watcher.info() {
                Ok(info) if info.state == graft_rt::abi::ProcessState::Ended as u32 => break info.exit_status,
                _ => sleep(Duration::from_millis(1)),
            }
        }
    });
    claim_eq!(report, status, Some(0), "the status of who joined a thread that ended with its process");
    Ok(())
}

pub(crate) fn joins_at_the_door(report: &Report) -> Result<(), Error> {
    for round in 0..1000 {
        let handle = Bare::End.create(round)?;
        for _ in 0..round * 2 {
            spin_loop();
        }
        claim_eq!(report, thread::join(handle), Ok(ThreadEnd::Exited(round)), "join after {round} turns");
        process::close(handle)?;
    }
    Ok(())
}

pub(crate) fn detached(report: &Report) -> Result<(), Error> {
    for round in 0..300 {
        process::close(Bare::End.create(round)?)?;
    }
    wait_until(|| own_info().threads == 1);
    claim_eq!(report, own_info().threads, 1, "threads when those that are not joined have ended");
    Ok(())
}

pub(crate) fn refusals(report: &Report) -> Result<(), Error> {
    let own = Arc::new(AtomicU32::new(0));
    let selfish = thread::spawn({
        let own = own.clone();
        move || {
            while own.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            thread::join(Handle(own.load(Ordering::Acquire)))
        }
    })?;
    own.store(selfish.handle().0, Ordering::Release);
    claim_eq!(report, selfish.join(), Ok(Err(Error::NotAllowed)), "joining oneself");
    for (what, handle, error) in [
        ("nothing", Handle::NONE, Error::BadHandle),
        ("a wild handle", Handle(u32::MAX - 1), Error::BadHandle),
        ("a process", Handle::SELF, Error::BadHandle),
        ("the console", Handle::CONSOLE, Error::WrongObject),
    ] {
        claim_eq!(report, thread::join(handle), Err(error), "joining {what}");
    }
    let child = Process::fork_into(Share::default(), || 0)?;
    claim_eq!(report, thread::join(child.handle()), Err(Error::WrongObject), "joining a process");
    let handle = Bare::End.create(1)?;
    claim_eq!(report, process::wait(handle), Err(Error::WrongObject), "waiting for a thread as for a process");
    claim_eq!(report, process::kill(handle, 1), Err(Error::WrongObject), "killing a thread");
    let blind = process::duplicate(handle, Rights::DUPLICATE)?;
    claim_eq!(report, thread::join(blind), Err(Error::NoRight), "joining without the right to");
    for handle in [handle, blind] {
        process::close(handle)?;
        claim_eq!(report, thread::join(handle), Err(Error::BadHandle), "joining with a handle that was given up");
    }

    // Entry points that the kernel accepts and that cannot be executed.
    let page = Region::new(graft_rt::abi::PAGE_SIZE)?;
    page.protect(0..page.bytes(), Permissions::Read)?;
    let (page, stack) = (page.address() as u64, STACK_TOP as u64);
    let spoilt: [(&str, u64, u64, &[FaultKind]); 3] = [
        ("where nothing is", 0x7000_0000_0000, stack, &[FaultKind::Unmapped]),
        ("in data", page, stack, &[FaultKind::ExecuteDenied]),
        ("with the closure's beginning and no stack", spoilt_entry(), 0x7000_0000_0000, &[FaultKind::Unmapped]),
    ];
    for (what, entry, stack_top, kinds) in spoilt {
        let child = Process::fork_into(Share::default(), || {
            let _ = raw::create_at(entry, stack_top, 0);
            sleep(Duration::from_secs(600));
            1
        })?;
        let status = child.wait()?;
        let right = matches!(status, ExitStatus::Faulted(kind) if kinds.contains(&kind));
        claim!(report, right, "a process whose thread begins {what}: it {status}");
    }
    Ok(())
}

/// Code that needs a stack at once.
fn spoilt_entry() -> u64 {
    extern "C" fn pushes(argument: u64) -> ! {
        let used = core::hint::black_box([argument; 64]);
        raw::exit_thread(used[argument as usize % 64])
    }
    pushes as extern "C" fn(u64) -> ! as usize as u64
}
