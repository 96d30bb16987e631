//! An end that is told while a thread comes to wait for it, bits are bound to it, and handles to it are closed.

use crate::scene::{explore, leave, notification, on_core, results, run, thread};
use graft_kernel_loom::arch;
use graft_kernel_loom::memory::frames;
use graft_kernel_loom::object::Ref;
use graft_kernel_loom::object::end::{Answer, Ends};
use graft_kernel_loom::object::notification::Binding;
use graft_kernel_loom::object::process::Process;
use graft_kernel_loom::object::wait::Wait;
use graft_kernel_loom::sched;

const STATUS: u64 = 3;
const BIT: u64 = 1;

/// The current thread of this core waits for a process's end, as `wait` does it.
fn join(target: &Ref<Process>) -> Option<Answer> {
    let joined = target.end().answer_or(|waiters| sched::block(waiters, Wait::in_object(target.clone())));
    joined.map_err(|ended| ended.into_iter().for_each(|thread| Process::end_thread(thread, None))).ok()
}

/// What other cores do.
#[derive(Clone, Copy, PartialEq)]
enum Happens {
    /// What the thread waits for ends.
    End,
    /// The thread's own process ends.
    Kill,
}

/// A thread that waits for the end of a process at the moment when all of this happens.
fn claim_no_waiter_is_left(happens: &[Happens]) {
    let [tell, kill] = [Happens::End, Happens::Kill].map(|event| happens.contains(&event));
    explore(move || {
        let target = Process::new();
        let waiter = thread();
        run(0, &waiter);
        let ending = target.clone();
        let teller = tell.then(|| on_core(1, move || Process::finish(ending, STATUS)));
        let killed = waiter.clone();
        let killer = kill.then(|| on_core(2, move || killed.process.terminate(&killed)));

        let at_once = join(&target);

        [teller, killer].into_iter().flatten().for_each(|core| core.join().expect("no core fails"));
        leave(0);
        let (made_ready, ended) = waiter.let_run();
        assert_eq!(u32::from(at_once.is_some()) + made_ready + ended, 1, "it goes on once");
        let answer = at_once.unwrap_or_else(|| results(&waiter));
        assert!(kill || answer == [0, STATUS], "it has the answer: {answer:?}");
        assert_eq!(target.end().answer(), tell.then_some([0, STATUS]));
    });
}

#[test]
fn a_thread_that_waits_when_an_end_is_told_has_it() {
    claim_no_waiter_is_left(&[Happens::End]);
}

#[test]
fn a_thread_that_waits_for_an_end_that_does_not_come_ends_with_its_process() {
    claim_no_waiter_is_left(&[Happens::Kill]);
}

#[test]
fn a_thread_that_waits_for_an_end_and_whose_own_process_ends_goes_on_once() {
    claim_no_waiter_is_left(&[Happens::End, Happens::Kill]);
}

#[test]
fn what_has_been_waited_for_and_closed_has_left_no_frame_behind() {
    explore(move || {
        let target = Process::new();
        let waiter = thread();
        run(0, &waiter);
        let before = frames::in_use();
        let ending = target.clone();
        let teller = on_core(1, move || Process::finish(ending, STATUS));
        if join(&target).is_some() {
            drop(target);
            assert_eq!(frames::in_use(), before - 1, "the core that has told the end has let go of it");
        } else {
            drop(target);
        }
        teller.join().expect("no core fails");
        leave(0);
    });
}

#[test]
fn bits_that_are_bound_when_an_end_is_told_are_set_once() {
    explore(move || {
        let target = Process::new();
        let notification = notification();
        let ending = target.clone();
        let teller = on_core(1, move || Process::finish(ending, STATUS));
        arch::adopt(0);
        target.end().bind(Binding { notification: notification.clone(), bits: BIT }).expect("it is the first");
        drop(target);
        teller.join().expect("no core fails");
        let bits = notification.take_or(|waiters| assert!(waiters.is_empty()));
        assert_eq!(bits, Ok(BIT), "they have been set");
    });
}

/// A thread waits for the bits that another core has bound to the end that a third one tells.
#[test]
fn a_thread_that_waits_for_the_bits_of_an_end_has_them() {
    explore(move || {
        let target = Process::new();
        let notification = notification();
        let waiter = thread();
        run(0, &waiter);
        target.end().bind(Binding { notification: notification.clone(), bits: BIT }).expect("it is the first");
        let teller = on_core(1, move || Process::finish(target, STATUS));
        let at_once = notification.take_or(|waiters| sched::block(waiters, Wait::in_object(notification.clone()))).ok();
        teller.join().expect("no core fails");
        leave(0);
        assert_eq!(at_once.unwrap_or_else(|| results(&waiter)[1]), BIT);
        assert_eq!(u32::from(at_once.is_some()) + waiter.let_run().0, 1, "it goes on once");
    });
}
