//! The lock: one core at a time has the value, and sees what the one before has made of it.

use graft_kernel_loom::spin::Mutex;
use graft_kernel_loom::sync::Owned;
use loom::sync::Arc;
use loom::thread;

/// A value that no core has had yet.
fn value() -> Arc<Mutex<Owned<u32>>> {
    let value = Arc::new(Mutex::new(Owned::new(0)));
    drop(value.lock());
    value
}

/// Adds 1 where one core at a time may be.
fn add(pair: &Mutex<Owned<u32>>) {
    let value = pair.lock();
    // SAFETY: the lock is held, and loom sees to it that no other core is here or has left something behind.
    unsafe { *value.get() += 1 };
}

#[test]
fn one_core_at_a_time_has_the_value_and_what_the_last_one_made_of_it() {
    loom::model(|| {
        let value = value();
        let other = value.clone();
        let thread = thread::spawn(move || add(&other));
        add(&value);
        thread.join().expect("no core fails");
        // SAFETY: as above.
        assert_eq!(unsafe { *value.lock().get() }, 2);
    });
}

#[test]
fn a_core_that_looks_only_a_few_times_has_the_value_or_nothing() {
    loom::model(|| {
        let value = value();
        let other = value.clone();
        let thread = thread::spawn(move || add(&other));
        let looked = value.lock_within(2).map(|value| {
            // SAFETY: as above.
            unsafe { *value.get() += 1 };
        });
        thread.join().expect("no core fails");
        // SAFETY: as above.
        assert_eq!(unsafe { *value.lock().get() }, 1 + u32::from(looked.is_some()));
    });
}
