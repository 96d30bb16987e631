//! The scheduler, one step at a time: the test is a core that runs threads without a program, and looks at which one is
//! next.

mod times;

use graft_abi::{Error, ExitStatus, FaultKind, PRIORITIES, PRIORITY_DEFAULT, TraceKind};
use graft_kernel::arch::{self, Context, PhysRange, memory};
use graft_kernel::memory::{frames, space};
use graft_kernel::object::Ref;
use graft_kernel::object::process::{NAME_SIZE, Name, Process};
use graft_kernel::object::thread::{Fault, Scheduling, State, Thread};
use graft_kernel::platform::{self, Platform};
use graft_kernel::sched::work::Task;
use graft_kernel::sched::{self, Running, TakenOver};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

/// The test's own core, and another one that takes work from it.
const CORE: usize = 0;
const OTHER: usize = 1;
const ONLY_OTHER: u32 = 1 << OTHER;

/// The core, one test's alone, with nothing to run.
struct Turn(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

fn turn() -> Turn {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static START: Once = Once::new();
    static FREE: [PhysRange; 1] = [PhysRange { start: memory::PAGE, end: memory::SIZE }];
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    arch::adopt(CORE);
    START.call_once(|| {
        platform::found(Platform {
            machine: "host",
            free_memory: &FREE,
            archive: None,
            boot_arguments: "",
            cores: 2,
            device_tree: None,
            devices: &[],
        });
        frames::initialise(&FREE).expect("there is memory");
        space::initialise(None);
    });
    Turn(turn)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        drop(sched::leave());
        // Whatever is left would be another test's next thread. One of the lowest priority is the last.
        let last = with_priority(0);
        sched::make_ready(last.clone());
        assert!(is(next(), &last), "a thread is left in the queue");
        drop(sched::leave());
    }
}

fn new_thread(scheduling: Scheduling) -> Ref<Thread> {
    let process = Process::new(None, Name([0; NAME_SIZE])).expect("there is memory");
    Thread::new(process, scheduling, &Context::new_user(0, 0, [0; 2]), |_| {}).expect("there is memory")
}

fn with_priority(priority: u8) -> Ref<Thread> {
    new_thread(Scheduling::FIRST.with(priority, 0))
}

fn ready(priority: u8) -> Ref<Thread> {
    let thread = with_priority(priority);
    sched::make_ready(thread.clone());
    thread
}

/// Takes the current thread off the core, and runs the next.
fn next() -> *mut Context {
    drop(sched::leave());
    sched::next()
}

fn is(context: *mut Context, thread: &Ref<Thread>) -> bool {
    core::ptr::eq(context, thread.context())
}

/// Runs a thread of this priority.
fn run(priority: u8) -> Ref<Thread> {
    let thread = ready(priority);
    assert!(is(next(), &thread));
    assert_eq!(thread.state(), State::Running(CORE));
    thread
}

/// Stops a thread at a fault.
fn stop(thread: &Ref<Thread>) {
    // SAFETY: it runs nowhere, and is not stopped.
    unsafe { thread.stop(Fault { kind: FaultKind::Unmapped, address: Some(0x1234), pc: 0x5678 }) };
}

#[test]
fn scheduling_is_a_priority_a_limit_and_cores() {
    let first = Scheduling::FIRST;
    let parts = |scheduling: Scheduling| (scheduling.priority(), scheduling.limit(), scheduling.cores());
    let highest = PRIORITIES as u8 - 1;
    assert_eq!(parts(first), (PRIORITY_DEFAULT, highest, 0xff));
    assert_eq!(parts(first.with(5, 0)), (5, highest, 0xff), "0 is all cores");
    assert_eq!(parts(first.with(5, 0b110)), (5, highest, 0b110));
    assert_eq!(parts(first.with(5, 0x102)), (5, highest, 0b10), "there is no ninth core");
    assert_eq!(parts(first.with(highest, 0b110).with(3, 0b1001)), (3, highest, 0b1001), "nothing of the old is left");
    assert_eq!(parts(first.with(7, 0b101).limited()), (7, 7, 0b101), "its own priority is the limit");
    assert_eq!(parts(first.with(7, 0b101).limited().with(2, 0)), (2, 7, 0xff), "which stays");
    assert_eq!(parts(first.with(highest, 1).limited()), (highest, highest, 1));
}

#[test]
fn a_thread_may_run_where_its_scheduling_says_and_resume_there_unless_it_is_stopped() {
    let _turn = turn();
    let thread = new_thread(Scheduling::FIRST.with(9, 0b110));
    let cores = |may: fn(&Thread, usize) -> bool| (0..8).map(|core| u32::from(may(&thread, core)) << core).sum::<u32>();
    assert_eq!((cores(Thread::may_run_on), cores(Thread::may_resume_on)), (0b110, 0b110));
    stop(&thread);
    assert!(thread.is_stopped());
    assert_eq!((cores(Thread::may_run_on), cores(Thread::may_resume_on)), (0b110, 0));
    assert_eq!(thread.scheduling(), Scheduling::FIRST.with(9, 0b110), "that it is stopped is no part of it");
    thread.set_scheduling(Scheduling::FIRST.with(3, 0b1010));
    assert!(thread.is_stopped(), "it still is");
    assert_eq!(thread.scheduling(), Scheduling::FIRST.with(3, 0b1010));
    assert_eq!((cores(Thread::may_run_on), cores(Thread::may_resume_on)), (0b1010, 0));
    // SAFETY: it runs nowhere.
    let fault = unsafe { thread.go_on() };
    assert_eq!((fault.kind, fault.address, fault.pc), (FaultKind::Unmapped, Some(0x1234), 0x5678));
    assert!(!thread.is_stopped() && !thread.work.is_pending());
    assert_eq!(cores(Thread::may_resume_on), 0b1010);
    thread.set_scheduling(Scheduling::FIRST.with(4, 1));
    assert!(!thread.is_stopped());
    assert_eq!(thread.scheduling(), Scheduling::FIRST.with(4, 1));
}

#[test]
fn a_lent_priority_counts_if_it_is_higher_until_it_is_returned() {
    let _turn = turn();
    let thread = with_priority(6);
    assert_eq!(thread.priority(), 6);
    thread.lend_priority(2);
    assert_eq!(thread.priority(), 6);
    thread.lend_priority(20);
    assert_eq!((thread.priority(), thread.scheduling().priority()), (20, 6));
    thread.return_priority();
    assert_eq!(thread.priority(), 6);
}

#[test]
fn the_highest_priority_runs_first_and_those_of_one_priority_in_turn() {
    let _turn = turn();
    let highest = PRIORITIES as u8 - 1;
    let threads = [3, highest, 3, 0, highest, 12].map(ready);
    for place in [1, 4, 5, 0, 2, 3] {
        assert!(is(next(), &threads[place]), "{place}");
    }
}

#[test]
fn a_thread_is_more_urgent_if_its_priority_is_higher_and_it_can_run_here() {
    let _turn = turn();
    let _current = run(5);
    assert!(sched::is_more_urgent(&with_priority(6)));
    assert!(!sched::is_more_urgent(&with_priority(5)));
    assert!(!sched::is_more_urgent(&with_priority(4)));
    assert!(!sched::is_more_urgent(&new_thread(Scheduling::FIRST.with(6, ONLY_OTHER))));
    let stopped = with_priority(6);
    stop(&stopped);
    assert!(!sched::is_more_urgent(&stopped));
}

#[test]
fn what_is_left_of_a_slice_goes_to_a_thread_that_no_other_has_to_run_before() {
    let _turn = turn();
    let current = run(5);
    let [four, five, six] = [4, 5, 6].map(with_priority);
    let may = || [&four, &five, &six].map(|thread| sched::level_next(CORE, thread).is_some());
    assert_eq!(may(), [true; 3], "nothing is ready");
    let waiting = ready(5);
    assert_eq!(may(), [false, true, true], "another of the current thread's priority waits");
    assert!(sched::level_next(CORE, &new_thread(Scheduling::FIRST.with(9, ONLY_OTHER))).is_none());
    sched::set_priority(&current, Some(8));
    assert_eq!(may(), [false, false, true], "its turn has come before that of the other");
    sched::set_priority(&current, None);
    assert!(is(next(), &waiting));
}

#[test]
fn a_priority_that_is_lent_to_the_current_thread_counts_at_once() {
    let _turn = turn();
    let current = run(5);
    let ten = with_priority(10);
    sched::set_priority(&current, Some(20));
    assert_eq!(current.priority(), 20);
    assert!(!sched::is_more_urgent(&ten));
    sched::set_priority(&current, None);
    assert!(sched::is_more_urgent(&ten));
    sched::set_priority(&current, Some(20));
    sched::return_priority_of_current();
    assert_eq!(current.priority(), 5);
    assert!(sched::is_more_urgent(&ten));
}

#[test]
fn a_thread_gives_way_to_those_that_are_no_less_urgent() {
    let _turn = turn();
    let five = run(5);
    let context = five.context();
    assert!(is(sched::give_way(context), &five), "nothing is ready");
    let four = ready(4);
    assert!(is(sched::give_way(context), &five), "what is ready is less urgent");
    let same = ready(5);
    assert!(is(sched::give_way(context), &same));
    assert_eq!((five.state(), same.state()), (State::Ready, State::Running(CORE)));
    let nine = ready(9);
    assert!(is(sched::give_way(same.context()), &nine));
    assert!([&five, &same, &four].into_iter().all(|thread| is(next(), thread)));
}

#[test]
fn a_thread_gives_way_to_one_that_has_work_in_the_kernel_which_is_done_first() {
    let _turn = turn();
    let five = run(5);
    let busy = with_priority(5);
    busy.work.give(Some(Task::Refuse(Error::NotFound)));
    sched::make_ready(busy.clone());
    assert!(is(sched::give_way(five.context()), &busy));
    // SAFETY: the test is the core that runs it.
    assert_eq!(unsafe { &*busy.context() }.arguments()[0], Error::NotFound.to_register(), "the work has been done");
    assert!(!busy.work.is_pending());
    assert!(is(next(), &five));
}

#[test]
fn a_thread_that_may_not_run_here_any_more_is_not_run() {
    let _turn = turn();
    let five = run(5);
    let moved = ready(5);
    moved.set_scheduling(Scheduling::FIRST.with(5, ONLY_OTHER));
    assert!(is(sched::give_way(five.context()), &five));
    assert_eq!(moved.state(), State::Ready);
    taken_by_the_other(&moved);
    five.set_scheduling(Scheduling::FIRST.with(5, ONLY_OTHER));
    let four = ready(4);
    assert!(is(sched::give_way(five.context()), &four), "nor does it go on");
    taken_by_the_other(&five);
}

/// Has another core look for work, and find this thread.
fn taken_by_the_other(thread: &Ref<Thread>) {
    let thread = thread.clone();
    let look = move || {
        arch::adopt(OTHER);
        let context = sched::next();
        assert!(is(context, &thread));
        drop(sched::leave());
    };
    thread::spawn(look).join().expect("it finds the thread");
}

#[test]
fn a_core_without_work_takes_the_most_urgent_thread_that_it_may_run() {
    let _turn = turn();
    let current = run(5);
    let mine = new_thread(Scheduling::FIRST.with(9, 1 << CORE));
    sched::make_ready(mine.clone());
    let [four, six, seven, other_six] = [4, 6, 7, 6].map(ready);
    [&seven, &six, &other_six].into_iter().for_each(taken_by_the_other);
    taken_by_the_other(&four);
    // Nothing is left here but what stays here.
    assert!(is(next(), &mine));
    let current = {
        drop(current);
        run(3)
    };
    assert!(is(sched::give_way(current.context()), &current), "no level is left over");
}

#[test]
fn a_thread_that_is_ready_is_rescheduled_at_once() {
    let _turn = turn();
    let current = run(4);
    let [a, b, c] = [5; 3].map(ready);
    let scheduling = |priority| Scheduling::FIRST.with(priority, 0);
    sched::reschedule(&b, scheduling(9));
    sched::reschedule(&a, scheduling(1));
    b.lend_priority(20);
    sched::reschedule(&c, scheduling(2));
    assert!(is(next(), &b), "it is the most urgent");
    sched::make_ready(current.clone());
    assert!(is(next(), &current));
    assert!(is(sched::give_way(current.context()), &current), "no level is left over of those that have none");
    assert!(is(next(), &c) && is(next(), &a));
    // A thread that runs: from the next time on.
    let six = run(6);
    sched::reschedule(&six, scheduling(2));
    assert_eq!((six.state(), six.priority()), (State::Running(CORE), 2));
    // What a caller has lent is gone.
    let lent = ready(3);
    assert!(is(next(), &lent));
    lent.lend_priority(30);
    sched::reschedule(&lent, scheduling(3));
    assert_eq!(lent.priority(), 3);
}

#[test]
fn a_thread_that_is_ready_with_a_lent_priority_is_found() {
    let _turn = turn();
    let _current = run(1);
    let lent = with_priority(3);
    lent.lend_priority(30);
    sched::make_ready(lent.clone());
    let ten = ready(10);
    sched::reschedule(&lent, Scheduling::FIRST.with(3, 0));
    assert!(is(next(), &ten) && is(next(), &lent));
}

#[test]
fn an_interrupt_lets_a_more_urgent_thread_run() {
    let _turn = turn();
    let five = run(5);
    let four = ready(4);
    assert!(is(sched::interrupted(five.context()), &five));
    let nine = ready(9);
    assert!(is(sched::interrupted(five.context()), &nine));
    assert!(is(next(), &five) && is(next(), &four));
}

#[test]
fn a_thread_whose_process_is_ending_ends_at_an_interrupt() {
    let _turn = turn();
    let five = run(5);
    let four = ready(4);
    let killer = with_priority(1);
    assert!(five.process.terminate(ExitStatus::Killed(3), &killer));
    assert!(!five.process.terminate(ExitStatus::Killed(4), &killer), "the first status stands");
    assert!(is(sched::interrupted(five.context()), &four));
    assert_eq!(five.process.last_status(), ExitStatus::Killed(3));
}

#[test]
fn a_core_switches_to_a_thread_unless_another_comes_first() {
    let _turn = turn();
    let server = run(5);
    drop(sched::leave());
    let caller = with_priority(5);
    assert!(is(sched::switch_to(caller.clone()), &caller));
    // One that is more urgent.
    drop(sched::leave());
    let nine = ready(9);
    assert!(is(sched::switch_to(server.clone()), &nine));
    assert_eq!(server.state(), State::Ready);
    assert!(is(next(), &server));
    // One that may not run here.
    drop(sched::leave());
    let elsewhere = new_thread(Scheduling::FIRST.with(20, ONLY_OTHER));
    let ten = ready(10);
    elsewhere.set_scheduling(Scheduling::FIRST.with(9, ONLY_OTHER));
    elsewhere.return_priority();
    assert!(is(sched::switch_to(elsewhere.clone()), &ten));
    taken_by_the_other(&elsewhere);
}

#[test]
fn a_thread_gives_way_to_the_one_that_it_has_woken() {
    let _turn = turn();
    let five = run(5);
    let woken = with_priority(7);
    assert!(is(sched::give_way_to(woken.clone(), five.context()), &woken));
    assert_eq!((five.state(), woken.state()), (State::Ready, State::Running(CORE)));
    let busy = with_priority(9);
    busy.work.give(None);
    assert!(is(sched::give_way_to(busy.clone(), woken.context()), &woken), "its work comes first");
    assert!(is(next(), &busy) && is(next(), &five));
}

fn take_over(current: &Thread, next: &Ref<Thread>) -> (TakenOver, Ref<Thread>) {
    let next = (next.clone(), sched::level_of(next.priority()));
    sched::take_over(CORE, Running::checked(current), next, TraceKind::Call)
}

#[test]
fn a_thread_that_takes_over_ends_if_its_process_does() {
    let _turn = turn();
    let caller = run(5);
    let server = with_priority(6);
    let (resumed, left) = take_over(&caller, &server);
    assert!(left.is(&caller));
    assert!(is(sched::go_on(resumed, None), &server));
    // Its process is ending.
    let ending = with_priority(6);
    ending.process.terminate(ExitStatus::Killed(1), &caller);
    let four = ready(4);
    let (resumed, left) = take_over(&server, &ending);
    assert!(left.is(&server));
    assert!(is(sched::go_on(resumed, None), &four));
    // The thread that has left could not be blocked.
    let last = with_priority(6);
    let (resumed, left) = take_over(&four, &last);
    assert!(is(sched::go_on(resumed, Some(left)), &last));
}
