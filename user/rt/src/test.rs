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

#[cfg(target_os = "none")]
pub use bare::Bare;

/// The claims of a test and whether they held.
#[derive(Debug, Default)]
pub struct Report {
    held: AtomicU32,
    failed: AtomicU32,
    /// How many claims had failed when the last group was done.
    failed_before: AtomicU32,
}

impl Report {
    /// An empty report.
    pub const fn new() -> Report {
        Report { held: AtomicU32::new(0), failed: AtomicU32::new(0), failed_before: AtomicU32::new(0) }
    }

    /// Notes whether a claim holds, and prints it if it does not. Returns whether it does.
    pub fn claim(&self, holds: bool, what: fmt::Arguments<'_>) -> bool {
        self.count(holds);
        if !holds {
            crate::println!("FAILED: {what}");
        }
        holds
    }

    fn count(&self, holds: bool) {
        let counter = if holds { &self.held } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nothing has been claimed.
    pub fn is_empty(&self) -> bool {
        self.counts() == (0, 0)
    }

    /// Prints that a group of claims is done, and whether all claims since the group before held.
    pub fn done(&self, what: fmt::Arguments<'_>) {
        crate::println!("{}: {what}", if self.close_group() { "ok" } else { "with failures" });
    }

    /// Ends a group of claims: whether all of them held.
    fn close_group(&self) -> bool {
        let failed = self.counts().1;
        self.failed_before.swap(failed, Ordering::Relaxed) == failed
    }

    /// Whether a claim has failed.
    pub fn has_failures(&self) -> bool {
        self.counts().1 > 0
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

/// How long a test waits for other threads and processes before it reports that they never came: in turns, not in time.
/// In each turn it yields for a moment and then works for a moment. A busy host slows the others and these turns
/// alike, but no clock.
#[derive(Debug)]
pub struct Patience(u32);

impl Patience {
    /// All of it: about ten seconds on a machine that has nothing else to do.
    pub const fn new() -> Patience {
        Patience(50_000)
    }

    /// Takes a turn; `false` if there are none left.
    pub fn turn(&mut self) -> bool {
        sleep(Duration::from_micros(200));
        work(20_000);
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

impl Default for Patience {
    fn default() -> Self {
        Patience::new()
    }
}

/// Waits until something holds; `false` if that has not happened when all [`Patience`] is gone.
pub fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let mut patience = Patience::new();
    loop {
        if holds() {
            return true;
        }
        if !patience.turn() {
            return holds();
        }
    }
}

/// Keeps the processor busy for a few instructions a step.
fn work(steps: u32) {
    (0..steps).for_each(|step| _ = core::hint::black_box(step));
}

/// Steps of [`work`] in which another core that has frames to give back does so, however the host divides
/// its time among the cores: several of the host's time slices.
const REST: u32 = 4_000_000;

/// How many frames are free or this program's own, to be compared with a later moment: what the
/// program itself has come to use in between is not lost.
#[derive(Clone, Copy, Debug)]
pub struct FreeFrames(u64);

impl FreeFrames {
    /// The number at this moment, once it no longer changes: another core may still be finishing
    /// earlier work.
    pub fn now() -> FreeFrames {
        let has_others = system::info().is_ok_and(|info| info.cores > 1);
        // The first count may take a page of the stack between its two looks.
        FreeFrames::count();
        let mut before = FreeFrames::count();
        let mut patience = Patience::new();
        while patience.turn() {
            if has_others {
                work(REST);
            }
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
        wait_until(|| {
            now = FreeFrames::count();
            now.0 == self.0
        });
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

    /// Whether a step has been reached.
    pub fn is_reached(&self, step: usize) -> bool {
        self.0.read(step) != 0
    }

    /// Waits until a step has been reached; `false` if it is not while there is [`Patience`].
    pub fn wait(&self, step: usize) -> bool {
        wait_until(|| self.is_reached(step))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_shown_with_its_own_group_and_counted_once() {
        let report = Report::new();
        report.count(true);
        assert!(report.close_group());
        report.count(false);
        assert!(!report.close_group());
        report.count(true);
        assert!(report.close_group());
        assert_eq!((report.counts(), report.finish_quietly()), ((2, 1), 1));
    }
}
