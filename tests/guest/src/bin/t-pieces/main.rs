//! Tests that no operation on memory, whatever its size, keeps other threads waiting: a ready thread of the same core
//! gets its turn after one slice, and interrupts are answered while the operation goes on.
//!
//! `t-pieces` judges only what it can without a clock: that all operations work, and that no frame is lost.
//! `t-pieces --exact` judges the waiting, too, and wants a machine with one core that counts instructions
//! (`make run ICOUNT=1 SMP=1`), where a nanosecond is an instruction. `--size MIB` changes the size of 64 MiB. Two
//! hints mark what a plugin of QEMU's is to measure (`tests/masked`).

#![no_std]
#![no_main]

mod cases;
mod prepared;
mod waiters;

use core::time::Duration;

use graft_rt::process::sleep;
use graft_rt::test::{FreeFrames, Report};
use graft_rt::{
    Arguments, Error, ExitStatus, Permissions, Process, Region, Share, claim, claim_eq, memory, println, time,
};

graft_rt::program!(main);

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;
/// How long a thread may run while others wait, and what may come on top, in nanoseconds.
const SLICE: u64 = 10_000_000;
const MARGIN: u64 = 50_000;

/// What processes tell each other: words of a page that they share.
#[derive(Clone, Copy)]
struct Board(usize);

impl Board {
    /// How long the observer has waited for its turn at most.
    const LONGEST: usize = 0;
    /// Not 0 once the observer is to end.
    const OVER: usize = 1;
    /// Not 0 once a child has got to the agreed point.
    const READY: usize = 2;
    /// Where the page lies.
    const ADDRESS: usize = 0x40_0000_0000;

    /// The page, in every process.
    fn found() -> Board {
        Board(Self::ADDRESS)
    }

    fn wait_until_ready(self) {
        while self.get(Self::READY) == 0 {
            sleep(Duration::from_millis(1));
        }
    }

    fn get(self, word: usize) -> u64 {
        // SAFETY: a word of the page that `main` has mapped for good.
        unsafe { (self.0 as *const u64).add(word).read_volatile() }
    }

    fn set(self, word: usize, value: u64) {
        // SAFETY: as above.
        unsafe { (self.0 as *mut u64).add(word).write_volatile(value) };
    }
}

/// Sleeps again and again, and notes how much later than asked for it is woken.
fn observe(board: Board) -> i32 {
    const NAP: Duration = Duration::from_micros(300);
    while board.get(Board::OVER) == 0 {
        let before = time::clock();
        sleep(NAP);
        let late = (time::clock() - before).saturating_sub(NAP).as_nanos() as u64;
        if late > board.get(Board::LONGEST) {
            board.set(Board::LONGEST, late);
        }
    }
    0
}

fn begin() {
    // SAFETY: a hint without meaning.
    unsafe { core::arch::asm!("hint #64", options(nostack)) };
}

fn end() {
    // SAFETY: a hint without meaning.
    unsafe { core::arch::asm!("hint #65", options(nostack)) };
}

/// Runs until the slice is nearly over, so that the operation begins while other threads wait already.
fn use_up_slice(exact: bool) {
    sleep(Duration::from_millis(1));
    let start = time::clock();
    while exact && time::clock() - start < Duration::from_nanos(SLICE - 500_000) {}
}

fn main(mut arguments: Arguments) -> Result<i32, Error> {
    let report = Report::new();
    let (mut exact, mut bytes) = (false, 64 * MIB);
    while let Some(argument) = arguments.next() {
        match argument {
            "--exact" => exact = true,
            "--size" => bytes = arguments.next().and_then(|size| size.parse().ok()).unwrap_or(64) * MIB,
            _ => {}
        }
    }
    let _page: Region = memory::Shared::new(PAGE)?.map_at(Board::ADDRESS, Permissions::ReadWrite)?;
    let board = Board::found();
    let frames = FreeFrames::now();
    let observer = Process::fork_into(Share::default(), || observe(board))?;
    for case in cases::CASES {
        let name = case.name;
        board.set(Board::READY, 0);
        let child = Process::fork_into(Share::default(), || {
            let marked = || {
                use_up_slice(exact);
                board.set(Board::LONGEST, 0);
                begin();
            };
            match (case.run)(bytes, &marked) {
                Ok(()) => 0,
                Err(error) => {
                    println!("{name}: {error}");
                    1
                }
            }
        })?;
        claim_eq!(&report, child.wait(), Ok(ExitStatus::Exited(0)), "{name}");
        end();
        sleep(Duration::from_millis(1));
        let longest = board.get(Board::LONGEST);
        println!("bound,{name},{longest}");
        let allowed = SLICE + MARGIN;
        claim!(&report, !exact || longest <= allowed, "{name}: others waited {longest} ns, not {allowed}");
        drop(child);
    }
    board.set(Board::OVER, 1);
    observer.wait()?;
    drop(observer);
    frames.claim_same(&report, format_args!("after all of it"));
    Ok(report.finish())
}
