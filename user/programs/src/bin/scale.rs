//! Measures what forks and writes cost on one, two and four cores at once: `scale [--rounds N] [--csv]`.
//!
//! A round of a worker: fork a child that writes to some pages and ends; write to the same pages; wait. Workers are
//! apart (each with memory of its own) or relatives (all share the tables and pages of one parent to begin with, and
//! split them at once).
//!
//! With instructions counted (`ICOUNT=1`), QEMU runs the cores in turns on one clock. The clock's advance while all of
//! them work, divided by the rounds of all, is the number of instructions that a round takes on the cores together: it
//! grows where cores hinder each other. The kernel counts how often a core finds a lock taken; that figure means most
//! when the cores run at the same time, without `ICOUNT`.
//!
//! With `--csv` a row is `scale,KIND,WORKERS,METRIC,UNIT,VALUE`.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use graft_rt::abi::{PAGE_SIZE, SystemInfo};
use graft_rt::gate::Gate;
use graft_rt::process::{Process, sleep};
use graft_rt::size::Grouped;
use graft_rt::test::touch_stack_and_heap;
use graft_rt::{Arguments, ExitStatus, Region, Share, eprintln, println, system, time};

graft_rt::program!(main);

/// Two level-3 tables.
const BYTES: usize = 4 << 20;
/// Pages that parent and child write to in a round, spread over both tables.
const WRITES: usize = 8;
const SETTLE: Duration = Duration::from_millis(50);
const USAGE: &str = "usage: scale [--rounds N] [--csv]";

/// Whose memory the workers write to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Apart,
    Relatives,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Apart => "apart",
            Kind::Relatives => "relatives",
        }
    }
}

/// What a number of workers has cost.
struct Cost {
    /// Nanoseconds of the machine's clock, instructions where these are counted, for each round.
    round: u64,
    /// How often a lock was taken, and looked at again, in a thousand rounds.
    waits: u64,
    turns: u64,
}

fn main(mut arguments: Arguments) -> Result<i32, String> {
    let (mut rounds, mut csv) = (200_u64, false);
    arguments.next();
    while let Some(argument) = arguments.next() {
        match (argument, argument == "--rounds") {
            ("--csv", _) => csv = true,
            (_, true) => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number @ 1..=1_000_000) => rounds = number,
                _ => return Ok(wrong("--rounds needs a number from 1 to 1000000")),
            },
            _ => return Ok(wrong(argument)),
        }
    }
    // An emulator that runs the cores in turns may not have run some of them yet.
    sleep(SETTLE);
    let cores = look()?.cores;
    if !csv {
        println!(
            "{cores} cores; {rounds} rounds of each worker; locks found taken, and looked at again, in 1,000 rounds"
        );
        println!("{:10} {:>7} {:>12} {:>12} {:>12}", "memory", "workers", "ns a round", "lock waits", "looks");
    }
    for kind in [Kind::Apart, Kind::Relatives] {
        for workers in [1, 2, 4].into_iter().filter(|workers| *workers <= cores) {
            let cost = measure(kind, workers, rounds)?;
            let name = kind.name();
            if csv {
                for (metric, unit, value) in [
                    ("round", "ns", cost.round),
                    ("lock_waits", "per_1000", cost.waits),
                    ("lock_turns", "per_1000", cost.turns),
                ] {
                    println!("scale,{name},{workers},{metric},{unit},{value}");
                }
            } else {
                let [round, waits, turns] = [cost.round, cost.waits, cost.turns].map(Grouped);
                println!("{name:10} {workers:>7} {round:>12} {waits:>12} {turns:>12}");
            }
        }
    }
    Ok(0)
}

fn wrong(what: &str) -> i32 {
    eprintln!("scale: {what}");
    eprintln!("{USAGE}");
    2
}

fn look() -> Result<SystemInfo, String> {
    system::info().map_err(|error| error.to_string())
}

fn measure(kind: Kind, workers: u64, rounds: u64) -> Result<Cost, String> {
    let failed = |error: graft_rt::Error| error.to_string();
    let memory = filled()?;
    let gate = Gate::new().map_err(failed)?;
    let mut all = Vec::with_capacity(workers as usize);
    for _ in 0..workers {
        let work = || {
            let own = if kind == Kind::Apart { filled().ok() } else { None };
            touch_stack_and_heap();
            gate.pass();
            work(own.as_ref().unwrap_or(&memory), rounds)
        };
        all.push(Process::fork_into(Share::default(), work).map_err(failed)?);
    }
    // Lets each of them reach the gate.
    sleep(SETTLE);
    let before = look()?;
    let begin = time::clock();
    gate.open();
    for worker in &all {
        let status = worker.wait().map_err(failed)?;
        if status != ExitStatus::Exited(0) {
            return Err(alloc::format!("a worker {status}"));
        }
    }
    let passed = time::clock() - begin;
    let after = look()?;
    let in_all = workers * rounds;
    Ok(Cost {
        round: passed.as_nanos() as u64 / in_all,
        waits: (after.lock_waits - before.lock_waits) * 1000 / in_all,
        turns: (after.lock_turns - before.lock_turns) * 1000 / in_all,
    })
}

fn filled() -> Result<Region, String> {
    let memory = Region::new(BYTES).map_err(|error| error.to_string())?;
    memory.fill(|page| page as u8);
    Ok(memory)
}

/// A worker's rounds: its exit code.
fn work(memory: &Region, rounds: u64) -> i32 {
    let write = |value: u8| {
        for number in 0..WRITES {
            memory.write(number * (BYTES / WRITES / PAGE_SIZE) * PAGE_SIZE, value);
        }
    };
    for round in 0..rounds {
        let child = Process::fork_into(Share::default(), || {
            write(!round as u8);
            0
        });
        let Ok(child) = child else { return 1 };
        write(round as u8);
        if child.wait() != Ok(ExitStatus::Exited(0)) || memory.read(0) != round as u8 {
            return 2;
        }
    }
    0
}
