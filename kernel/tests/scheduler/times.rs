//! Whose the time is that a core spends.

use crate::*;
use graft_kernel::arch::timer;
use graft_kernel::object::thread::{Account, Times};

/// Runs a thread, which takes over from the current one, and returns that.
fn relieve(current: &Thread, thread: &Ref<Thread>) -> Ref<Thread> {
    thread.set_state(State::Running(CORE));
    let (resumed, left) = take_over(current, thread);
    assert!(is(sched::go_on(resumed, None), thread));
    left
}

/// Spends time in a thread that runs, until it has been charged with some.
fn spend(thread: &Thread) -> Times {
    let before = thread.times();
    loop {
        let (times, _) = sched::times_now(thread);
        if times != before {
            return times - before;
        }
    }
}

#[test]
fn no_moment_is_left_out_or_counted_twice_when_threads_take_turns() {
    let _turn = turn();
    let first = run(5);
    let (before, began) = sched::times_now(&first);
    spend(&first);
    // Straight, by a more urgent one, by a look for what is ready.
    let second = with_priority(5);
    let left = relieve(&first, &second);
    spend(&second);
    let third = with_priority(7);
    assert!(is(sched::give_way_to(third.clone(), second.context()), &third));
    spend(&third);
    sched::make_ready(left);
    assert!(is(next(), &second) && is(next(), &first));
    spend(&first);
    let (after, ended) = sched::times_now(&first);
    let others = second.times() + third.times();
    assert_eq!((after - before).sum() + others.sum(), ended - began);
    assert_eq!(others.callers, 0);
    assert!(second.times().own > 0 && third.times().own > 0);
}

#[test]
fn the_time_that_a_thread_works_for_a_caller_is_told_apart() {
    let _turn = turn();
    let caller = run(9);
    let server = with_priority(5);
    assert_eq!(server.account(), Account::Own);
    server.work_for_caller(caller.priority());
    let left = relieve(&caller, &server);
    let spent = spend(&server);
    assert_eq!((spent.own, server.times().own), (0, 0), "it works for the caller");
    assert!(spent.callers > 0);
    // What is lent for other reasons is no work for a caller, and changing its own priority does not end that.
    sched::reschedule(&server, Scheduling::FIRST.with(6, 0));
    assert_eq!((server.priority(), server.account()), (6, Account::Callers));
    assert_eq!(spend(&server).own, 0);
    // Up to the moment of its answer, and not a count more.
    sched::set_priority(&server, None);
    let answered = server.times();
    assert_eq!((answered.own, server.account()), (0, Account::Own));
    assert_eq!(spend(&server).callers, 0);
    sched::set_priority(&server, Some(9));
    let own = server.times().own;
    assert_eq!(spend(&server).own, 0);
    // A server that is called with nothing left to receive goes off its core in the caller's time.
    let resumed = relieve(&server, &left);
    resumed.work_for_itself();
    assert_eq!((resumed.times().own, resumed.account()), (own, Account::Own));
    assert!(resumed.times().callers > answered.callers);
    assert_eq!(caller.times().callers, 0, "a caller's time is its own");
    server.lend_priority(30);
    assert_eq!(server.account(), Account::Own);
}

#[test]
fn a_process_keeps_the_time_of_threads_that_have_ended() {
    let _turn = turn();
    let thread = run(5);
    spend(&thread);
    sched::set_priority(&thread, Some(5));
    spend(&thread);
    let killer = with_priority(1);
    let four = ready(4);
    assert!(thread.process.terminate(ExitStatus::Killed(3), &killer));
    assert!(is(sched::interrupted(thread.context()), &four));
    let (info, times) = (thread.process.info(), thread.times());
    assert!(times.own > 0 && times.callers > 0);
    assert_eq!(info.processor_time, timer::to_nanoseconds(times.sum()));
    assert_eq!(info.caller_time, timer::to_nanoseconds(times.callers));
    assert_eq!((info.threads, info.priority), (0, 0));
    spend(&four);
    assert_eq!((sched::times_now(&thread).0, thread.times()), (times, times), "its time stands still");
    assert_eq!(thread.process.info().processor_time, info.processor_time);
}

#[test]
fn the_time_of_a_thread_that_another_core_runs_goes_up_to_now() {
    let _turn = turn();
    let (send, receive) = std::sync::mpsc::channel();
    let thread = with_priority(5);
    thread.set_scheduling(Scheduling::FIRST.with(5, ONLY_OTHER));
    sched::make_ready(thread.clone());
    let other = thread::spawn(move || {
        arch::adopt(OTHER);
        let context = sched::next();
        receive.recv().expect("the test goes on");
        drop(sched::leave());
        context as usize
    });
    while thread.state() != State::Running(OTHER) {
        thread::yield_now();
    }
    let charged = thread.times();
    let (early, before) = sched::times_now(&thread);
    let (late, after) = loop {
        let (times, now) = sched::times_now(&thread);
        if now != before {
            break (times, now);
        }
    };
    assert_eq!((late - early).own, after - before, "as much as has gone by, though that core has charged nothing");
    assert_eq!(thread.times(), charged);
    send.send(()).expect("the core waits");
    assert_eq!(other.join().expect("it runs the thread"), thread.context() as usize);
    assert!(thread.times().own >= late.own);
}
