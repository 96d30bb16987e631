//! Processor time that a thread has used, for itself and for those that have called it.
//!
//! ```text
//!   own     ──────────┐              ┌───────    the core that runs the thread adds to one of the two
//!   callers           └── call kept ─┘           whenever it lets another run: six instructions
//! ```

use core::ops::{Add, AddAssign, Sub};
use core::sync::atomic::{AtomicU64, Ordering};

/// For which a thread works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Account {
    /// Itself.
    Own,
    /// The caller of a call that it has received and not yet answered.
    Callers,
}

/// Processor time by account, in counts of the timer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Used for itself.
    pub own: u64,
    /// Used for callers.
    pub callers: u64,
}

impl Times {
    /// All of it.
    pub const fn sum(self) -> u64 {
        self.own.wrapping_add(self.callers)
    }
}

impl Add for Times {
    type Output = Times;

    fn add(self, other: Times) -> Times {
        Times { own: self.own.wrapping_add(other.own), callers: self.callers.wrapping_add(other.callers) }
    }
}

impl AddAssign for Times {
    fn add_assign(&mut self, other: Times) {
        *self = *self + other;
    }
}

impl Sub for Times {
    type Output = Times;

    fn sub(self, other: Times) -> Times {
        Times { own: self.own.wrapping_sub(other.own), callers: self.callers.wrapping_sub(other.callers) }
    }
}

/// Where times are noted. One core at a time stores: the owner of the thread, or the holder of a lock. Others look.
#[derive(Default)]
#[repr(C)]
pub struct Noted([AtomicU64; 2]);

impl Noted {
    /// Adds to the account with this number.
    #[inline(always)]
    pub fn charge(&self, account: u8, counts: u64) {
        let sum = &self.0[usize::from(account) % self.0.len()];
        sum.store(sum.load(Ordering::Relaxed).wrapping_add(counts), Ordering::Relaxed);
    }

    /// Adds to both.
    pub fn add(&self, times: Times) {
        self.charge(Account::Own as u8, times.own);
        self.charge(Account::Callers as u8, times.callers);
    }

    /// What is noted so far.
    #[inline(always)]
    pub fn times(&self) -> Times {
        let [own, callers] = &self.0;
        Times { own: own.load(Ordering::Relaxed), callers: callers.load(Ordering::Relaxed) }
    }
}
