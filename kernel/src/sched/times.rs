//! Where a core's time goes: to the threads that it runs, and to none while it has nothing to run.
//!
//! ```text
//!   entered      thread a        thread b       nothing to run       thread b
//!      |------------|---------------|-----------------|------------------|----> now
//!                  since: each change of what runs charges the time since the one before
//! ```
//!
//! One reading of the counter for each change, and no moment is left out or counted twice: over a core's threads and
//! its idle time, the sum is the time since it entered the scheduler. What a core does between two threads counts for
//! the one that it runs next.

#![forbid(unsafe_code)]

use crate::arch::timer;
use crate::object::thread::Thread;
use core::sync::atomic::{AtomicU64, Ordering};

/// What a core knows of its time, in counts of the timer's. The core alone stores; others look.
pub(super) struct CoreTimes {
    /// When what it does now began.
    since: AtomicU64,
    /// How long it has had nothing to run.
    idle: AtomicU64,
    /// When it entered the scheduler.
    entered: AtomicU64,
}

impl CoreTimes {
    pub(super) const fn new() -> CoreTimes {
        CoreTimes { since: AtomicU64::new(0), idle: AtomicU64::new(0), entered: AtomicU64::new(0) }
    }

    /// From here on the core's time is counted.
    pub(super) fn begin(&self) {
        let now = timer::counts();
        self.entered.store(now, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    /// Charges the thread that the core runs, or has run until here. All that is on the straight way of a call.
    #[inline(always)]
    pub(super) fn charge(&self, thread: &Thread) {
        thread.charge(self.take());
    }

    /// The same where it has had nothing to run, or has brought a thread to its end.
    pub(super) fn charge_idle(&self) {
        self.idle.store(self.idle.load(Ordering::Relaxed).wrapping_add(self.take()), Ordering::Relaxed);
    }

    /// How long the core has done what it does now, which ends here.
    #[inline(always)]
    fn take(&self) -> u64 {
        let now = timer::counts();
        let since = self.since.load(Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        now.wrapping_sub(since)
    }

    /// When what it does now began.
    pub(super) fn since(&self) -> u64 {
        self.since.load(Ordering::Acquire)
    }

    /// How long it has been counted up to this moment, and how long of that it has been idle, as it is now or not.
    pub(super) fn up_to(&self, now: u64, is_idle: bool) -> (u64, u64) {
        let more = if is_idle { now.saturating_sub(self.since()) } else { 0 };
        let idle = self.idle.load(Ordering::Relaxed).wrapping_add(more);
        (now.saturating_sub(self.entered.load(Ordering::Relaxed)), idle)
    }
}
