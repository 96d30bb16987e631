//! Threads that are ready on one core: a list for each priority, and a word that says which have members.

use crate::lock::Mutex;
use crate::object::Ref;
use crate::object::list::List;
use crate::object::thread::{Queued, Thread};
use core::sync::atomic::{AtomicU32, Ordering};
use graft_abi::PRIORITIES;

/// Threads of one priority at which a core looks that has nothing to do itself, for one that it may run.
const LOOKS: usize = 8;

/// The level of a priority: a bit.
#[inline(always)]
pub(super) fn level(thread: &Thread) -> u32 {
    level_of(thread.priority())
}

/// The level of this priority.
#[inline(always)]
pub fn level_of(priority: u8) -> u32 {
    1 << (priority as usize % PRIORITIES)
}

/// What the most urgent of the threads that are ready is, compared with another; lower if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Lower,
    Same,
    Higher,
}

/// The ready threads of one core.
pub(super) struct Ready {
    lists: Mutex<[List<Ref<Thread>, Queued>; PRIORITIES]>,
    /// Bit n: there are threads of priority n. For a look without the lock.
    levels: AtomicU32,
}

const _: () = assert!(PRIORITIES == u32::BITS as usize);

impl Ready {
    pub(super) const fn new() -> Ready {
        Ready { lists: Mutex::new([const { List::new() }; PRIORITIES]), levels: AtomicU32::new(0) }
    }

    /// Whether there is none, or there was none a moment ago.
    pub(super) fn is_empty(&self) -> bool {
        self.levels.load(Ordering::Relaxed) == 0
    }

    /// Whether there is one of a higher priority than that of this level, or of the same. Levels are compared as they
    /// are.
    #[inline(always)]
    pub(super) fn compare(&self, level: u32) -> Compared {
        let levels = self.levels.load(Ordering::Relaxed);
        match levels {
            _ if levels < level => Compared::Lower,
            _ if levels >> 1 >= level => Compared::Higher,
            _ => Compared::Same,
        }
    }

    /// Adds a thread behind those of its priority.
    pub(super) fn push(&self, thread: Ref<Thread>) {
        let level = usize::from(thread.priority()) % PRIORITIES;
        let mut lists = self.lists.lock();
        lists[level].push_back(thread);
        self.levels.store(self.levels.load(Ordering::Relaxed) | 1 << level, Ordering::Relaxed);
    }

    /// Takes out the first of the highest priority.
    pub(super) fn pop(&self) -> Option<Ref<Thread>> {
        // Stale by a moment at worst: a core that pushes to an idle one interrupts it afterwards.
        if self.is_empty() {
            return None;
        }
        let mut lists = self.lists.lock();
        let level = 31u32.checked_sub(self.levels.load(Ordering::Relaxed).leading_zeros())? as usize;
        let thread = lists[level].pop_front();
        if lists[level].is_empty() {
            self.levels.store(self.levels.load(Ordering::Relaxed) & !(1 << level), Ordering::Relaxed);
        }
        thread
    }

    /// Takes this one out, if it stands among those of this priority.
    pub(super) fn remove(&self, priority: u8, thread: &Thread) -> Option<Ref<Thread>> {
        let level = usize::from(priority) % PRIORITIES;
        let mut lists = self.lists.lock();
        let thread = lists[level].remove(thread)?;
        if lists[level].is_empty() {
            self.levels.store(self.levels.load(Ordering::Relaxed) & !(1 << level), Ordering::Relaxed);
        }
        Some(thread)
    }

    /// Takes out one of the first that another core may run, of as high a priority as there is.
    pub(super) fn pop_for(&self, core: usize) -> Option<Ref<Thread>> {
        let mut levels = self.levels.load(Ordering::Relaxed);
        if levels == 0 {
            return None;
        }
        let mut lists = self.lists.lock();
        while levels != 0 {
            let level = (u32::BITS - 1 - levels.leading_zeros()) as usize;
            levels &= !(1 << level);
            let list = &mut lists[level];
            let Some((thread, ())) = list.take_first(LOOKS, |thread| thread.may_run_on(core).then_some(())) else {
                continue;
            };
            if list.is_empty() {
                self.levels.store(self.levels.load(Ordering::Relaxed) & !(1 << level), Ordering::Relaxed);
            }
            return Some(thread);
        }
        None
    }
}
