//! The kernel's spin lock: one that counts how often a core had to wait for it.
//!
//! Guards and what makes them safe are `lock_api`'s; the word that they are about is this file's. It is a whole word,
//! not a byte: the value behind a byte is moved piece by piece around the padding, and a fork makes a dozen of them.

use crate::arch::{self, MAX_CORES};
use crate::sync::{AtomicU64, Ordering};
use core::ptr;
use core::sync::atomic;
use lock_api::{GuardNoSend, RawMutex};

/// What shows that a core holds a lock, and gives it back.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, Word, T>;

/// 0, or 1 while a core holds the lock.
#[derive(Debug)]
pub struct Word(AtomicU64);

// SAFETY: the exchange lets one core in until that one stores 0 again, with all that it has written before.
unsafe impl RawMutex for Word {
    const INIT: Word = Word(AtomicU64::new(0));

    type GuardMarker = GuardNoSend;

    #[inline(always)]
    fn lock(&self) {
        if !self.try_lock() {
            // SAFETY: the word is there.
            unsafe { arch::aside(wait, self, 0) };
        }
    }

    #[inline(always)]
    fn try_lock(&self) -> bool {
        self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline(always)]
    unsafe fn unlock(&self) {
        self.0.store(0, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// What a core has waited for locks.
#[repr(align(128))]
struct Waited {
    times: atomic::AtomicU64,
    turns: atomic::AtomicU64,
}

static WAITED: [Waited; MAX_CORES] =
    [const { Waited { times: atomic::AtomicU64::new(0), turns: atomic::AtomicU64::new(0) } }; MAX_CORES];

/// How often any core has found a lock taken, and how often it has looked again until it was free.
pub fn waited() -> (u64, u64) {
    WAITED.iter().fold((0, 0), |(times, turns), core| {
        (times + core.times.load(Ordering::Relaxed), turns + core.turns.load(Ordering::Relaxed))
    })
}

/// Waits for a lock that another core holds, and takes it.
///
/// # Safety
/// The word is there.
#[cold]
unsafe extern "C" fn wait(word: *const Word, _: u64) -> *const () {
    // SAFETY: the caller's.
    let word = unsafe { &*word };
    let waited = &WAITED[arch::core_index()];
    waited.times.fetch_add(1, Ordering::Relaxed);
    loop {
        arch::relax();
        waited.turns.fetch_add(1, Ordering::Relaxed);
        // Only looked at until it is free: an attempt would take the cache line from the holder.
        if !word.is_locked() && word.try_lock() {
            return ptr::null();
        }
    }
}

/// A value that one core uses at a time.
#[derive(Debug, Default)]
pub struct Mutex<T>(lock_api::Mutex<Word, T>);

impl<T> Mutex<T> {
    /// A lock that no core holds.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(lock_api::Mutex::new(value))
    }

    /// Waits until no other core holds it.
    #[inline(always)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        arch::stall();
        self.0.lock()
    }

    /// Waits until no other core holds it, but looks no more than this often.
    pub fn lock_within(&self, looks: u32) -> Option<MutexGuard<'_, T>> {
        (0..looks).find_map(|_| {
            let guard = self.0.try_lock();
            if guard.is_none() {
                arch::relax();
            }
            guard
        })
    }

    /// Where the value is, to tell it from another.
    #[inline(always)]
    pub fn as_ptr(&self) -> *const T {
        self.0.data_ptr()
    }

    /// The value, which no other core can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
