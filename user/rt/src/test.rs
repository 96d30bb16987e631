//! What the test programs have in common: claims that are checked, and the count at the end.
//!
//! A test program exits 0 or says what failed. It is an ordinary program; the host's harness
//! starts each on a machine of its own.

#[cfg(target_os = "none")]
mod bare;
pub mod depths;

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use graft_abi::{Error, ExitStatus, PAGE_SIZE, Permissions};

use crate::memory::{Region, Shared};
use crate::process::{self, Process, sleep};
use crate::system;
use crate::time::clock;

#[cfg(target_os = "none")]
pub use bare::Bare;

/// What has been claimed and whether it held.
#[derive(Debug, Default)]
pub struct Report {
    held: AtomicU32,
    failed: AtomicU32,
}

impl Report {
    /// An empty report.
    pub const fn new() -> Report {
        Report { held: AtomicU32::new(0), failed: AtomicU32::new(0) }
    }

    /// Notes whether a claim holds, and prints it if it does not. Returns whether it does.
    pub fn claim(&self, holds: bool, what: fmt::Arguments<'_>) -> bool {
        if holds {
            self.held.fetch_add(1, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            crate::println!("FAILED: {what}");
        }
        holds
    }

    /// Whether nothing has been claimed.
    pub fn is_empty(&self) -> bool {
        self.counts() == (0, 0)
    }

    /// Prints that a group of claims is done.
    pub fn done(&self, what: fmt::Arguments<'_>) {
        crate::println!("{}: {what}", if self.counts().1 == 0 { "ok" } else { "with failures" });
    }

    /// The exit code of [`finish`](Report::finish), without a count: for a part of a program that counts as one claim.
    pub fn finish_quietly(&self) -> i32 {
        let (held, failed) = self.counts();
        i32::from(failed > 0 || held == 0)
    }

    /// Prints the count. Returns the exit code: 0 if every claim held and there was one.
    pub fn finish(&self) -> i32 {
        let (held, failed) = self.counts();
        crate::println!("{held} claims held, {failed} failed");
        self.finish_quietly()
    }

    fn counts(&self) -> (u32, u32) {
        (self.held.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// Claims something: `claim!(report, condition, "what {}", should_hold)`.
#[macro_export]
macro_rules! claim {
    ($report:expr, $condition:expr, $($message:tt)+) => { $report.claim($condition, format_args!($($message)+)) };
}

/// Claims that two values are equal and shows both if they are not.
#[macro_export]
macro_rules! claim_eq {
    ($report:expr, $left:expr, $right:expr, $($message:tt)+) => {{
        let (left, right) = (&$left, &$right);
        $report.claim(left == right, format_args!("{}: {left:?}, expected {right:?}", format_args!($($message)+)))
    }};
}

/// Milliseconds that processes without a parent and other cores get to give back what they had.
const SETTLE: u32 = 5000;

/// How many frames are free or this program's own, to be compared with a later moment: what the
/// program itself has come to use in between is not lost.
#[derive(Clone, Copy, Debug)]
pub struct FreeFrames(u64);

impl FreeFrames {
    /// As many as there are now, when the number has come to rest: another core may be finishing
    /// what happened just before.
    pub fn now() -> FreeFrames {
        // The first count may take a page of the stack between its two looks.
        FreeFrames::count();
        let mut before = FreeFrames::count();
        for _ in 0..SETTLE {
            sleep(Duration::from_millis(2));
            let now = FreeFrames::count();
            if now.0 == before.0 {
                break;
            }
            before = now;
        }
        before
    }

    #[inline(never)]
    fn count() -> FreeFrames {
        let own = process::own_info();
        FreeFrames(system::free_frames().unwrap_or(0) + own.resident_pages + own.tables)
    }

    /// Claims that there are as many now. What another core is still giving back may take a moment.
    pub fn claim_same(self, report: &Report, what: fmt::Arguments<'_>) {
        let mut now = FreeFrames::count();
        for _ in 0..SETTLE {
            if now.0 == self.0 {
                break;
            }
            sleep(Duration::from_millis(1));
            now = FreeFrames::count();
        }
        let (before, now) = (self.0, now.0);
        report.claim(before == now, format_args!("{what}: {now} frames are free or its own, {before} were"));
    }
}

/// More of the stack and of the heap than any test uses.
const USED: usize = 128 << 10;

/// Writes to the stack and to the heap, so that the program needs no frame for them afterwards.
#[inline(never)]
pub fn touch_stack_and_heap() {
    core::hint::black_box([1u8; USED]);
    core::hint::black_box(alloc::vec![1u8; USED]);
}

/// A page that is shared across `fork`, in which a test's processes tell each other how far they are.
#[derive(Debug)]
pub struct Steps(Region);

impl Steps {
    /// A page on which no step has been reached.
    pub fn new() -> Result<Steps, Error> {
        Ok(Steps(Shared::new(PAGE_SIZE)?.map(Permissions::ReadWrite)?))
    }

    /// Says that a step has been reached: a number below the page size.
    pub fn reach(&self, step: usize) {
        self.0.write(step, 1);
    }

    /// Waits until a step has been reached; `false` if it is not within ten seconds.
    pub fn wait(&self, step: usize) -> bool {
        let start = clock();
        while self.0.read(step) == 0 {
            if clock() - start > PATIENCE {
                return false;
            }
            sleep(Duration::from_micros(200));
        }
        true
    }
}

/// How long [`Steps::wait`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Claims that a process ends in this way.
pub fn claim_end(report: &Report, process: &Process, expected: ExitStatus, what: fmt::Arguments<'_>) -> bool {
    match process.wait() {
        Ok(status) => report.claim(status == expected, format_args!("{what}: it {status}; expected: {expected}")),
        Err(error) => report.claim(false, format_args!("{what}: wait: {error}")),
    }
}

/// Claims that a process ends with code 0.
pub fn claim_success(report: &Report, process: &Process, what: fmt::Arguments<'_>) -> bool {
    claim_end(report, process, ExitStatus::Exited(0), what)
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence with this seed.
    pub const fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "a sequence without an end is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of the values.
    pub fn choose<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}
