//! Gathering: a core that finds no frame has the others bring back what lies in their magazines.

use super::Pool;
use super::depot::DEPOT;
use super::magazines::CACHES;
use crate::arch::{self, MAX_CORES};
use core::sync::atomic::{AtomicU32, Ordering};

/// One bit for each core that takes interrupts, and answers when it is asked.
static ANSWERING: AtomicU32 = AtomicU32::new(0);

/// Says that the calling core takes interrupts from now on.
pub fn answer_from_here() {
    ANSWERING.fetch_or(1 << arch::core_index(), Ordering::Relaxed);
}

/// One bit for each core that is asked to bring its magazines to the depot.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Has every core bring the frames in its magazines to the depot, from which they can be taken for any use. `true` if
/// there were any.
///
/// This core's own magazines count as well: a commitment is made from the depot alone, and the magazines of tables give
/// no frame for a page.
///
/// Not while a lock is held: another core may be waiting for it, with interrupts masked, and would never be asked.
pub fn gather() -> bool {
    let index = arch::core_index();
    let others = ANSWERING.load(Ordering::Relaxed) & !(1 << index);
    let before = DEPOT.lock().available();
    ASKED.fetch_or(others, Ordering::Release);
    (0..MAX_CORES).filter(|core| others & 1 << core != 0).for_each(arch::interrupts::wake);
    put_back(index);
    while ASKED.load(Ordering::Acquire) & others != 0 {
        // Another core may be waiting for this one in the same way.
        bring_if_asked();
        arch::relax();
    }
    DEPOT.lock().available() > before
}

/// Brings this core's magazines to the depot if another core has asked for them. Called for every interrupt.
pub fn bring_if_asked() {
    let index = arch::core_index();
    if ASKED.load(Ordering::Relaxed) & 1 << index != 0 {
        put_back(index);
        ASKED.fetch_and(!(1 << index), Ordering::Release);
    }
}

fn put_back(index: usize) {
    let mut depot = DEPOT.lock();
    for pool in Pool::ALL {
        // SAFETY: see `Sync`: this core's, and the borrow ends before this function does.
        let magazines = unsafe { &mut *CACHES[index].pools[pool as usize].get() };
        depot.put(magazines.current.take(), pool);
        depot.put(magazines.spare.take(), pool);
    }
}
