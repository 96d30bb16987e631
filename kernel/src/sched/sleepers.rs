//! A core's sleepers: threads that wait for a moment, and those whose wait in a queue ends at one at the latest.

use super::local::Core;
use super::wait::{end_wait, expire};
use super::{NEVER, make_ready};
use crate::arch::timer;
use crate::object::Ref;
use crate::object::thread::Thread;
use crate::object::wait::{Queue, Wait};
use crate::sync::{Ordering, fence};

/// Sleepers woken for one interrupt of the timer.
const WOKEN: usize = 32;

/// How long a thread stands aside for another that is in the middle of an operation, in nanoseconds: about a piece of
/// it.
const PAUSE: u64 = 10_000;

impl Core {
    /// Until when a thread that stands aside now does so.
    pub(super) fn end_of_pause() -> u64 {
        timer::now() + PAUSE
    }

    /// Blocks the current thread, which is this core's, until a moment. One that is returned did not block: its process
    /// is ending.
    pub(super) fn fall_asleep(&'static self, deadline: u64) -> Option<Ref<Thread>> {
        let thread = self.leave()?;
        let watched = thread.clone();
        // Locked first: a core that sees the thread blocked and takes it out to end it must find it here.
        let mut sleepers = self.sleepers.lock();
        // SAFETY: the current thread is this core's own.
        unsafe { thread.block(Wait::in_place(self)) };
        sleepers.push(thread, deadline);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let ended =
            if watched.process.is_ending() && watched.unblock().is_some() { sleepers.remove(&watched) } else { None };
        // Before the lock, so that this is never the last reference.
        drop(watched);
        drop(sleepers);
        ended
    }

    /// Has the current thread, which has work, stand aside for a moment.
    pub(super) fn stand_aside(&'static self) {
        if let Some(thread) = self.fall_asleep(Self::end_of_pause()) {
            // It has to end its work first, and meets the mark there.
            make_ready(thread);
        }
    }

    /// Wakes sleepers whose time has come, a few: for the others `first_wake` is over, and the timer fires again at
    /// once.
    pub(super) fn wake_sleepers(&self) {
        let now = timer::now();
        for _ in 0..WOKEN {
            let mut sleepers = self.sleepers.lock();
            let thread = sleepers.pop_until(now);
            self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
            let Some(thread) = thread else { break };
            if thread.deadline_core().is_some() {
                // In this order, and under the lock: a core that ends the wait otherwise lets the thread run only after
                // it has seen the note gone, or has had the lock. Until then this can end no other wait.
                let wait = thread.unblock();
                thread.set_deadline_core(None);
                drop(sleepers);
                if let Some(wait) = wait {
                    expire(&thread, &wait);
                }
                continue;
            }
            drop(sleepers);
            end_wait(&thread, None);
            make_ready(thread);
        }
    }

    /// Puts a thread among the sleepers beside the queue that it will stand in.
    #[inline(always)]
    pub(super) fn add_deadline(&self, index: usize, thread: Ref<Thread>, deadline: u64) {
        let mut sleepers = self.sleepers.lock();
        thread.set_deadline_core(Some(index));
        sleepers.push(thread, deadline);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        drop(sleepers);
        self.set_timer();
    }

    /// Takes it out again.
    #[inline(always)]
    pub(super) fn remove_deadline(&self, thread: &Thread) {
        let mut sleepers = self.sleepers.lock();
        thread.set_deadline_core(None);
        let removed = sleepers.remove(thread);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        drop(sleepers);
        drop(removed);
    }
}

/// Its sleepers.
impl Queue for Core {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        let mut sleepers = self.sleepers.lock();
        let thread = sleepers.remove(thread);
        self.first_wake.store(sleepers.first_key().unwrap_or(NEVER), Ordering::Relaxed);
        thread
    }
}
