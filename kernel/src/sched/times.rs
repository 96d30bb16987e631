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
    /// How long it has had nothing to run; while it has nothing, less the moment at which that began. So one load tells
    /// other cores.
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

    /// From the last change on it has had nothing to run.
    pub(super) fn begin_idle(&self) {
        self.idle.store(self.idle.load(Ordering::Relaxed).wrapping_sub(self.since()), Ordering::Relaxed);
    }

    /// Nor has it had until here: from the last change on, or since [`begin_idle`](Self::begin_idle).
    pub(super) fn charge_idle(&self) {
        let more = self.take();
        let idle = self.idle.load(Ordering::Relaxed);
        let more = if is_idle(idle) { self.since() } else { more };
        self.idle.store(idle.wrapping_add(more), Ordering::Relaxed);
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

    /// How long it has been counted up to this moment, and how long of that it has been idle.
    pub(super) fn up_to(&self, now: u64) -> (u64, u64) {
        let idle = self.idle.load(Ordering::Relaxed);
        let idle = if is_idle(idle) { idle.wrapping_add(now) } else { idle };
        // Another core's may have begun after the moment.
        let idle = if is_idle(idle) { 0 } else { idle };
        (now.saturating_sub(self.entered.load(Ordering::Relaxed)), idle)
    }
}

/// Whether an idle time is that of a core that is idle: without the moment at which it ends, less than nothing.
fn is_idle(idle: u64) -> bool {
    idle >> 63 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_idle_from_the_last_change_on_whether_or_not_it_says_so_before() {
        let times = CoreTimes::new();
        times.begin();
        let begun = times.since();
        let pass = || {
            while timer::counts() == times.since() {}
        };
        assert_eq!(times.up_to(begun), (0, 0));
        pass();
        // The end of a thread: told afterwards.
        times.charge_idle();
        let first = times.since();
        assert_eq!(times.up_to(first + 5), (first + 5 - begun, first - begun), "it is idle no longer");
        times.begin_idle();
        assert_eq!(times.up_to(first + 5), (first + 5 - begun, first + 5 - begun), "it is now, up to any moment");
        pass();
        times.charge_idle();
        let second = times.since();
        assert_eq!(times.up_to(second + 5), (second + 5 - begun, second - begun));
        assert_eq!(times.up_to(begun.saturating_sub(1)).0, 0);
    }
}
