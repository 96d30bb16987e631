//! A mutex, a condition variable and a semaphore for the threads of one process: without a call of the kernel's where
//! no thread has to wait.
//!
//! The three states of the mutex are Drepper's ("Futexes Are Tricky", 2011): free, taken, and taken with threads that
//! may be waiting, so that the one that gives it back knows whether to wake another.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use graft_abi::{Call, Error};

use crate::call::call;
use crate::message::{NEVER, moment};

/// Blocks while a word is what it is expected to be, until another thread of the process [wakes](wake) one that waits
/// there. It may come back early: look at the word again.
///
/// # Errors
/// [`Error::TimedOut`].
pub fn wait_on(word: &AtomicU32, expected: u32, deadline: Option<Duration>) -> Result<(), Error> {
    let deadline = deadline.map_or(NEVER, moment);
    // SAFETY: the kernel reads the word.
    match unsafe { call(Call::WaitOn, [word.as_ptr().addr() as u64, expected.into(), deadline]) } {
        Ok(_) | Err(Error::NotReady) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Wakes the thread that has waited on a word for longest. Returns whether there was one.
pub fn wake(word: &AtomicU32) -> bool {
    // SAFETY: the call touches no memory.
    unsafe { call(Call::Wake, [word.as_ptr().addr() as u64]) }.is_ok_and(|answer| answer.x0 != 0)
}

/// Blocks without a deadline.
fn wait(word: &AtomicU32, expected: u32) {
    wait_on(word, expected, None).expect("a word of this process's, and no deadline");
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WAITED_FOR: u32 = 2;

/// A value that one thread has at a time.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the state lets one thread in at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// The value of a mutex, until it is dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// One that no thread has.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Waits until no other thread has it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_with_others();
        }
        MutexGuard { mutex: self }
    }

    #[cold]
    fn lock_with_others(&self) {
        while self.state.swap(WAITED_FOR, Ordering::Acquire) != FREE {
            wait(&self.state, WAITED_FOR);
        }
    }

    /// The value, if no other thread has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let exchanged = self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed);
        exchanged.is_ok().then_some(MutexGuard { mutex: self })
    }

    /// The value, which no other thread can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn unlock(&self) {
        if self.state.swap(FREE, Ordering::Release) == WAITED_FOR {
            wake(&self.state);
        }
    }
}

// SAFETY: a shared guard gives a shared value and no more.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this thread has the mutex.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

/// Where threads wait for a change of what a mutex protects.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Counts notifications.
    sequence: AtomicU32,
    /// Threads that wait, or are about to.
    waiters: AtomicU32,
}

impl Condvar {
    /// One at which no thread waits.
    pub const fn new() -> Condvar {
        Condvar { sequence: AtomicU32::new(0), waiters: AtomicU32::new(0) }
    }

    /// Gives the mutex back, waits for a notification that comes after that, and takes the mutex again. It may come
    /// back without one: look at the condition again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = guard.mutex;
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let sequence = self.sequence.load(Ordering::SeqCst);
        drop(guard);
        wait(&self.sequence, sequence);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        mutex.lock()
    }

    /// Wakes a thread, if one waits.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Wakes all threads that wait.
    pub fn notify_all(&self) {
        self.notify(u32::MAX);
    }

    /// No more often than there were waiters: one that has been woken may wait again before the last one is.
    fn notify(&self, most: u32) {
        let waiters = self.waiters.load(Ordering::SeqCst).min(most);
        if waiters != 0 {
            self.sequence.fetch_add(1, Ordering::SeqCst);
        }
        for _ in 0..waiters {
            if !wake(&self.sequence) {
                break;
            }
        }
    }
}

/// Permits, which threads take and give.
#[derive(Debug)]
pub struct Semaphore {
    permits: AtomicU32,
    /// Threads that wait, or are about to.
    waiters: AtomicU32,
}

impl Semaphore {
    /// One with so many permits.
    pub const fn new(permits: u32) -> Semaphore {
        Semaphore { permits: AtomicU32::new(permits), waiters: AtomicU32::new(0) }
    }

    /// Takes a permit, if there is one.
    pub fn try_acquire(&self) -> bool {
        let take = |permits: u32| permits.checked_sub(1);
        self.permits.fetch_update(Ordering::SeqCst, Ordering::Relaxed, take).is_ok()
    }

    /// Waits for a permit and takes it.
    pub fn acquire(&self) {
        if self.try_acquire() {
            return;
        }
        self.waiters.fetch_add(1, Ordering::SeqCst);
        while !self.try_acquire() {
            wait(&self.permits, 0);
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
    }

    /// Gives a permit.
    pub fn release(&self) {
        self.permits.fetch_add(1, Ordering::SeqCst);
        if self.waiters.load(Ordering::SeqCst) != 0 {
            wake(&self.permits);
        }
    }
}
