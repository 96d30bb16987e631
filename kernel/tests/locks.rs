//! The kernel's lock, used by threads as cores.

use graft_kernel::arch;
use graft_kernel::lock::{Mutex, Word, waited};
use lock_api::RawMutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn one_core_at_a_time_has_the_value_and_those_that_wait_are_counted() {
    const EACH: u64 = 20_000;
    arch::adopt(0);
    let pair = Mutex::new((0_u64, 0_u64));
    let before = waited();
    let held = pair.lock();
    assert!(pair.lock_within(3).is_none());
    assert_eq!(waited(), before, "a look that may be in vain is not waiting");
    thread::scope(|scope| {
        for core in 1..4 {
            let pair = &pair;
            scope.spawn(move || {
                arch::adopt(core);
                for _ in 0..EACH {
                    let mut pair = pair.lock();
                    // Two values that differ while a core is at it.
                    assert_eq!(pair.0, pair.1);
                    pair.0 += 1;
                    std::hint::black_box(&mut *pair);
                    pair.1 += 1;
                }
            });
        }
        // All three find it taken, each once, and look again many times.
        while waited().0 < before.0 + 3 || waited().1 < before.1 + 30 {
            thread::yield_now();
        }
        assert_eq!(waited().0, before.0 + 3);
        drop(held);
    });
    assert_eq!(*pair.lock(), (3 * EACH, 3 * EACH));
    assert!(pair.lock_within(1).is_some());
    let (times, turns) = waited();
    assert!(times >= before.0 + 3 && turns >= before.1 + 30 && turns >= times);
    let mut pair = pair;
    pair.get_mut().0 = 1;
    assert_eq!(*pair.lock(), (1, 3 * EACH));
}

#[test]
fn a_word_is_taken_by_one_core_until_that_one_gives_it_back() {
    let word = Word::INIT;
    let other_has_it = AtomicBool::new(false);
    assert!(!word.is_locked());
    assert!(word.try_lock() && word.is_locked() && !word.try_lock());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !word.try_lock() {
                thread::yield_now();
            }
            other_has_it.store(true, Ordering::SeqCst);
        });
        for _ in 0..1_000 {
            thread::yield_now();
        }
        assert!(!other_has_it.load(Ordering::SeqCst));
        // SAFETY: this thread has it.
        unsafe { word.unlock() };
    });
    assert!(other_has_it.load(Ordering::SeqCst) && word.is_locked());
}
