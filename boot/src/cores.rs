//! Which core gets which index, and with it which stack: at most one core an index, however late it comes.
//!
//! ```text
//!                 offer                    claim, by the core itself
//!   NO_CORE ────────────────► OFFERED|affinity ────────────────► affinity
//!      ▲                            │                             for good
//!      └────────────────────────────┘
//!          withdraw, by the first core, which has waited long enough
//! ```
//!
//! `claim` and `withdraw` are each one compare-and-exchange of the same word, so exactly one of them succeeds. A core
//! that arrives after the withdrawal finds no offer and parks; a first core that comes too late with its withdrawal
//! knows that the other core has the index and will be there in a few instructions.
//!
//! The arriving core has no stack before it has an index, so its side is in `mmu.s`; [`Indices::claim`] says the same
//! in Rust, for the tests.

use core::sync::atomic::{AtomicU64, Ordering};

/// The affinity fields of `MPIDR_EL1`: a core's name.
pub const AFFINITY_MASK: u64 = 0xFF_00FF_FFFF;

/// Set in an entry that waits for the core it names. A bit outside of [`AFFINITY_MASK`].
pub const OFFERED: u64 = 1 << 63;

/// An entry that names no core. Bits outside of [`AFFINITY_MASK`], so that it equals no offer.
const NO_CORE: u64 = u64::MAX;

/// The affinity of each core, by index. The core with index 0 is the first one.
#[repr(transparent)]
pub struct Indices<const N: usize>([AtomicU64; N]);

/// The outcome of withdrawing an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// The index is free again; the core that it was for cannot get it any more.
    Done,
    /// The core has taken the index.
    TooLate,
}

impl<const N: usize> Indices<N> {
    /// A table without cores.
    pub const fn new() -> Indices<N> {
        Indices([const { AtomicU64::new(NO_CORE) }; N])
    }

    /// Gives `index` to the calling core, the first one, which has no competitor for it.
    pub fn enter(&self, index: usize, affinity: u64) {
        self.0[index].store(affinity & AFFINITY_MASK, Ordering::Relaxed);
    }

    /// Offers the free `index` to the core with this affinity. Release: what the core reads after its claim was
    /// written before the offer.
    pub fn offer(&self, index: usize, affinity: u64) {
        self.0[index].store(affinity & AFFINITY_MASK | OFFERED, Ordering::Release);
    }

    /// Takes the offer of `index` back from the core with this affinity.
    pub fn withdraw(&self, index: usize, affinity: u64) -> Withdrawal {
        let offer = affinity & AFFINITY_MASK | OFFERED;
        match self.0[index].compare_exchange(offer, NO_CORE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Withdrawal::Done,
            Err(_) => Withdrawal::TooLate,
        }
    }

    /// The index that was offered to the core with this affinity, if it still is. `mmu.s` does this, word for word.
    #[cfg(test)]
    fn claim(&self, affinity: u64) -> Option<usize> {
        let offer = affinity & AFFINITY_MASK | OFFERED;
        self.0.iter().position(|entry| {
            entry.compare_exchange(offer, affinity & AFFINITY_MASK, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// The affinity of the core with this index, which runs.
    pub fn affinity(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed) & AFFINITY_MASK
    }
}

impl<const N: usize> Default for Indices<N> {
    fn default() -> Indices<N> {
        Indices::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    #[test]
    fn a_core_finds_the_index_it_was_offered() {
        let indices: Indices<4> = Indices::new();
        indices.enter(0, 0x8000_0000);
        indices.offer(1, 0x8000_0102);
        assert_eq!(indices.claim(0x103), None);
        assert_eq!(indices.claim(0x102), Some(1));
        assert_eq!((indices.affinity(0), indices.affinity(1)), (0, 0x102));
    }

    #[test]
    fn a_core_that_comes_after_the_withdrawal_gets_nothing_and_the_next_one_gets_its_index() {
        let indices: Indices<2> = Indices::new();
        indices.offer(1, 2);
        assert_eq!(indices.withdraw(1, 2), Withdrawal::Done);
        indices.offer(1, 3);
        assert_eq!(indices.claim(2), None);
        assert_eq!(indices.claim(3), Some(1));
    }

    #[test]
    fn an_index_that_is_taken_stays_taken() {
        let indices: Indices<2> = Indices::new();
        indices.offer(1, 2);
        assert_eq!(indices.claim(2), Some(1));
        assert_eq!(indices.withdraw(1, 2), Withdrawal::TooLate);
        // A tree that names the same core twice has it started twice.
        assert_eq!(indices.claim(2), None);
        assert_eq!(indices.affinity(1), 2);
    }

    #[test]
    fn of_a_core_and_a_withdrawal_at_the_same_time_one_succeeds() {
        const ROUNDS: u64 = 20_000;
        let indices: Indices<2> = Indices::new();
        let start = Barrier::new(2);
        let outcomes = thread::scope(|scope| {
            let late = scope.spawn(|| {
                let claim = |round| {
                    start.wait();
                    let claimed = indices.claim(round);
                    start.wait();
                    claimed.is_some()
                };
                (0..ROUNDS).map(claim).collect::<Vec<_>>()
            });
            let withdraw = |round| {
                indices.offer(1, round);
                start.wait();
                let withdrawal = indices.withdraw(1, round);
                start.wait();
                withdrawal == Withdrawal::Done
            };
            let withdrawn: Vec<_> = (0..ROUNDS).map(withdraw).collect();
            withdrawn.into_iter().zip(late.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(outcomes.iter().all(|(withdrawn, claimed)| withdrawn != claimed));
    }
}
