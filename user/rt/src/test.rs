//! What the test programs have in common: claims that are checked, and the count at the end.
//!
//! A test program exits 0 or says what failed. It is an ordinary program; the host's harness
//! starts each on a machine of its own.

use core::cell::Cell;
use core::fmt;

/// What has been claimed and whether it held.
#[derive(Debug, Default)]
pub struct Report {
    held: Cell<u32>,
    failed: Cell<u32>,
}

impl Report {
    /// An empty report.
    pub const fn new() -> Report {
        Report { held: Cell::new(0), failed: Cell::new(0) }
    }

    /// Notes whether a claim holds, and prints it if it does not. Returns whether it does.
    pub fn claim(&self, holds: bool, what: fmt::Arguments<'_>) -> bool {
        if holds {
            self.held.set(self.held.get() + 1);
        } else {
            self.failed.set(self.failed.get() + 1);
            crate::println!("FAILED: {what}");
        }
        holds
    }

    /// Prints that a group of claims is done.
    pub fn done(&self, what: fmt::Arguments<'_>) {
        crate::println!("{}: {what}", if self.failed.get() == 0 { "ok" } else { "with failures" });
    }

    /// Prints the count. Returns the exit code: 0 if every claim held and there was one.
    pub fn finish(&self) -> i32 {
        let (held, failed) = (self.held.get(), self.failed.get());
        crate::println!("{held} claims held, {failed} failed");
        i32::from(failed > 0 || held == 0)
    }

    /// How many claims have failed.
    pub fn failures(&self) -> u32 {
        self.failed.get()
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
