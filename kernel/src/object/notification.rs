//! Notifications: bits that are set without waiting, and threads that wait for any.
//!
//! ```text
//!   notify(bits) ──▶ bits |= …  ──▶ a thread waits? it gets them all, and the word is 0 again
//!   end of a process or thread, call in line at an endpoint ──▶ the same, with the bits that were bound to it
//! ```
//!
//! Only one of the two is there at any time: bits, or threads that wait.

use crate::arch::MAX_CORES;
use crate::lock::Mutex;
use crate::object::list::List;
use crate::object::thread::{Queued, Thread};
use crate::object::wait::Queue;
use crate::object::{Kind, Object, Ref};
use crate::sched;
use graft_abi::Error;

/// Bits, and who waits for them.
pub struct Notification {
    state: Mutex<State>,
}

/// What the lock is for.
pub struct State {
    bits: u64,
    /// Threads that wait for any bit.
    pub waiters: List<Ref<Thread>, Queued>,
}

/// A notification, and the bits that are set there when something happens.
pub struct Binding {
    /// Where.
    pub notification: Ref<Notification>,
    /// Which.
    pub bits: u64,
}

impl Notification {
    /// A new one, without a bit.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new() -> Result<Ref<Notification>, Error> {
        Ref::new(|_| Notification { state: Mutex::new(State { bits: 0, waiters: List::new() }) })
    }

    /// Sets bits. If a thread waits, it has them, and is the calling core's to run or to make ready.
    #[inline(always)]
    pub fn set(&self, bits: u64) -> Option<Ref<Thread>> {
        let mut state = self.state.lock();
        state.bits |= bits;
        if state.bits == 0 {
            return None;
        }
        // As many as there are cores can have been ended otherwise at a moment: such a one is taken out by the core
        // that has ended its wait.
        let (waiter, _) = state.waiters.take_first(MAX_CORES + 1, |waiter| sched::unblock(waiter).map(drop))?;
        let bits = core::mem::take(&mut state.bits);
        drop(state);
        sched::deliver_bits(&waiter, bits);
        Some(waiter)
    }

    /// Takes all bits, or, if there are none, does with the waiters what `wait` does, under their lock.
    #[inline(always)]
    pub fn take_or<R>(&self, wait: impl FnOnce(&mut List<Ref<Thread>, Queued>) -> R) -> Result<u64, R> {
        let mut state = self.state.lock();
        match core::mem::take(&mut state.bits) {
            0 => Err(wait(&mut state.waiters)),
            bits => Ok(bits),
        }
    }
}

impl Binding {
    /// Sets the bits, and has a thread run that waits for them.
    pub fn fire(&self) {
        if let Some(waiter) = self.notification.set(self.bits) {
            sched::make_ready(waiter);
        }
    }

    /// The same for the last time: the binding is gone when the thread runs.
    pub fn fire_last(self) {
        let waiter = self.notification.set(self.bits);
        drop(self);
        if let Some(waiter) = waiter {
            sched::make_ready(waiter);
        }
    }
}

impl Queue for Notification {
    fn cancel(&self, thread: &Thread) -> Option<Ref<Thread>> {
        self.state.lock().waiters.remove(thread)
    }
}

static NOTIFICATION: Kind<Notification> = Kind::new("notification");

impl Object for Notification {
    fn kind() -> &'static Kind<Self> {
        &NOTIFICATION
    }
}
