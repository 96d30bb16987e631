//! Registers for floating point: each thread has its own, whichever other threads use the processor.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use graft_rt::abi::{Call, STACK_TOP};
use graft_rt::test::{Numbers, Report, claim_success};
use graft_rt::{Error, Handle, Process, Share, claim, claim_eq, process, system, thread};

use crate::raw::{self, Beginning, FloatingPoint};

/// Bits that can be set in `FPCR` on every processor: rounding mode, flush to zero, default NaN, alternative half
/// precision.
const CONTROL: u64 = 0x07c0_0000;
/// Bits of `FPSR`: the cumulative exceptions and saturation.
const STATUS: u64 = 0x0800_009f;

/// Values that no other seed has.
fn values(seed: u64) -> FloatingPoint {
    let mut numbers = Numbers::new(seed);
    FloatingPoint {
        vectors: core::array::from_fn(|_| [numbers.next(), numbers.next()]),
        control: numbers.next() & CONTROL,
        status: numbers.next() & STATUS,
    }
}

/// Ways to let other threads run in between: yielding, sleeping, using up the time slice.
const WAYS: [(Call, u64, u64); 3] = [(Call::Yield, 60, 300), (Call::Sleep, 12, 2000), (Call::Clock, 2, 12_000_000)];

/// Holds values in each way. Returns how often they came back changed.
fn hold(seed: u64) -> u32 {
    let mut wrong = 0;
    for (way, &(call, rounds, turns)) in WAYS.iter().cycle().skip(seed as usize % 3).take(3).enumerate() {
        let mut values = values(seed * 3 + way as u64);
        let (found, _) = raw::hold(&values, call, rounds, turns, [200_000, 0]);
        values.step(rounds);
        wrong += u32::from(found != values);
    }
    wrong
}

pub(crate) fn many(report: &Report) -> Result<(), Error> {
    let cores = system::info()?.cores;
    let threads = 2 * cores.min(4) + 1;
    let wrong = AtomicU32::new(0);
    let work = |first: u64| {
        thread::scope(|scope| {
            for seed in first..first + threads {
                let wrong = &wrong;
                scope.spawn(move || wrong.fetch_add(hold(seed), Ordering::Relaxed))?;
            }
            Ok(())
        })
    };
    let mut children = Vec::new();
    for number in 1..=2 {
        children.push(Process::fork_into(Share::default(), || match work(number * 1000) {
            Ok(()) => wrong.load(Ordering::Relaxed) as i32,
            Err(_) => -1,
        })?);
    }
    work(0)?;
    for child in &children {
        claim_success(report, child, format_args!("a process with {threads} threads that hold values"));
    }
    claim_eq!(report, wrong.into_inner(), 0, "values that changed in {threads} threads");
    Ok(())
}

/// Two threads hold values; others, which never touch the registers, drive them from core to core. A core must not
/// reuse the values of a thread that has run on another core since.
pub(crate) fn few(report: &Report) -> Result<(), Error> {
    let (stop, wrong) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for number in 0..system::info()?.cores.min(4) as u32 + 1 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    (0..5000 * (number + 1)).for_each(|_| core::hint::spin_loop());
                    process::sleep(Duration::from_micros(100 * u64::from(number)));
                }
            })?;
        }
        let holders = [1, 2].map(|seed| {
            let wrong = &wrong;
            scope.spawn(move || {
                for round in 0..60 {
                    let (call, rounds, turns) = WAYS[round % 2];
                    let mut values = values(seed * 100 + round as u64);
                    let (found, _) = raw::hold(&values, call, rounds, turns, [100_000, 0]);
                    values.step(rounds);
                    wrong.fetch_add(u32::from(found != values), Ordering::Relaxed);
                }
            })
        });
        let ends = holders.map(|holder| holder.and_then(thread::JoinHandle::join));
        stop.store(true, Ordering::Relaxed);
        ends.into_iter().collect::<Result<(), Error>>()
    })?;
    claim_eq!(report, wrong.into_inner(), 0, "values that were old when a thread came back to a processor");
    Ok(())
}

pub(crate) fn begins(report: &Report) -> Result<(), Error> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 1..=system::info()?.cores.min(4) {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    raw::hold(&values(seed), Call::Yield, 10, 1000, [0; 2]);
                }
            })?;
        }
        for round in 0..100 {
            let mut found = Beginning::UNKNOWN;
            raw::look(&mut found, STACK_TOP as u64, 0)?;
            let zero = found.floating_point == FloatingPoint::ZERO;
            claim!(report, zero, "a fresh thread finds {:x?}", found.floating_point);

            let mut own = values(500 + round);
            let share = Share::ALL[round as usize % 4];
            let (after, answer) = raw::hold(&own, Call::Fork, 1, 1, [u64::from(Handle::SELF.0), share as u64]);
            own.step(1);
            if answer == 0 {
                let mut found = Beginning::UNKNOWN;
                // A new thread of the child inherits no values.
                let looked = raw::look(&mut found, STACK_TOP as u64, 0).is_ok();
                let right = after == own && looked && found.floating_point == FloatingPoint::ZERO;
                process::exit(i32::from(!right))
            }
            claim!(report, after == own, "values after a fork");
            let handle = Handle(answer as u32);
            let status = process::wait(handle)?;
            claim!(report, status.is_success(), "values in a child ({}): it {status}", share.name());
            process::close(handle)?;
        }
        stop.store(true, Ordering::Relaxed);
        Ok(())
    })
}
