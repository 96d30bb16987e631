//! How a thread is scheduled: priorities, and cores; and what time it has had.

use super::{Account, Thread, Times};
use crate::arch;
use core::sync::atomic::Ordering;
use graft_abi::{PRIORITIES, PRIORITY_DEFAULT};

/// How a thread is scheduled: its own priority, the highest that it may give, and the cores that it may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling(pub(super) u32);

impl Scheduling {
    // Bits 0 to 7: cores; 8 to 15: priority; 16 to 23: limit; 31: no part of it, but in the same word of a thread.
    const ALL_CORES: u32 = 0xff;
    pub(super) const STOPPED: u32 = 1 << 31;

    /// The first thread's.
    pub const FIRST: Scheduling =
        Scheduling(Self::ALL_CORES | (PRIORITY_DEFAULT as u32) << 8 | (PRIORITIES as u32 - 1) << 16);

    /// The thread's own priority.
    #[inline(always)]
    pub fn priority(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The highest priority that it may give.
    pub fn limit(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The cores that it may run on, a bit for each.
    pub fn cores(self) -> u32 {
        self.0 & Self::ALL_CORES
    }

    /// With this priority, on these cores; 0 is all.
    #[must_use]
    pub fn with(self, priority: u8, cores: u32) -> Scheduling {
        let cores = if cores == 0 { Self::ALL_CORES } else { cores & Self::ALL_CORES };
        Scheduling(self.0 & 0xff_0000 | u32::from(priority) << 8 | cores)
    }

    /// For a program of its own: it may go no higher.
    #[must_use]
    pub fn limited(self) -> Scheduling {
        Scheduling(self.0 & 0xffff | u32::from(self.priority()) << 16)
    }
}

const _: () = assert!(arch::MAX_CORES <= 8 && PRIORITIES <= 256);

impl Thread {
    /// The priority that counts.
    #[inline(always)]
    pub fn priority(&self) -> u8 {
        self.priority.load(Ordering::Relaxed)
    }

    /// How it is scheduled by itself.
    #[inline(always)]
    pub fn scheduling(&self) -> Scheduling {
        Scheduling(self.scheduling.load(Ordering::Relaxed) & !Scheduling::STOPPED)
    }

    /// Changes that, from the next time on that it begins to run.
    pub fn set_scheduling(&self, scheduling: Scheduling) {
        let change = |word| Some(scheduling.0 | word & Scheduling::STOPPED);
        let _ = self.scheduling.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Whether this core may run it, and its registers are what it goes on with.
    #[inline(always)]
    pub fn may_resume_on(&self, core: usize) -> bool {
        self.scheduling.load(Ordering::Relaxed) & (Scheduling::STOPPED | 1 << core) == 1 << core
    }

    /// Whether this core may run it.
    #[inline(always)]
    pub fn may_run_on(&self, core: usize) -> bool {
        self.scheduling.load(Ordering::Relaxed) >> core & 1 != 0
    }

    /// Lends it a priority, until [`return_priority`](Self::return_priority). The calling core owns it. Returns the one
    /// that counts now.
    #[inline(always)]
    pub fn lend_priority(&self, priority: u8) -> u8 {
        let priority = self.scheduling().priority().max(priority);
        self.priority.store(priority, Ordering::Relaxed);
        priority
    }

    /// Whether a higher priority than its own counts.
    #[inline(always)]
    pub fn is_lent_priority(&self) -> bool {
        self.priority() != self.scheduling().priority()
    }

    /// Has its own priority count again.
    #[inline(always)]
    pub fn return_priority(&self) {
        self.priority.store(self.scheduling().priority(), Ordering::Relaxed);
    }

    /// Adds time in which it has run, in counts of the timer's. The calling core owns it.
    #[inline(always)]
    pub fn charge(&self, counts: u64) {
        self.times.charge(self.account.load(Ordering::Relaxed), counts);
    }

    /// What it has been charged with so far.
    #[inline(always)]
    pub fn times(&self) -> Times {
        self.times.times()
    }

    /// For which it works.
    pub fn account(&self) -> Account {
        let own = self.account.load(Ordering::Relaxed) == Account::Own as u8;
        if own { Account::Own } else { Account::Callers }
    }

    /// Has it work for a caller of this priority, until it [works for itself](Self::work_for_itself). The calling core
    /// owns it, and has charged it.
    #[inline(always)]
    pub fn work_for_caller(&self, priority: u8) -> u8 {
        self.account.store(Account::Callers as u8, Ordering::Relaxed);
        self.lend_priority(priority)
    }

    /// Has it work for itself again, likewise.
    #[inline(always)]
    pub fn work_for_itself(&self) {
        self.return_priority();
        self.account.store(Account::Own as u8, Ordering::Relaxed);
    }
}
