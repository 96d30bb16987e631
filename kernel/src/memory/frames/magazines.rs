//! Magazines: what one core has of free frames, for itself and without a lock.

use super::depot::{DEPOT, MAGAZINE, Magazine};
use super::{Pool, Use, reserve};
use crate::arch::MAX_CORES;
use core::cell::UnsafeCell;
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};
use graft_paging::Frame;

/// What one core has of a pool.
#[derive(Clone, Copy)]
pub(super) struct Magazines {
    pub(super) current: Magazine,
    pub(super) spare: Magazine,
}

/// What one core has for itself. Aligned so that no two cores write to one cache line.
#[repr(align(128))]
pub(super) struct Cache {
    pub(super) pools: [UnsafeCell<Magazines>; 2],
    /// Frames taken less frames given back on this core, by use; modulo 2^64, only the sum over all
    /// cores means something.
    pub(super) used: [AtomicU64; 3],
}

// SAFETY: `pools` is touched only by the core whose index the cache has; that core never takes an
// interrupt in the kernel, so no use of it overlaps another.
unsafe impl Sync for Cache {}

pub(super) static CACHES: [Cache; MAX_CORES] = [const {
    Cache {
        pools: [const { UnsafeCell::new(Magazines { current: Magazine::EMPTY, spare: Magazine::EMPTY }) }; 2],
        used: [const { AtomicU64::new(0) }; 3],
    }
}; MAX_CORES];

impl Cache {
    #[inline(always)]
    pub(super) fn count(&self, used_for: Use, change: u64) {
        // One writer: no need for a read-modify-write instruction.
        let counter = &self.used[used_for as usize];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(change), Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn allocate(&self, used_for: Use) -> Option<Frame> {
        let pool = Pool::of(used_for);
        // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
        let magazines = unsafe { &mut *self.pools[pool as usize].get() };
        let frame = match magazines.current.pop() {
            Some(frame) => frame,
            None => refill(magazines, pool)?,
        };
        self.count(used_for, 1);
        Some(frame)
    }

    #[inline(always)]
    pub(super) fn free(&self, frame: Frame, used_for: Use) {
        let pool = Pool::of(used_for);
        // SAFETY: as in `allocate`.
        let magazines = unsafe { &mut *self.pools[pool as usize].get() };
        if magazines.current.count == MAGAZINE {
            make_room(magazines, pool);
        }
        magazines.current.push(frame);
        self.count(used_for, u64::MAX);
    }
}

/// Fills the empty current magazine and takes a frame from it.
#[cold]
pub(super) fn refill(magazines: &mut Magazines, pool: Pool) -> Option<Frame> {
    if magazines.spare.count != 0 {
        mem::swap(&mut magazines.current, &mut magazines.spare);
        return magazines.current.pop();
    }
    let mut depot = DEPOT.lock();
    let available = match pool {
        Pool::Tables => depot.available().min(depot.tables_left()),
        Pool::Rest => depot.available(),
    };
    // Of the reserve no more than is needed: what lies in a magazine is anybody's.
    let most = if reserve::is_open() { available.min(1) } else { portion(available) };
    depot.fill(&mut magazines.current, pool, most);
    drop(depot);
    magazines.current.pop()
}

/// How many of the frames that are left a core takes for one pool: never all, or the last ones would lie in its
/// magazine of tables when a page is wanted, and the other way round.
fn portion(available: u64) -> u64 {
    available.div_ceil(2).min(MAGAZINE.into())
}

/// Puts the full current magazine aside.
#[cold]
pub(super) fn make_room(magazines: &mut Magazines, pool: Pool) {
    if magazines.spare.count == MAGAZINE {
        DEPOT.lock().put(magazines.spare, pool);
    }
    magazines.spare = magazines.current.take();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pool_never_takes_the_last_frames_of_both() {
        for available in 2..4 * u64::from(MAGAZINE) {
            let taken = portion(available);
            assert!((1..available).contains(&taken) && taken <= MAGAZINE.into(), "{taken} of {available}");
        }
        assert_eq!((portion(0), portion(1)), (0, 1));
    }
}
