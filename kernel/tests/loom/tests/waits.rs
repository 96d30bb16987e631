//! A wait in a queue that is ended from three sides at once: by what it waits for, by its deadline, by the end of its
//! process. One of them ends it, and none is lost.

use crate::scene::{
    NEVER, PREEMPTIONS, SOON, explore, explore_within, leave, notification, on_core, results, run, thread,
};
use graft_abi::Error;
use graft_kernel_loom::object::Ref;
use graft_kernel_loom::object::notification::Notification;
use graft_kernel_loom::object::process::Process;
use graft_kernel_loom::object::thread::State;
use graft_kernel_loom::object::wait::Wait;
use graft_kernel_loom::sched;

/// What a core's current thread waits for in these tests.
const BIT: u64 = 1;

/// The current thread of this core waits for bits, as `notification_wait` does it. Returns them if there are some.
fn wait_for_bits(notification: &Ref<Notification>, deadline: u64) -> Option<u64> {
    let taken =
        notification.take_or(|waiters| sched::block_until(waiters, Wait::in_object(notification.clone()), deadline));
    match taken {
        Ok(bits) => Some(bits),
        Err(ended) => {
            ended.into_iter().for_each(|thread| Process::end_thread(thread, None));
            None
        }
    }
}

fn notify(notification: &Notification) {
    if let Some(waiter) = notification.set(BIT) {
        sched::make_ready(waiter);
    }
}

/// What ends a wait.
#[derive(Clone, Copy)]
struct Sides {
    bits: bool,
    deadline: u64,
    kill: bool,
}

/// A wait that these sides end at once.
fn claim_one_ends_it(sides: Sides) {
    let all_three = sides.bits && sides.deadline == SOON && sides.kill;
    explore_within(all_three.then_some(PREEMPTIONS), move || {
        let notification = notification();
        let waiter = thread();
        run(0, &waiter);
        let bits = notification.clone();
        let notifier = sides.bits.then(|| on_core(1, move || notify(&bits)));
        let killed = waiter.clone();
        let killer = sides.kill.then(|| on_core(2, move || killed.process.terminate(&killed)));

        let at_once = wait_for_bits(&notification, sides.deadline);
        sched::wake_sleepers();

        [notifier, killer].into_iter().flatten().for_each(|core| core.join().expect("no core fails"));
        leave(0);
        let left = notification.take_or(|waiters| assert!(waiters.is_empty(), "it stands in the queue")).unwrap_or(0);
        let results = results(&waiter);
        let has_bits = at_once == Some(BIT) || results == [0, BIT];
        assert_eq!(u64::from(sides.bits), u64::from(has_bits) + left, "the bit has arrived, or is still there");
        let (made_ready, ended) = waiter.let_run();
        assert_eq!(u32::from(at_once.is_some()) + made_ready + ended, 1, "it goes on once");
        assert!(waiter.state() != State::Blocked || ended == 1);
        assert_eq!(waiter.deadline_core(), None, "its deadline is forgotten");
        let timed_out = results[0] == Error::TimedOut.to_register();
        assert!(!timed_out || sides.deadline == SOON);
        assert!(sides.kill || has_bits || timed_out, "its call is answered");
    });
}

#[test]
fn the_end_of_the_process_ends_a_wait_that_begins() {
    claim_one_ends_it(Sides { bits: false, deadline: NEVER, kill: true });
}

#[test]
fn bits_and_a_deadline_end_a_wait_once() {
    claim_one_ends_it(Sides { bits: true, deadline: SOON, kill: false });
}

#[test]
fn bits_and_the_end_of_the_process_end_a_wait_once() {
    claim_one_ends_it(Sides { bits: true, deadline: NEVER, kill: true });
}

#[test]
fn a_deadline_and_the_end_of_the_process_end_a_wait_once() {
    claim_one_ends_it(Sides { bits: false, deadline: SOON, kill: true });
}

#[test]
fn bits_a_deadline_and_the_end_of_the_process_end_a_wait_once() {
    claim_one_ends_it(Sides { bits: true, deadline: SOON, kill: true });
}

/// A thread whose wait has ended waits again, on another core, while the first core looks at its deadline.
#[test]
fn a_deadline_ends_no_wait_but_its_own() {
    explore(move || {
        let notification = notification();
        let waiter = thread();
        run(0, &waiter);
        let bits = notification.clone();
        let other = on_core(1, move || {
            let Some(waiter) = bits.set(BIT) else { return };
            run(1, &waiter);
            drop(waiter);
            assert_eq!(wait_for_bits(&bits, NEVER), None);
        });
        let at_once = wait_for_bits(&notification, SOON);
        sched::wake_sleepers();
        other.join().expect("no core fails");
        leave(0);
        let timed_out = results(&waiter)[0] == Error::TimedOut.to_register();
        let left = notification.take_or(|waiters| assert_eq!(waiters.is_empty(), timed_out || at_once.is_some()));
        // Either the deadline has ended the first wait, and the bit is still there, or the thread is in the second one.
        assert_eq!(left.is_ok(), timed_out);
        assert_eq!(waiter.let_run().0, u32::from(timed_out));
        if let Some(waiter) = notification.set(BIT) {
            assert_eq!(results(&waiter), [0, BIT]);
        }
    });
}

/// Whether the core looks at its sleepers.
#[derive(Clone, Copy)]
enum Time {
    Comes,
    IsFar,
}

/// A sleeper whose process ends.
fn claim_a_sleep_ends_once(time: Time) {
    explore(move || {
        let sleeper = thread();
        run(0, &sleeper);
        let killed = sleeper.clone();
        let killer = on_core(2, move || killed.process.terminate(&killed));
        sched::sleep_until(SOON);
        if let Time::Comes = time {
            sched::wake_sleepers();
        }
        killer.join().expect("no core fails");
        let (made_ready, ended) = sleeper.let_run();
        assert_eq!(made_ready + ended, 1, "it goes on once");
    });
}

#[test]
fn the_end_of_the_process_ends_a_sleep_that_begins() {
    claim_a_sleep_ends_once(Time::IsFar);
}

#[test]
fn the_end_of_a_sleep_and_of_the_process_end_it_once() {
    claim_a_sleep_ends_once(Time::Comes);
}
